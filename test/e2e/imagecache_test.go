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
	"github.com/loam-cloud/loam/test/tools"
)

// imageCache is the image cache that a garden starts, and an upstream that only it
// can reach.
type imageCache struct {
	upstream     *httptest.Server
	file, listen string
}

func newImageCache(t *testing.T) *imageCache {
	t.Helper()
	c := &imageCache{
		upstream: httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)))),
		file:     filepath.Join(t.TempDir(), "registry.yaml"), listen: tools.FreeAddress(t),
	}
	t.Cleanup(c.upstream.Close)
	c.configure(t, "")
	return c
}

// configure says how it runs from the garden's next start on.
func (c *imageCache) configure(t testing.TB, more string) {
	t.Helper()
	text := fmt.Sprintf("apiVersion: loam.dev/v1alpha1\nkind: RegistryConfiguration\nlisten: %s\nadminListen: %s\nupstreams: [{name: upstream.test, url: %q}]\n%s",
		c.listen, tools.FreeAddress(t), c.upstream.URL, more)
	if err := os.WriteFile(c.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serves has the nodes of a cluster run what was pushed to this host, and what an
// upstream has that only the cache can reach; with the upstream gone other nodes
// still run it, also when the cache is told to ask nobody.
func (c *imageCache) serves(i *installation) {
	push(i.t, strings.TrimPrefix(c.upstream.URL, "http://")+"/team/app:v1", runnableImage(i.t, "theirs"))
	_, port, _ := net.SplitHostPort(c.listen)
	own := "localhost:" + port + "/own/app:v1"

	i.runs("cache-none", "one-worker-0", own, "ErrImagePull")
	push(i.t, own, runnableImage(i.t, "own"))
	i.runs("cache-own", "one-worker-0", own, "Succeeded")
	i.runs("cache-fresh", "one-worker-0", "upstream.test/team/app:v1", "Succeeded")
	c.upstream.Close()
	i.runs("cache-gone", "one-worker-1", "upstream.test/team/app:v1", "Succeeded")

	i.refused("an image cache runs there", "registry", "serve", "--config", c.file)
	for _, page := range []string{i.loam("status"), i.loam("registry", "stats")} {
		if !strings.Contains(page, "push to and pull from "+c.listen) {
			i.t.Errorf("nothing says where the image cache is:\n%s", page)
		}
	}
	i.loam("down")
	c.configure(i.t, "offline: true\n")
	i.loam("up", "--detach", "--listen", "127.0.0.1:0", "--registry-config", c.file)
	i.runs("cache-offline", "one-control-plane-0", "upstream.test/team/app:v1", "Succeeded")
	if page := i.loam("registry", "stats"); !strings.Contains(page, "Offline") {
		i.t.Errorf("stats do not say that the upstream is not asked:\n%s", page)
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
