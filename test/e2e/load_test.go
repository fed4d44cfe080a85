package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/loam-cloud/loam/images/archive/archivetest"
	"github.com/loam-cloud/loam/shoots/load"
	"github.com/loam-cloud/loam/test/docker"
)

// loadImages loads an image out of Docker, one out of its archive and one out of an
// OCI layout into two nodes, where pods run them with no registry.
func loadImages(i *installation) {
	client := docker.Require(i.t)
	base := docker.Image(i.t, client, nil)
	const engine, archived, layout = "loam-test/app:engine", "loam-test/app:archive", "loam-test/app:layout"
	must(i.t, "docker", "tag", base, engine)
	must(i.t, "docker", "tag", base, archived)
	i.t.Cleanup(func() { must(i.t, "docker", "rmi", engine, archived) })
	workers := []string{"--nodes", "one-worker-0,one-worker-1"}

	i.loads(load.Planned, append([]string{"docker-image", "one", engine, "--dry-run"}, workers...)...)
	i.loads(load.Loaded, append([]string{"docker-image", engine, "--name", "one"}, workers...)...)
	i.loads(load.Present, append([]string{"docker-image", "one", engine}, workers...)...)

	file := filepath.Join(i.t.TempDir(), "app.tar")
	must(i.t, "docker", "save", "-o", file, archived)
	for _, o := range i.loads(load.Loaded, append([]string{"image-archive", "one", file}, workers...)...) {
		// Its layers came with the first name.
		if o.Layers != 0 || o.LayersTotal == 0 {
			i.t.Errorf("%s was sent %d of %d layers of an image that it has by another name", o.Node, o.Layers, o.LayersTotal)
		}
	}
	i.refused("ends early", "cluster", "load", "image-archive", "one", truncated(i, file))
	i.refused("is not in the container engine", "cluster", "load", "docker-image", "one", "loam-test/none:x")

	folder := archivetest.Folder(i.t, archivetest.Layout(i.t, busyboxImage(i)))
	i.refused("has no name", "cluster", "load", "oci-layout", "one", folder)
	i.loads(load.Loaded, append([]string{"oci-layout", "one", folder, "--as", layout}, workers...)...)
	i.refused("it is for linux/s390x", "cluster", "load", "oci-layout", "one",
		archivetest.Folder(i.t, archivetest.Layout(i.t, archivetest.New(i.t, "s390x", []string{"other:dev"}, "x"))))

	var pods []string
	for n, image := range []string{engine, archived, layout} {
		for worker := range 2 {
			pods = append(pods, fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: loaded-%d-%d}\nspec: {nodeName: one-worker-%d, restartPolicy: Never, "+
				"containers: [{name: c, image: %q, imagePullPolicy: Never, command: [/bin/busybox, echo, it runs]}]}\n", n, worker, worker, image))
		}
	}
	i.clusterApply("one", strings.Join(pods, "---\n"))
	eventually(i.t, time.Minute, func() error {
		phases := i.cluster("one", "get", "pods", "-o", `jsonpath={range .items[*]}{.metadata.name}={.status.phase}{"\n"}{end}`)
		for n := range 3 {
			for worker := range 2 {
				if want := fmt.Sprintf("loaded-%d-%d=Succeeded\n", n, worker); !strings.Contains(phases, want) {
					return fmt.Errorf("want %s, got\n%s", want, phases)
				}
			}
		}
		return nil
	})
	i.cluster("one", "delete", "pods", "--wait=false", "loaded-0-0", "loaded-0-1", "loaded-1-0", "loaded-1-1", "loaded-2-0", "loaded-2-1")
}

// loads loads, and holds what became of it in each node.
func (i *installation) loads(want load.State, args ...string) []load.Outcome {
	i.t.Helper()
	var outcomes []load.Outcome
	out, err := i.command(append([]string{"cluster", "load", "-o", "json"}, args...)...).Output()
	if err == nil {
		err = json.Unmarshal(out, &outcomes)
	}
	if err != nil || len(outcomes) != 2 || outcomes[0].State != want || outcomes[1].State != want {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			i.t.Errorf("%s", exit.Stderr)
		}
		i.t.Fatalf("load %v: %v: %s", args, err, out)
	}
	return outcomes
}

// truncated copies the first half of a file.
func truncated(i *installation, file string) string {
	i.t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		i.t.Fatal(err)
	}
	return archivetest.Write(i.t, content[:len(content)/2])
}

// busyboxImage is an image without a name.
func busyboxImage(i *installation) archivetest.Image {
	i.t.Helper()
	program, err := os.ReadFile(docker.Busybox(i.t))
	if err != nil {
		i.t.Fatal(err)
	}
	layer := archivetest.Tar(i.t, []archivetest.File{{Name: "bin/busybox", Content: program, Mode: 0o755}})
	return archivetest.FromLayers(i.t, runtime.GOARCH, nil, v1.Config{}, layer)
}
