package debian_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/internal/debian"
)

func TestLeftovers(t *testing.T) {
	for name, want := range map[string]bool{
		"var/log": true, "var/log/dpkg.log": true, "etc/machine-id": true, "usr/share/doc/bash/copyright": true, "tmp/x": true,
		"var/logs": false, "etc/machine-info": false, "usr/share": false, "usr/tmp": false, "var/lib/dpkg/status": false,
	} {
		if got := debian.Leftovers(name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestCheckWithoutDebootstrap(t *testing.T) {
	if os.Geteuid() != 0 {
		if err := debian.Check(); fault.KindOf(err) != fault.Denied {
			t.Errorf("not root: got %v, want denied", err)
		}
		return
	}
	t.Setenv("PATH", t.TempDir())
	err := debian.Check()
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "apt-get install debootstrap") {
		t.Errorf("got %v, want advice on installing debootstrap", err)
	}
}

// put copies a file, or writes text, into a root folder.
func put(t *testing.T, root, path string, content []byte) {
	t.Helper()
	full := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, root, path, target string) {
	t.Helper()
	full := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, full); err != nil {
		t.Fatal(err)
	}
}

func TestPrograms(t *testing.T) {
	root := t.TempDir()
	put(t, root, "usr/bin/tool", []byte("#!/bin/sh\n"))
	put(t, root, "usr/share/doc/tool/copyright", []byte("text"))
	put(t, root, "etc/tool.conf", []byte("text"))
	put(t, root, "usr/lib/x86_64-linux-gnu/xtables/libxt_x.so", []byte("no program"))
	link(t, root, "bin", "usr/bin")
	link(t, root, "usr/bin/alias", "tool")
	put(t, root, "var/lib/dpkg/info/tool.list", []byte("/.\n/bin\n/bin/tool\n/usr/bin/alias\n/etc/tool.conf\n/usr/share/doc/tool/copyright\n/usr/lib/x86_64-linux-gnu/xtables/libxt_x.so\n"))
	put(t, root, "var/lib/dpkg/info/tool-extra.list", []byte("/bin/missing\n"))
	got, err := debian.Programs(root, []string{"tool"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Files) != 2 || got.Files["usr/bin/tool"] == "" || got.Files["usr/lib/x86_64-linux-gnu/xtables/libxt_x.so"] == "" {
		t.Errorf("files: %v", got.Files)
	}
	if len(got.Links) != 1 || got.Links["usr/bin/alias"] != "tool" {
		t.Errorf("links: %v", got.Links)
	}
	if _, err := debian.Programs(root, []string{"too"}); err == nil {
		t.Error("a package that is not there was found")
	}
}

// TestProgramsBringLibraries builds a root folder from one dynamic program of this
// host, with links as Debian makes them: absolute ones, which must be read as
// paths of the root folder.
func TestProgramsBringLibraries(t *testing.T) {
	program, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("no dynamic program to try with")
	}
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		t.Skip("ldd does not work here")
	}
	root := t.TempDir()
	want := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^\s*(?:(\S+) => )?(/\S+) \(`).FindAllStringSubmatch(string(out), -1) {
		content, err := os.ReadFile(match[2])
		if err != nil {
			t.Fatal(err)
		}
		real := "usr/lib/x86_64-linux-gnu/" + filepath.Base(match[2]) + ".real"
		put(t, root, real, content)
		path := "usr/lib/x86_64-linux-gnu/" + match[1]
		if match[1] == "" { // the loader
			path = "usr" + match[2]
			// Libraries ask for it by name.
			byName := "usr/lib/x86_64-linux-gnu/" + filepath.Base(match[2])
			link(t, root, byName, "/"+real)
			want[byName] = true
		}
		link(t, root, path, "/"+real)
		want[path] = true
	}
	if len(want) < 2 {
		t.Skipf("%s is static", program)
	}
	for _, folder := range []string{"lib", "lib64"} {
		link(t, root, folder, "usr/"+folder)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	put(t, root, "usr/bin/tar", content)
	put(t, root, "var/lib/dpkg/info/tar:amd64.list", []byte("/usr/bin/tar\n"))
	got, err := debian.Programs(root, []string{"tar"})
	if err != nil {
		t.Fatal(err)
	}
	for path := range want {
		if !strings.HasPrefix(got.Files[path], root) {
			t.Errorf("%s: got %q, want a file in the root folder", path, got.Files[path])
		}
	}
	if len(got.Files) != len(want)+1 {
		t.Errorf("got %v, want the program and %v", got.Files, want)
	}
	if err := os.Remove(filepath.Join(root, "usr/lib/x86_64-linux-gnu/libc.so.6.real")); err != nil {
		t.Fatal(err)
	}
	if _, err := debian.Programs(root, []string{"tar"}); err == nil || !strings.Contains(err.Error(), "libc.so.6") {
		t.Errorf("got %v, want the missing library's name", err)
	}
}
