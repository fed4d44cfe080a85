package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/loam-cloud/loam/images/archive/archivetest"
	"github.com/loam-cloud/loam/test/docker"
)

// imageCache starts an image cache beside a cluster that runs already. Its nodes run
// what was pushed to this host, and what an upstream has that only the cache can
// reach; with the upstream gone other nodes still run it, also when the cache is
// told to ask nobody. Without a cache an image is what its registry says.
func imageCache(i *installation) {
	upstream := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer upstream.Close()
	push(i.t, strings.TrimPrefix(upstream.URL, "http://")+"/team/app:v1", runnableImage(i.t, "theirs"))
	listen := freeAddress(i.t)
	_, port, _ := net.SplitHostPort(listen)
	own := "localhost:" + port + "/own/app:v1"

	i.runs("cache-none", "one-worker-0", own, "ErrImagePull")
	stop := i.serveCache(listen, upstream.URL, "")
	push(i.t, own, runnableImage(i.t, "own"))
	i.runs("cache-own", "one-worker-0", own, "Succeeded")
	i.runs("cache-fresh", "one-worker-0", "upstream.test/team/app:v1", "Succeeded")
	upstream.Close()
	i.runs("cache-gone", "one-worker-1", "upstream.test/team/app:v1", "Succeeded")
	stop()
	stop = i.serveCache(listen, upstream.URL, "offline: true\n")
	defer stop()
	i.runs("cache-offline", "one-control-plane-0", "upstream.test/team/app:v1", "Succeeded")

	if page := i.loam("registry", "stats"); !strings.Contains(page, "upstream.test") {
		i.t.Errorf("stats say nothing of the upstream:\n%s", page)
	}
	i.cluster("one", "delete", "pods", "-l", "test=image-cache", "--wait=false")
}

// runs has a node pull an image and run it, and waits until the pod's phase, or why
// it waits, is what is wanted.
func (i *installation) runs(pod, node, image, want string) {
	i.t.Helper()
	i.clusterApply("one", fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, labels: {test: image-cache}}\nspec: {nodeName: %s, restartPolicy: Never, "+
		"containers: [{name: c, image: %q, imagePullPolicy: Always, command: [/bin/busybox, echo, it runs]}]}\n", pod, node, image))
	eventually(i.t, 2*time.Minute, func() error {
		state := i.cluster("one", "get", "pod", pod, "-o", "jsonpath={.status.phase} {.status.containerStatuses[*].state.waiting.reason} {.status.containerStatuses[*].state.waiting.message}")
		if !strings.Contains(state, want) {
			return fmt.Errorf("pod %s is %s, want %s", pod, state, want)
		}
		return nil
	})
}

// serveCache runs the image cache until it is stopped.
func (i *installation) serveCache(listen, upstream, more string) (stop func()) {
	i.t.Helper()
	file := filepath.Join(i.t.TempDir(), "registry.yaml")
	text := fmt.Sprintf("apiVersion: loam.dev/v1alpha1\nkind: RegistryConfiguration\nlisten: %s\nadminListen: %s\nupstreams: [{name: upstream.test, url: %q}]\n%s",
		listen, freeAddress(i.t), upstream, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		i.t.Fatal(err)
	}
	cmd := i.command("registry", "serve", "--config", file)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		_ = cmd.Wait()
		i.t.Fatalf("the image cache says nothing: %v: %s", err, &said)
	}
	return func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			i.t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			i.t.Errorf("the image cache ended with %v: %s", err, &said)
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// runnableImage is busybox, with a file that no other image has: what a node has
// already it does not pull.
func runnableImage(t testing.TB, only string) v1.Image {
	t.Helper()
	program, err := os.ReadFile(docker.Busybox(t))
	if err != nil {
		t.Fatal(err)
	}
	content := archivetest.Tar(t, []archivetest.File{{Name: "bin/busybox", Content: program, Mode: 0o755}, {Name: "etc/only", Content: []byte(only), Mode: 0o644}})
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", runtime.GOARCH
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

func push(t testing.TB, to string, image v1.Image) {
	t.Helper()
	reference, err := name.ParseReference(to, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, image); err != nil {
		t.Fatal(err)
	}
}
