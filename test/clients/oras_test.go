package clients_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-cloud/loam/test/tools"
)

// TestOras pulls images, and pushes, finds and pulls what is none: a file, and a
// second one about it.
func TestOras(t *testing.T) {
	need(t)
	program := tools.Oras(t)
	r := build(t)
	home := t.TempDir()
	oras := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		// Its credentials and its cache are in folders of the user's.
		cmd.Dir, cmd.Env = home, append(os.Environ(), "HOME="+home, "DOCKER_CONFIG="+home, "ORAS_CACHE=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("oras %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for _, before := range []func(){r.misbehave, func() { r.upstream.Down(true) }} {
		before()
		oras("copy", "--from-plain-http", r.cached+"/library/thing:v1", "--to-oci-layout", t.TempDir()+":v1")
	}
	for name, content := range map[string]string{"report.txt": "all is well\n", "signature.txt": "I say so\n"} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := r.private + "/team/report:v1"
	oras("push", "--plain-http", own, "report.txt:text/plain")
	oras("attach", "--plain-http", "--artifact-type", "application/x.signature", own, "signature.txt:text/plain")
	if out := oras("discover", "--plain-http", own); !strings.Contains(out, "application/x.signature") {
		t.Errorf("the signature is not found:\n%s", out)
	}
	if out := oras("repo", "tags", "--plain-http", r.private+"/team/report"); strings.TrimSpace(out) != "v1" {
		t.Errorf("tags are %q", out)
	}
	there := t.TempDir()
	oras("pull", "--plain-http", "-o", there, own)
	if text, err := os.ReadFile(filepath.Join(there, "report.txt")); err != nil || string(text) != "all is well\n" {
		t.Errorf("pulled %q, %v", text, err)
	}
}
