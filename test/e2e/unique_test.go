package e2e_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// What identifies or authenticates, wherever it is written: keys and certificates,
// UIDs, bootstrap tokens, hashes and other random numbers as base64 or hexadecimal
// digits. Digests of images are the same everywhere, and say so.
var (
	pemBlock  = regexp.MustCompile(`-----BEGIN [A-Z ]+-----[^-]+-----END`)
	randomish = []*regexp.Regexp{
		regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`),
		regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`),
		regexp.MustCompile(`(?:sha256:)?\b[0-9a-f]{32,}\b`),
		regexp.MustCompile(`(?:sha256:)?[A-Za-z0-9+/]{40,}={0,2}`),
	}
)

// identity is everything of that kind in a text.
func identity(text []byte) []string {
	var all []string
	for _, block := range pemBlock.FindAll(text, -1) {
		all = append(all, string(block))
	}
	text = pemBlock.ReplaceAll(text, nil)
	for _, pattern := range randomish {
		for _, found := range pattern.FindAll(text, -1) {
			word := string(found)
			// Long words and paths are of the same letters, but hold no chance.
			mixed := strings.ContainsAny(word, "0123456789") && strings.ContainsAny(word, "abcdefABCDEF")
			if path := strings.Contains(word, "/") && strings.ToLower(word) == word; mixed && !path && !strings.HasPrefix(word, "sha256:") {
				all = append(all, word)
			}
		}
	}
	return all
}

// sharesNothing searches everything that is stored in the control planes of two
// clusters, etcd's files included, for what is in both.
func sharesNothing(i *installation) {
	one, two := i.stored("one"), i.stored("two")
	// Each node says which boot of the host's kernel it runs on.
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		i.t.Fatal(err)
	}
	delete(one, strings.TrimSpace(string(boot)))
	// What is known to be there has to be found.
	namespace := strings.TrimSpace(i.cluster("one", "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"))
	if _, found := one[namespace]; !found {
		i.t.Errorf("the UID %q of kube-system is not among %d things found in the cluster", namespace, len(one))
	}
	files := map[string]bool{}
	for _, where := range one {
		files[where] = true
	}
	for _, want := range []string{"etc/kubernetes/pki/ca.crt", "etc/kubernetes/pki/sa.key", "etc/kubernetes/admin.conf", "etc/machine-id", "var/lib/etcd/member/snap/db"} {
		if !files[want] {
			i.t.Errorf("nothing was found in %s", want)
		}
	}
	var shared []string
	for what, where := range one {
		if other, found := two[what]; found {
			shared = append(shared, where+" and "+other+": "+what)
		}
	}
	slices.Sort(shared)
	for _, s := range shared {
		i.t.Errorf("two clusters share %s", s)
	}
}

// stored is what identifies a cluster, with the file of its control plane in
// which it was found first.
func (i *installation) stored(name string) map[string]string {
	i.t.Helper()
	machine := i.owned("ps", "-q", "--filter", "label=loam.dev/cluster=shoot--local--"+name, "--filter", "label=loam.dev/machine=control-plane-0")
	if len(machine) != 1 {
		i.t.Fatalf("cluster %q has control planes %v", name, machine)
	}
	// Files of etcd change while they are read: tar says so by its exit code.
	out, _ := exec.Command("docker", "exec", machine[0], "tar", "-C", "/", "-c", "etc/kubernetes", "etc/machine-id", "etc/loam", "var/lib/etcd/member", "var/lib/kubelet/pki").Output()
	found := map[string]string{}
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
		for _, what := range identity(content) {
			if _, known := found[what]; !known {
				found[what] = header.Name
			}
		}
	}
}
