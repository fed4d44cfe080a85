// Package clients lets the programs that people have pull and push through the
// image cache: containerd, docker, skopeo, and oras. crane's library does so beside
// the packages of the cache.
//
// It makes a cache in its own process and knows no internals of it.
package clients_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/loam-cloud/loam/registry/access"
	"github.com/loam-cloud/loam/registry/faulty"
	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/through"
	"github.com/loam-cloud/loam/registry/upstream"
	"github.com/loam-cloud/loam/test/tools"
)

// host is what the upstream is called; no client can reach it but through the cache.
const host = "images.example"

// rig is a cache of an upstream with one image, images.example/library/thing:v1.
type rig struct {
	upstream *faulty.Upstream
	image    string // its digest
	// cached and private are addresses of the upstream's listener and of the one
	// of private repositories and ?ns=.
	cached, private string
}

type source struct{ *through.Cache }

func (s source) Manifest(ctx context.Context, r store.Repository, reference string) (server.Manifest, error) {
	m, err := s.Cache.Manifest(ctx, r, reference)
	return server.Manifest(m), err
}

func build(t *testing.T) *rig {
	t.Helper()
	return buildWith(t, nil)
}

// buildWith makes a cache that only lets in whom a guard knows.
func buildWith(t *testing.T, guard *access.Guard) *rig {
	t.Helper()
	u := faulty.New(1)
	origin := httptest.NewServer(u)
	t.Cleanup(func() { u.Close(); origin.Close() })
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := upstream.New(upstream.Options{
		Name: host, URL: origin.URL, Stall: 500 * time.Millisecond, Attempts: 20, Backoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := through.New(s, client, through.Options{TTL: time.Nanosecond, Log: testr.New(t)})
	front := server.New(server.Options{Store: s, Sources: map[string]server.Source{"": server.Private{Store: s}, host: source{c}}, Guard: guard, Log: testr.New(t)})
	cached, private := httptest.NewServer(front.Handler(host)), httptest.NewServer(front.Handler(""))
	t.Cleanup(func() {
		cached.Close()
		private.Close()
		c.Close()
		_ = s.Close()
	})
	return &rig{u, addImage(t, u), cached.Listener.Addr().String(), private.Listener.Addr().String()}
}

// addImage puts an image that can be unpacked into the upstream.
func addImage(t *testing.T, u *faulty.Upstream) string {
	t.Helper()
	image, err := random.Image(300_000, 3)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	const repository = "library/thing"
	raw := func(content []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	u.AddBlob(repository, raw(image.RawConfigFile()))
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		u.AddBlob(repository, raw(compressed(layer)))
	}
	mediaType, err := image.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	return u.AddManifest(repository, "v1", string(mediaType), raw(image.RawManifest())).String()
}

func compressed(layer v1.Layer) ([]byte, error) {
	content, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	return io.ReadAll(content)
}

// misbehave makes the upstream do what the cache mends behind running answers:
// the programs must not notice.
func (r *rig) misbehave() {
	r.upstream.Next(faulty.Failed, faulty.Expired, faulty.None, faulty.Cut, faulty.Stall, faulty.Cut, faulty.TooMany, faulty.Loop, faulty.WrongEnd, faulty.NoRange)
}

// need skips a test where a program is not installed, or not for this user.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs other programs")
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
}

// run runs a program that has to succeed, and returns what it prints.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestContainerd fetches as a node does: through hosts.toml, by the name that
// images have, and again with the upstream gone.
func TestContainerd(t *testing.T) {
	need(t, "containerd", "ctr")
	fetchByContainerd(t, "containerd", "ctr")
}

// TestContainerd2 does so with the version that nodes have.
func TestContainerd2(t *testing.T) {
	need(t)
	fetchByContainerd(t, tools.Containerd(t), tools.Ctr(t))
}

func fetchByContainerd(t *testing.T, containerd, client string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("containerd needs root")
	}
	r := build(t)
	// Paths of sockets have to be short.
	dir, err := os.MkdirTemp("", "loam")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	hosts := filepath.Join(dir, "certs.d", "_default")
	if err := os.MkdirAll(hosts, 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", r.private)
	if err := os.WriteFile(filepath.Join(hosts, "hosts.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "c.sock")
	config := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(config, []byte("version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(containerd, "--config", config, "--root", filepath.Join(dir, "root"), "--state", filepath.Join(dir, "state"), "--address", socket)
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = daemon.Process.Kill(); _ = daemon.Wait() })
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatal("containerd does not start")
		}
	}
	ctr := func(namespace string, args ...string) string {
		return run(t, client, append([]string{"--address", socket, "--namespace", namespace}, args...)...)
	}
	name := host + "/library/thing:v1"
	for _, pull := range []struct {
		namespace string
		before    func()
	}{{"first", r.misbehave}, {"second", func() { r.upstream.Down(true) }}} {
		pull.before()
		ctr(pull.namespace, "content", "fetch", "--hosts-dir", filepath.Dir(hosts), name)
		if out := ctr(pull.namespace, "images", "ls"); !strings.Contains(out, r.image) {
			t.Errorf("%s: fetched %s, want %s", pull.namespace, out, r.image)
		}
	}
	ctr("first", "images", "push", "--plain-http", r.private+"/team/thing:v1", name)
	ctr("third", "content", "fetch", "--plain-http", r.private+"/team/thing:v1")
	if out := ctr("third", "images", "ls"); !strings.Contains(out, r.image) {
		t.Errorf("pushed %s, fetched %s", r.image, out)
	}
}

func TestDocker(t *testing.T) {
	need(t, "docker")
	if err := exec.Command("docker", "info").Run(); err != nil {
		t.Skip("no daemon of docker runs: ", err)
	}
	r := build(t)
	name, own := r.cached+"/library/thing:v1", r.private+"/team/thing:v1"
	forget := func(names ...string) { _ = exec.Command("docker", append([]string{"image", "rm"}, names...)...).Run() }
	defer forget(name, own)
	for _, before := range []func(){r.misbehave, func() { r.upstream.Down(true) }} {
		forget(name)
		before()
		if out := run(t, "docker", "pull", name); !strings.Contains(out, r.image) {
			t.Errorf("pulled %s, want %s", out, r.image)
		}
	}
	run(t, "docker", "tag", name, own)
	run(t, "docker", "push", own)
	forget(name, own)
	run(t, "docker", "pull", own)
}

// anyImage is a policy of skopeo.
func anyImage(t *testing.T) string {
	t.Helper()
	policy := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(policy, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return policy
}

func TestSkopeo(t *testing.T) {
	need(t, "skopeo")
	r := build(t)
	policy := anyImage(t)
	name, own := "docker://"+r.cached+"/library/thing:v1", "docker://"+r.private+"/team/thing:v1"
	for _, before := range []func(){r.misbehave, func() { r.upstream.Down(true) }} {
		before()
		run(t, "skopeo", "--policy", policy, "copy", "--src-tls-verify=false", name, "dir:"+t.TempDir())
	}
	run(t, "skopeo", "--policy", policy, "copy", "--src-tls-verify=false", "--dest-tls-verify=false", name, own)
	if out := run(t, "skopeo", "inspect", "--tls-verify=false", own); !strings.Contains(out, r.image) {
		t.Errorf("pushed %s, found %s", r.image, out)
	}
}
