package clients_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr/testr"
	"golang.org/x/crypto/bcrypt"

	"github.com/loam-cloud/loam/registry/access"
)

// guarded is a cache that everybody may pull from, and only ann may push to.
func guarded(t *testing.T) *rig {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	htpasswd := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(htpasswd, []byte("ann:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	guard, err := access.NewGuard(access.Options{HtpasswdFile: htpasswd, Log: testr.New(t), Grants: []access.Grant{
		{Users: []string{access.Everyone}, Repositories: []string{"*"}, Actions: []access.Action{access.Pull, access.Push}},
		{Users: []string{access.Anonymous}, Repositories: []string{host + "/*"}, Actions: []access.Action{access.Pull}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return buildWith(t, guard)
}

func TestSkopeoLogsIn(t *testing.T) {
	need(t, "skopeo")
	r := guarded(t)
	policy := anyImage(t)
	cached, own := "docker://"+r.cached+"/library/thing:v1", "docker://"+r.private+"/team/thing:v1"
	// No file of whoever runs the tests.
	auth := filepath.Join(t.TempDir(), "auth.json")
	args := func(more ...string) []string {
		return append([]string{"--policy", policy, "copy", "--authfile", auth, "--src-tls-verify=false", "--dest-tls-verify=false"}, more...)
	}
	if out, err := exec.CommandContext(t.Context(), "skopeo", args(cached, own)...).CombinedOutput(); err == nil {
		t.Errorf("anonymous has pushed: %s", out)
	}
	run(t, "skopeo", args("--dest-creds", "ann:secret", cached, own)...)
	run(t, "skopeo", args("--src-creds", "ann:secret", own, "dir:"+t.TempDir())...)
	if out, err := exec.CommandContext(t.Context(), "skopeo", args("--src-creds", "ann:wrong", own, "dir:"+t.TempDir())...).CombinedOutput(); err == nil {
		t.Errorf("a wrong password was taken: %s", out)
	}
}

func TestDockerLogsIn(t *testing.T) {
	need(t, "docker")
	if err := exec.Command("docker", "info").Run(); err != nil {
		t.Skip("no daemon of docker runs: ", err)
	}
	r := guarded(t)
	config := t.TempDir()
	docker := func(args ...string) []string { return append([]string{"--config", config}, args...) }
	cached, own := r.cached+"/library/thing:v1", r.private+"/team/thing:v1"
	defer func() { _ = exec.Command("docker", "image", "rm", cached, own).Run() }()
	run(t, "docker", docker("pull", cached)...)
	run(t, "docker", docker("tag", cached, own)...)
	if out, err := exec.CommandContext(t.Context(), "docker", docker("push", own)...).CombinedOutput(); err == nil {
		t.Errorf("anonymous has pushed: %s", out)
	}
	login := exec.CommandContext(t.Context(), "docker", docker("login", "--username", "ann", "--password-stdin", r.private)...)
	login.Stdin = strings.NewReader("secret")
	if out, err := login.CombinedOutput(); err != nil {
		t.Fatalf("docker login: %v\n%s", err, out)
	}
	run(t, "docker", docker("push", own)...)
}
