package load_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/archive"
	"github.com/loam-cloud/loam/images/archive/archivetest"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots"
	"github.com/loam-cloud/loam/shoots/load"
)

const (
	cluster = "shoot--local--demo"
	full    = "docker.io/library/app:dev"
)

// world is machines whose containerd keeps what is imported.
type world struct {
	mutex sync.Mutex
	list  []machines.Machine
	nodes map[string]*containerd
	// imported, when set, takes the place of an import.
	imported func(ctx context.Context, name string, from io.Reader) error
}

type containerd struct {
	machine   string
	images    map[string]string
	snapshots []string
	content   map[string][]byte
	// got are the digests of what the last import was sent.
	got     []string
	imports int
}

func newWorld(names ...string) *world {
	w := &world{nodes: map[string]*containerd{}}
	for _, name := range names {
		w.list = append(w.list, machines.Machine{Cluster: cluster, Name: name, Hostname: "demo-" + name, State: machines.StateRunning, Labels: map[string]string{}})
		w.nodes[name] = &containerd{machine: "x86_64", images: map[string]string{}, content: map[string][]byte{}}
	}
	w.list = append(w.list, machines.Machine{Cluster: cluster, Name: "balancer", Hostname: "demo-balancer", Labels: map[string]string{shoots.LabelRole: string(v1alpha1.RoleBalancer)}})
	return w
}

func (w *world) List(context.Context, string) ([]machines.Machine, error) { return w.list, nil }

func (w *world) Run(ctx context.Context, _, name string, c machines.Command) error {
	script, args := c.Args[2], c.Args[4:]
	if strings.Contains(script, "images import") {
		if w.imported != nil {
			return w.imported(ctx, name, c.Stdin)
		}
		return w.nodes[name].read(&w.mutex, c.Stdin)
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	n := w.nodes[name]
	switch {
	case strings.Contains(script, "uname -m"):
		fmt.Fprintf(c.Stdout, "%s\noverlayfs\n--loam--\nREF TYPE DIGEST SIZE PLATFORMS LABELS\n", n.machine)
		for image, target := range n.images {
			fmt.Fprintf(c.Stdout, "%s application/x %s 1.2 MiB linux/amd64 -\n", image, target)
		}
		fmt.Fprint(c.Stdout, "--loam--\nKEY PARENT KIND\nsomething running Active\n")
		for _, s := range n.snapshots {
			fmt.Fprintf(c.Stdout, "%s  Committed\n", s)
		}
	case strings.Contains(script, "content get"):
		_, _ = c.Stdout.Write(n.content[args[0]])
	case strings.Contains(script, "for id"):
		for _, id := range args {
			if _, known := n.images[id]; !known {
				fmt.Fprint(c.Stderr, "the kubelet's runtime does not see "+id)
				return &machines.ExitError{Program: "/bin/sh", Code: 1}
			}
		}
	default:
		return errors.New("unknown script: " + script)
	}
	return nil
}

// read does what containerd does with an archive: content first, names at the end.
// A layer that it has not got and is not sent is a fault.
func (n *containerd) read(mutex *sync.Mutex, from io.Reader) error {
	content, files := map[string][]byte{}, map[string][]byte{}
	archive := tar.NewReader(from)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			return err
		}
		files[header.Name], content[archivetest.Hash(text).String()] = text, text
	}
	mutex.Lock()
	defer mutex.Unlock()
	n.imports++
	var index v1.IndexManifest
	if files["oci-layout"] == nil || json.Unmarshal(files["index.json"], &index) != nil {
		return errors.New("unrecognized image format")
	}
	n.got = nil
	for digest := range content {
		n.got = append(n.got, digest)
	}
	for _, d := range index.Manifests {
		var manifest v1.Manifest
		var config v1.ConfigFile
		if json.Unmarshal(content[d.Digest.String()], &manifest) != nil || json.Unmarshal(content[manifest.Config.Digest.String()], &config) != nil {
			return errors.New("content not found")
		}
		chain := ""
		for i, diff := range config.RootFS.DiffIDs {
			if chain == "" {
				chain = diff.String()
			} else {
				chain = archivetest.Hash([]byte(chain + " " + diff.String())).String()
			}
			if !slices.Contains(n.snapshots, chain) {
				if content[manifest.Layers[i].Digest.String()] == nil {
					return fmt.Errorf("layer %s not found", manifest.Layers[i].Digest)
				}
				n.snapshots = append(n.snapshots, chain)
			}
		}
		n.images[d.Annotations["io.containerd.image.name"]] = d.Digest.String()
		n.images[manifest.Config.Digest.String()] = d.Digest.String()
		n.content[d.Digest.String()] = content[d.Digest.String()]
	}
	return nil
}

func (w *world) load(t *testing.T, files []archivetest.File, change func(*load.Request)) ([]load.Outcome, error) {
	t.Helper()
	r := load.Request{Cluster: cluster, Open: func(context.Context, v1.Platform) (*archive.Source, error) {
		return archive.OpenFile(archivetest.Write(t, archivetest.Tar(t, files)))
	}}
	if change != nil {
		change(&r)
	}
	return (&load.Loader{Machines: w, Say: t.Logf}).Load(t.Context(), r)
}

func states(outcomes []load.Outcome) string {
	var all []string
	for _, o := range outcomes {
		all = append(all, fmt.Sprintf("%s %s %s %d/%d", strings.TrimPrefix(o.Image, "docker.io/library/"), o.Node, o.State, o.Layers, o.LayersTotal))
	}
	return strings.Join(all, "\n")
}

func is(t *testing.T, what string, outcomes []load.Outcome, err error, want ...string) {
	t.Helper()
	if got := states(outcomes); err != nil || got != strings.Join(want, "\n") {
		t.Errorf("%s: %v\n%s\nwant\n%s", what, err, got, strings.Join(want, "\n"))
	}
}

// TestLoad loads twice, then an image on the same base, then a new one by the same
// name: each node gets what it lacks.
func TestLoad(t *testing.T) {
	for name, form := range map[string]func(testing.TB, ...archivetest.Image) []archivetest.File{
		"docker save": archivetest.Legacy, "docker save since 25": archivetest.Blobs, "layout": archivetest.Layout,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld("control-plane-0", "worker-0")
			one := archivetest.New(t, "amd64", []string{full}, "base", "one")
			two := archivetest.New(t, "amd64", []string{full}, "base", "two")
			dry := func(r *load.Request) { r.DryRun = true }
			got, err := w.load(t, form(t, one), dry)
			is(t, "dry", got, err, "app:dev demo-control-plane-0 planned 2/2", "app:dev demo-worker-0 planned 2/2")
			got, err = w.load(t, form(t, one), func(r *load.Request) { r.Nodes = []string{"worker-0"} })
			is(t, "into one node", got, err, "app:dev demo-worker-0 loaded 2/2")
			got, err = w.load(t, form(t, one), nil)
			is(t, "into the other", got, err, "app:dev demo-control-plane-0 loaded 2/2", "app:dev demo-worker-0 present 0/2")
			if w.nodes["worker-0"].imports != 1 {
				t.Errorf("a node that had the image was sent it again")
			}
			got, err = w.load(t, form(t, two), nil)
			is(t, "on the same base", got, err, "app:dev demo-control-plane-0 loaded 1/2", "app:dev demo-worker-0 loaded 1/2")
			if slices.Contains(w.nodes["worker-0"].got, archivetest.Hash(two.Layers[0]).String()) {
				t.Errorf("a layer that the node has was sent: %v", w.nodes["worker-0"].got)
			}
			got, err = w.load(t, form(t, two), dry)
			is(t, "dry again", got, err, "app:dev demo-control-plane-0 present 0/2", "app:dev demo-worker-0 present 0/2")
		})
	}
}

// TestSeveral loads two images of which a node has one.
func TestSeveral(t *testing.T) {
	w := newWorld("control-plane-0", "worker-0")
	a, b := archivetest.New(t, "amd64", []string{"app:dev"}, "base", "a"), archivetest.New(t, "amd64", []string{"web:dev"}, "base", "b")
	if _, err := w.load(t, archivetest.Legacy(t, a), func(r *load.Request) { r.Nodes = []string{"demo-worker-0"} }); err != nil {
		t.Fatal(err)
	}
	got, err := w.load(t, archivetest.Legacy(t, a, b), nil)
	is(t, "both", got, err, "app:dev demo-control-plane-0 loaded 2/2", "app:dev demo-worker-0 present 0/2", "web:dev demo-control-plane-0 loaded 1/2", "web:dev demo-worker-0 loaded 1/2")
}

// TestStream loads what is known only when it was read, and says what it is called.
func TestStream(t *testing.T) {
	w := newWorld("control-plane-0", "worker-0")
	one := archivetest.New(t, "amd64", nil, "base", "one")
	packed := archivetest.Zip(t, archivetest.Tar(t, archivetest.Layout(t, one)))
	open := func(context.Context, v1.Platform) (*archive.Source, error) { //nolint:unparam // as the request has it
		return archive.Stream(bytes.NewReader(packed)), nil
	}
	got, err := w.load(t, nil, func(r *load.Request) { r.Open, r.Name, r.DryRun = open, "app:dev", true })
	is(t, "dry", got, err, "app:dev demo-control-plane-0 planned 2/2", "app:dev demo-worker-0 planned 2/2")
	got, err = w.load(t, nil, func(r *load.Request) { r.Open, r.Name = open, "app:dev" })
	is(t, "stream", got, err, "app:dev demo-control-plane-0 loaded 2/2", "app:dev demo-worker-0 loaded 2/2")
	if _, err := w.load(t, nil, func(r *load.Request) { r.Open = open }); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "has no name") {
		t.Errorf("without a name: %v", err)
	}
}

// TestNothingChanges ends with one error, and no node knows an image by a name.
func TestNothingChanges(t *testing.T) {
	one := archivetest.New(t, "amd64", []string{full}, "base", "one")
	spoilt := archivetest.Layout(t, one)
	spoilt[2].Content = append([]byte("X"), spoilt[2].Content[1:]...)
	for name, tc := range map[string]struct {
		files  []archivetest.File
		change func(*world, *load.Request)
		want   string
		kind   fault.Kind
	}{
		"a wrong digest": {spoilt, nil, "another content than its name says", fault.Invalid},
		"a wrong digest, a stream": {nil, func(_ *world, r *load.Request) {
			r.Open = func(context.Context, v1.Platform) (*archive.Source, error) {
				return archive.Stream(bytes.NewReader(archivetest.Tar(t, spoilt))), nil
			}
		}, "another content than its name says", fault.Invalid},
		"a stream that ends": {nil, func(_ *world, r *load.Request) {
			r.Open = func(context.Context, v1.Platform) (*archive.Source, error) {
				return archive.Stream(bytes.NewReader(archivetest.Tar(t, archivetest.Legacy(t, one))[:4096])), nil
			}
		}, "ends early", fault.Invalid},
		"another platform": {archivetest.Layout(t, one), func(w *world, _ *load.Request) {
			for _, n := range w.nodes {
				n.machine = "aarch64"
			}
		}, "it is for linux/amd64, and the nodes are linux/arm64", fault.Invalid},
		"nodes of two kinds": {archivetest.Layout(t, one), func(w *world, _ *load.Request) { w.nodes["worker-0"].machine = "riscv64" }, "--nodes", fault.Invalid},
		"no such node":       {archivetest.Layout(t, one), func(_ *world, r *load.Request) { r.Nodes = []string{"worker-7"} }, `no node "worker-7"; there are: demo-control-plane-0, demo-worker-0`, fault.Missing},
		"the balancer":       {archivetest.Layout(t, one), func(_ *world, r *load.Request) { r.Nodes = []string{"balancer"} }, `no node "balancer"`, fault.Missing},
		"a node that is off": {archivetest.Layout(t, one), func(w *world, _ *load.Request) { w.list[1].State = machines.StateStopped }, "not running: demo-worker-0", fault.Waiting},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld("control-plane-0", "worker-0")
			_, err := w.load(t, tc.files, func(r *load.Request) {
				if tc.change != nil {
					tc.change(w, r)
				}
			})
			if err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) != tc.kind {
				t.Errorf("got %v (%s), want %q", err, fault.KindOf(err), tc.want)
			}
			for name, n := range w.nodes {
				if len(n.images) != 0 {
					t.Errorf("node %s knows %v", name, n.images)
				}
			}
		})
	}
}

// TestOneNodeFails loads into the others, and says which node has not got what.
func TestOneNodeFails(t *testing.T) {
	one := archivetest.New(t, "amd64", []string{full}, "base", strings.Repeat("large", 2_000_000))
	for name, fail := range map[string]func(ctx context.Context, from io.Reader) error{
		"at once": func(context.Context, io.Reader) error { return errors.New("no space left") },
		"in the middle": func(_ context.Context, from io.Reader) error {
			_, err := io.CopyN(io.Discard, from, 1<<20)
			return errors.Join(err, errors.New("no space left"))
		},
		"at the end": func(_ context.Context, from io.Reader) error {
			_, err := io.Copy(io.Discard, from)
			return errors.Join(err, errors.New("no space left"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld("control-plane-0", "worker-0")
			w.imported = func(ctx context.Context, name string, from io.Reader) error {
				if name == "worker-0" {
					return fail(ctx, from)
				}
				return w.nodes[name].read(&w.mutex, from)
			}
			got, err := w.load(t, archivetest.Legacy(t, one), nil)
			if err == nil || !strings.Contains(err.Error(), `loading docker.io/library/app:dev into node "demo-worker-0": no space left`) || strings.Contains(err.Error(), "control-plane") {
				t.Errorf("got %v", err)
			}
			if text := states(got); !strings.Contains(text, "demo-control-plane-0 loaded") || !strings.Contains(text, "demo-worker-0 failed") {
				t.Errorf("got\n%s", text)
			}
		})
	}
}

// TestNobodyIsLeft ends when no node takes anything any more.
func TestNobodyIsLeft(t *testing.T) {
	w := newWorld("control-plane-0", "worker-0")
	w.imported = func(_ context.Context, name string, _ io.Reader) error { return errors.New("broken " + name) }
	one := archivetest.New(t, "amd64", []string{full}, strings.Repeat("large", 4_000_000))
	_, err := w.load(t, archivetest.Legacy(t, one), nil)
	if err == nil || !strings.Contains(err.Error(), "broken control-plane-0") || !strings.Contains(err.Error(), "broken worker-0") {
		t.Errorf("got %v", err)
	}
}

// TestOneNodeHangs goes on without a node that takes nothing, and ends what runs in
// it. Time is the test's own.
func TestOneNodeHangs(t *testing.T) {
	one := archivetest.New(t, "amd64", []string{full}, strings.Repeat("large", 4_000_000))
	packed := archivetest.Tar(t, archivetest.Legacy(t, one))
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("control-plane-0", "worker-0")
		ended := false
		w.imported = func(ctx context.Context, name string, from io.Reader) error {
			if name == "worker-0" {
				<-ctx.Done()
				ended = true
				return ctx.Err()
			}
			return w.nodes[name].read(&w.mutex, from)
		}
		began := time.Now()
		got, err := w.load(t, nil, func(r *load.Request) {
			r.Open = func(context.Context, v1.Platform) (*archive.Source, error) {
				return archive.Stream(bytes.NewReader(packed)), nil
			}
		})
		if err == nil || !strings.Contains(err.Error(), `node "demo-worker-0": it took nothing for 1m0s`) || !ended {
			t.Errorf("got %v, its import ended: %v", err, ended)
		}
		if !strings.Contains(states(got), "demo-control-plane-0 loaded") || time.Since(began) > 2*load.DefaultPatience {
			t.Errorf("after %v\n%s", time.Since(began), states(got))
		}
	})
}

// TestTheUserLeaves ends what runs in nodes.
func TestTheUserLeaves(t *testing.T) {
	w := newWorld("control-plane-0", "worker-0")
	ctx, leave := context.WithCancel(t.Context())
	w.imported = func(ctx context.Context, name string, from io.Reader) error {
		leave()
		<-ctx.Done()
		return ctx.Err()
	}
	one := archivetest.New(t, "amd64", []string{full}, strings.Repeat("large", 4_000_000))
	file := archivetest.Write(t, archivetest.Tar(t, archivetest.Legacy(t, one)))
	_, err := (&load.Loader{Machines: w, Say: t.Logf}).Load(ctx, load.Request{Cluster: cluster, Open: func(context.Context, v1.Platform) (*archive.Source, error) {
		return archive.OpenFile(file)
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
