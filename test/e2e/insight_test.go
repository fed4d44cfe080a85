package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/loam-cloud/loam/shoots/doctor"
	"github.com/loam-cloud/loam/shoots/insight"
)

// insightOfACluster looks at the cluster that serves a page: as one page, by the
// doctor, and by what is exported, which has none of the cluster's real secrets.
func insightOfACluster(i *installation) {
	page := i.inspect("one")
	if !page.API.Ready || page.API.Version != version || len(page.Nodes) != 3 || len(page.Unseen) != 0 {
		i.t.Errorf("the page is %+v", page)
	}
	running := map[string]bool{}
	for _, p := range page.Nodes[0].Processes {
		running[p.Name] = p.PID != 0 && p.MemoryBytes > 0
	}
	for _, name := range []string{"containerd", "kubelet", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		if !running[name] {
			i.t.Errorf("%s is not seen to run: %+v", name, page.Nodes[0].Processes)
		}
	}
	certificates := map[string]insight.CertificateState{}
	for _, c := range page.Nodes[0].Certificates {
		certificates[c.Subject] = c.State
	}
	for _, subject := range []string{"kubernetes", "kube-apiserver", "etcd-ca", "system:node:one-control-plane-0 (system:nodes)", "kubernetes-admin (kubeadm:cluster-admins)"} {
		if certificates[subject] != insight.CertificateValid {
			i.t.Errorf("the certificate of %q is %q", subject, certificates[subject])
		}
	}
	nodePort := strings.TrimSpace(i.cluster("one", "get", "service", "page", "-o", "jsonpath={.spec.ports[0].nodePort}"))
	found := map[string]bool{}
	for _, p := range page.Ports {
		found[p.Service] = p.Service != "default/page:80" || strings.HasSuffix(p.Node, ":"+nodePort)
	}
	if !found["default/page:80"] || !found["the API server"] {
		i.t.Errorf("ports are %+v", page.Ports)
	}
	if text := i.loam("cluster", "nodes", "one"); strings.Count(text, "running") != 3 || !strings.Contains(text, "one-worker-1") {
		i.t.Errorf("nodes are\n%s", text)
	}

	report := i.doctor("one")
	for _, f := range report.Findings {
		// The host may have its faults, the cluster has none.
		if ofCluster(f) && (f.Severity == doctor.Problem || f.Severity == doctor.Warning) {
			i.t.Errorf("the doctor finds %+v", f)
		}
	}

	folder := filepath.Join(i.t.TempDir(), "logs")
	i.t.Log(i.loam("cluster", "export", "logs", "one", folder))
	i.exported(folder, "inspect.txt", "doctor.txt", "versions.txt", "cluster/events.txt", "cluster/objects/pods.yaml", "one-control-plane-0/kubelet.log",
		"one-control-plane-0/containerd.log", "one-control-plane-0/journal.log", "one-control-plane-0/container.log", "one-control-plane-0/manifests/etcd.yaml", "one-worker-1/kubelet.log")
	i.refused("is not empty", "cluster", "export", "logs", "one", folder)
	archive := filepath.Join(i.t.TempDir(), "packed")
	i.loam("cluster", "export", "logs", "one", archive, "--archive")
	if text, err := exec.Command("tar", "-tzf", archive+".tar.gz").Output(); err != nil || !strings.Contains(string(text), "packed/one-worker-0/kubelet.log") {
		i.t.Errorf("the archive has %v\n%s", err, text)
	}
}

func ofCluster(f doctor.Finding) bool {
	return f.Check == "pods" || f.Check == "machines" || f.Check == "API server" || strings.Contains(f.Check, "one-")
}

func (i *installation) inspect(name string) insight.Page {
	i.t.Helper()
	var page insight.Page
	if err := json.Unmarshal([]byte(i.loam("cluster", "inspect", name, "-o", "json")), &page); err != nil {
		i.t.Fatal(err)
	}
	return page
}

// doctor returns the report, and holds that the exit code is of it.
func (i *installation) doctor(name string) doctor.Report {
	i.t.Helper()
	cmd := i.command("cluster", "doctor", name, "-o", "json")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		i.t.Fatal(err)
	}
	var report doctor.Report
	if err := json.Unmarshal(out, &report); err != nil {
		i.t.Fatalf("the doctor says %s: %v", out, err)
	}
	if code := cmd.ProcessState.ExitCode(); code != report.ExitCode() {
		i.t.Errorf("the doctor ends with %d, want %d", code, report.ExitCode())
	}
	return report
}

// exported holds that files are there, and that nothing in the folder is a secret
// of the cluster.
func (i *installation) exported(folder string, wanted ...string) {
	i.t.Helper()
	for _, name := range wanted {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Size() == 0 || info.Mode().Perm() != 0o600 {
			i.t.Errorf("%s: %v", name, err)
		}
	}
	secrets := i.realSecrets()
	if len(secrets) < 20 {
		i.t.Fatalf("only %d secrets are known", len(secrets))
	}
	err := filepath.WalkDir(folder, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(at)
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				i.t.Errorf("%s has a secret of the cluster", at)
			}
		}
		return err
	})
	if err != nil {
		i.t.Error(err)
	}
}

// realSecrets are the lines of all private keys of the control plane, and the
// values of all Secrets that are none of everybody's.
func (i *installation) realSecrets() []string {
	i.t.Helper()
	var all []string
	id := i.owned("ps", "-q", "--filter", "label=loam.dev/machine=control-plane-0", "--filter", "label=loam.dev/cluster=shoot--local--one")
	keys, err := exec.Command("docker", "exec", id[0], "sh", "-c",
		`cat $(find /etc/kubernetes /var/lib/kubelet/pki -name '*.key') /var/lib/kubelet/pki/*.pem; sed -n 's/.*client-key-data: //p' /etc/kubernetes/*.conf`).Output()
	if err != nil {
		i.t.Fatal(err)
	}
	inKey := true
	for line := range strings.Lines(string(keys)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "-----") {
			inKey = strings.Contains(line, "PRIVATE") || strings.Contains(line, "END CERTIFICATE")
		} else if inKey && len(line) >= 8 {
			all = append(all, line)
		}
	}
	values := i.cluster("one", "get", "secrets", "-A", "-o", `go-template={{range .items}}{{range $k, $v := .data}}{{$k}} {{$v}}{{"\n"}}{{end}}{{end}}`)
	for line := range strings.Lines(values) {
		name, encoded, _ := strings.Cut(strings.TrimSpace(line), " ")
		value, err := base64.StdEncoding.DecodeString(encoded)
		if err == nil && (name == "token" || name == "token-secret" || name == "password") {
			all = append(all, string(value), encoded)
		}
	}
	return all
}

// insightOfASleepingCluster looks at a cluster whose machines are off.
func insightOfASleepingCluster(i *installation) {
	page := i.inspect("one")
	if page.API.Ready || len(page.Nodes) == 0 || len(page.Nodes[0].Certificates) < 10 || len(page.Nodes[0].Processes) != 0 || len(page.Unseen) == 0 {
		i.t.Errorf("the page of a cluster that sleeps is %+v", page)
	}
	report := i.doctor("one")
	asleep := false
	for _, f := range report.Findings {
		asleep = asleep || f.Check == "machines" && f.Severity == doctor.Note
		if ofCluster(f) && f.Severity == doctor.Problem {
			i.t.Errorf("the doctor finds %+v", f)
		}
	}
	if !asleep {
		i.t.Errorf("that it sleeps is not said, or taken for a fault: %+v", report)
	}
	folder := filepath.Join(i.t.TempDir(), "logs")
	i.loam("cluster", "export", "logs", "one", folder)
	if text, err := os.ReadFile(filepath.Join(folder, "missing.txt")); err != nil || !strings.Contains(string(text), "objects and events") || !strings.Contains(string(text), "journals and processes") {
		i.t.Errorf("missing.txt says %v\n%s", err, text)
	}
	if logs, err := filepath.Glob(filepath.Join(folder, "one-control-plane-0", "pods", "kube-system_etcd-*", "etcd", "*.log")); err != nil || len(logs) == 0 {
		i.t.Errorf("logs of pods are %v, %v", logs, err)
	}
}
