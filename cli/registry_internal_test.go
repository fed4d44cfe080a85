package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/admin"
	"github.com/loam-cloud/loam/registry/collect"
	"github.com/loam-cloud/loam/registry/config"
)

// output is written by a command and read by its test.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// registryFile writes a configuration whose ports are free ones.
func registryFile(t *testing.T) (path, dataDir string) {
	t.Helper()
	// Short, for the socket's sake.
	dir, err := os.MkdirTemp("", "loam-registry-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path, dataDir = filepath.Join(dir, "registry.yaml"), filepath.Join(dir, "data")
	text := `apiVersion: loam.dev/v1alpha1
kind: RegistryConfiguration
dataDir: ` + dataDir + `
listen: 127.0.0.1:0
adminListen: 127.0.0.1:0
offline: true
retention:
- repositories: ["*"]
  count: 1
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// Upstreams listen on ports of their own by default; here they do not.
	if err := appendTo(path, "upstreams: [{name: docker.io}]\n"); err != nil {
		t.Fatal(err)
	}
	return path, dataDir
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

func loam(ctx context.Context, t *testing.T, out, problems *output, args ...string) error {
	t.Helper()
	cmd := New()
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(problems)
	return cmd.ExecuteContext(ctx)
}

var listening = regexp.MustCompile(`for="private repositories[^"]*" address=(\S+)`)

// serve runs the image cache until stop is called.
func serve(t *testing.T, file string) (address string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var out, problems output
	ended := make(chan error, 1)
	go func() { ended <- loam(ctx, t, &out, &problems, "registry", "serve", "--config", file) }()
	for !strings.Contains(out.String(), "is ready") {
		select {
		case err := <-ended:
			t.Fatalf("%v: %s", err, problems.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	m := listening.FindStringSubmatch(problems.String())
	if m == nil {
		t.Fatalf("no address in %s", problems.String())
	}
	return m[1], func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestRegistryIsServedAndLookedAfter(t *testing.T) {
	file, _ := registryFile(t)
	address, stop := serve(t, file)
	for _, tag := range []string{"v1", "v2"} {
		img, err := random.Image(1000, 2)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := name.ParseReference(address + "/team/app:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, img); err != nil {
			t.Fatal(err)
		}
	}
	// The same commands, of the process that serves and on its folder.
	for _, running := range []bool{true, false} {
		if !running {
			stop()
		}
		run := func(into any, args ...string) string {
			t.Helper()
			var out, problems output
			args = append([]string{"registry"}, append(args, "--config", file)...)
			if into != nil {
				args = append(args, "-o", "json")
			}
			if err := loam(t.Context(), t, &out, &problems, args...); err != nil {
				t.Fatalf("%v: %v: %s", args, err, problems.String())
			}
			if into != nil {
				if err := json.Unmarshal([]byte(out.String()), into); err != nil {
					t.Fatalf("%v: %v: %s", args, err, out.String())
				}
			}
			return out.String()
		}
		var status admin.Status
		run(&status, "stats")
		if status.Blobs != 8 || (len(status.Upstreams) == 1) != running {
			t.Errorf("running %v: %+v", running, status)
		}
		if text := run(nil, "check"); !strings.Contains(text, "Checked 8 blobs and 2 manifests of 1 repositories: 0 problems.") {
			t.Errorf("running %v: %s", running, text)
		}
		var scrub collect.ScrubReport
		if run(&scrub, "scrub"); scrub.Blobs != 8 || len(scrub.Broken) != 0 {
			t.Errorf("running %v: %+v", running, scrub)
		}
		var old collect.RetentionReport
		if run(&old, "retention", "--dry-run"); len(old.Tags) != 1 || old.Tags[0].Tag != "v1" || !old.DryRun {
			t.Errorf("running %v: %+v", running, old)
		}
		if text := run(nil, "gc", "--dry-run"); !strings.Contains(text, "Would remove 0 things") {
			t.Errorf("running %v: %s", running, text)
		}
		if text := run(nil, "stats", "-o", "wide"); !strings.Contains(text, "8 blobs, ") || strings.Contains(text, "docker.io") != running {
			t.Errorf("running %v: %s", running, text)
		}
	}
	var out, problems output
	if err := loam(t.Context(), t, &out, &problems, "registry", "retention", "--config", file); err != nil || !strings.Contains(out.String(), "Removed 1 tags") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestRegistryCheckAndScrubFailWhenSomethingIsBroken(t *testing.T) {
	file, dataDir := registryFile(t)
	address, stop := serve(t, file)
	img, err := random.Image(1000, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(address + "/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	d, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dataDir, "blobs", d.Algorithm, d.Hex[:2], d.Hex)
	if err := appendTo(path, "more"); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"check", "scrub"} {
		var out, problems output
		if err := loam(t.Context(), t, &out, &problems, "registry", command, "--config", file); fault.KindOf(err) != fault.Invalid && command == "check" || err == nil || !strings.Contains(out.String(), d.String()) {
			t.Errorf("%s: %v: %s", command, err, out.String())
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the broken layer is still in its place: %v", err)
	}
	stop()
}

func TestRegistryConfigurationNamesEveryProblem(t *testing.T) {
	err := parseRegistryConfig([]byte(`apiVersion: loam.dev/v1
kind: Registry
colour: red
listen: "5050"
upstreams:
- name: docker.io
  ttl: -1s
`), "/srv/registry", &config.Configuration{})
	for _, want := range []string{"apiVersion", "kind", "colour", "listen", "upstreams[0].ttl"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %v", want, err)
		}
	}
}

func TestRegistryOfAServiceNeedsNoHome(t *testing.T) {
	for _, variable := range []string{"HOME", "XDG_DATA_HOME", "LOAM_DATA_DIR"} {
		t.Setenv(variable, "")
	}
	file := filepath.Join(t.TempDir(), "registry.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte("apiVersion: loam.dev/v1alpha1\nkind: RegistryConfiguration\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := &options{}
	write("dataDir: /var/lib/loam-registry\n")
	if c, err := o.registryConfig(file); err != nil || c.DataDir != "/var/lib/loam-registry" {
		t.Errorf("got %q, %v", c.DataDir, err)
	}
	write("")
	if _, err := o.registryConfig(file); err == nil || !strings.Contains(err.Error(), "dataDir") {
		t.Errorf("a file that does not say where the cache lies: %v", err)
	}
	if _, err := o.registryConfig(""); err == nil || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("no file: %v", err)
	}
}
