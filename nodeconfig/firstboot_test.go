package nodeconfig_test

import (
	"strings"
	"testing"

	"github.com/loam-cloud/loam/nodeconfig"
)

func firstBoot() nodeconfig.FirstBoot {
	return nodeconfig.FirstBoot{
		Server: "10.0.0.1:9443", CA: []byte("-----BEGIN CERTIFICATE-----\n"), Machine: "worker-1", Ticket: "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
		Until: "/etc/kubernetes/kubelet.conf",
	}
}

func TestFirstBootHasItsTicketInOneFileOnly(t *testing.T) {
	files, err := nodeconfig.FirstBootFiles(firstBoot())
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, f := range files {
		all += f.Path + "\n"
		has := strings.Contains(string(f.Content), "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
		if has != (f.Path == "/etc/loam/first-boot/ticket") || has && f.Mode != 0o600 {
			t.Errorf("%s (%o) has the ticket: %v", f.Path, f.Mode, has)
		}
		if strings.Contains(string(f.Content), "{{") || strings.Contains(string(f.Content), "<no value>") {
			t.Errorf("%s is not filled in:\n%s", f.Path, f.Content)
		}
	}
	for _, want := range []string{nodeconfig.FirstBootUnit, "loam-first-boot.timer", "/usr/local/lib/loam/first-boot", "ca.crt"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is missing in\n%s", want, all)
		}
	}
}

func TestFirstBootNamesEveryProblem(t *testing.T) {
	for name, change := range map[string]func(*nodeconfig.FirstBoot){
		"server":  func(f *nodeconfig.FirstBoot) { f.Server = "10.0.0.1" },
		"server ": func(f *nodeconfig.FirstBoot) { f.Server = "a'; rm -rf /:1" },
		"ca":      func(f *nodeconfig.FirstBoot) { f.CA = nil },
		"machine": func(f *nodeconfig.FirstBoot) { f.Machine = "a'b" },
		"ticket":  func(f *nodeconfig.FirstBoot) { f.Ticket = "hidden'" },
		"until":   func(f *nodeconfig.FirstBoot) { f.Until = "a file" },
	} {
		f := firstBoot()
		change(&f)
		_, err := nodeconfig.FirstBootFiles(f)
		if err == nil || !strings.HasPrefix(err.Error(), strings.TrimSpace(name)+":") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := nodeconfig.FirstBootFiles(nodeconfig.FirstBoot{}); err == nil || strings.Count(err.Error(), ": ") < 4 {
		t.Errorf("got %v", err)
	}
}
