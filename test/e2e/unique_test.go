package e2e_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// What identifies or authenticates, wherever it is written: keys and certificates,
// UIDs, and long random numbers as hexadecimal digits or base64, of which a piece
// without its two other signs does. Digests of images are the same everywhere, and
// say so.
var (
	pemBlock  = regexp.MustCompile(`-----BEGIN [A-Z ]+-----[^-]+-----END`)
	randomish = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?:sha256:)?[A-Za-z0-9]{32,}`)
)

// identity adds everything of that kind in a text to what was found, with where.
func identity(found map[string]string, where string, text []byte) {
	all := pemBlock.FindAll(text, -1)
	for _, word := range randomish.FindAll(pemBlock.ReplaceAll(text, nil), -1) {
		// Names may be as long. They hold no chance, so few digits.
		digits := 0
		for _, b := range word {
			if '0' <= b && b <= '9' {
				digits++
			}
		}
		if digits*12 > len(word) && !bytes.HasPrefix(word, []byte("sha256:")) {
			all = append(all, word)
		}
	}
	for _, what := range all {
		if _, known := found[string(what)]; !known {
			found[string(what)] = where
		}
	}
}

// sharesNothing searches everything that is stored for two clusters, in their etcds
// and in the files of their control planes, for what is in both.
func sharesNothing(i *installation) {
	one, two := i.stored("one"), i.stored("two")
	// Each node says which boot of the host's kernel it runs on.
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		i.t.Fatal(err)
	}
	delete(one, strings.TrimSpace(string(boot)))
	// What is known to be there has to be found.
	uid := i.cluster("one", "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
	if _, found := one[uid]; !found {
		i.t.Errorf("the UID %q of kube-system is not among %d things found in the cluster", uid, len(one))
	}
	where := slices.Collect(maps.Values(one))
	for _, want := range []string{"etc/kubernetes/pki/sa.key", "etc/kubernetes/pki/etcd/ca.key", "etc/kubernetes/admin.conf", "/registry/minions/", "/registry/configmaps/"} {
		if !slices.ContainsFunc(where, func(w string) bool { return strings.HasPrefix(w, want) }) {
			i.t.Errorf("nothing was found in %s", want)
		}
	}
	for what, where := range one {
		if other, found := two[what]; found {
			i.t.Errorf("%s and %s share %q", where, other, what)
		}
	}
	// What was put there before the API server looked is compared above, if etcd took it.
	log, err := i.exec("docker", "exec", i.controlPlane("one"), "cat", "/var/log/loam/prefill.log").Output()
	if err != nil || bytes.Count(log, []byte("HTTP/1.1 200 OK")) < 2 {
		i.t.Errorf("etcd was not filled: %s, %v", log, err)
	}
}

// controlPlane is the container of a cluster's first control plane.
func (i *installation) controlPlane(cluster string) string {
	i.t.Helper()
	machine := i.owned("ps", "-q", "--filter", "label=loam.dev/cluster=shoot--local--"+cluster, "--filter", "label=loam.dev/machine=control-plane-0")
	if len(machine) != 1 {
		i.t.Fatalf("cluster %q has control planes %v", cluster, machine)
	}
	return machine[0]
}

// stored is what identifies a cluster, with the key of its etcd or the file of its
// control plane in which it was found first.
func (i *installation) stored(name string) map[string]string {
	i.t.Helper()
	machine := i.controlPlane(name)
	found := map[string]string{}
	// A range that begins and ends with the byte 0 is all keys.
	const ask = `echo '{"key":"AA==","range_end":"AA=="}' | kubectl --kubeconfig=/dev/null --server=https://127.0.0.1:2379 --certificate-authority=/etc/kubernetes/pki/etcd/ca.crt ` +
		`--client-certificate=/etc/kubernetes/pki/etcd/healthcheck-client.crt --client-key=/etc/kubernetes/pki/etcd/healthcheck-client.key create --raw /v3/kv/range -f -`
	out, err := i.exec("docker", "exec", machine, "sh", "-c", ask).Output()
	if err != nil {
		i.t.Fatalf("asking the etcd of %q: %v", name, err)
	}
	var answer struct {
		Kvs []struct{ Key, Value []byte }
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		i.t.Fatalf("the etcd of %q: %v", name, err)
	}
	for _, kv := range answer.Kvs {
		identity(found, string(kv.Key), slices.Concat(kv.Key, []byte("\n"), kv.Value))
	}
	out, err = i.exec("docker", "exec", machine, "tar", "-C", "/", "-c", "etc/kubernetes", "etc/machine-id", "etc/loam", "var/lib/kubelet/pki", "var/lib/kubelet/config.yaml").Output()
	if err != nil {
		i.t.Fatalf("reading the files of %q: %v", name, err)
	}
	for files := tar.NewReader(bytes.NewReader(out)); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			i.t.Fatalf("reading the files of %q: %v", name, err)
		}
		content, err := io.ReadAll(files)
		if err != nil {
			i.t.Fatalf("reading %s of %q: %v", header.Name, name, err)
		}
		identity(found, header.Name, content)
	}
}
