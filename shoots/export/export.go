// Package export writes what helps to understand a cluster in trouble into a
// folder: journals, logs of pods and containers, manifests, objects and events,
// with secrets taken out. The command line calls it through app.
//
// It changes nothing in the cluster. What cannot be had, as from an API server
// that does not answer, is noted in the folder and no error. Objects of kind
// Secret are read for one purpose only: to find their values elsewhere and take
// them out.
package export

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots/insight"
	"github.com/loam-cloud/loam/shoots/mask"
)

const (
	// runLimit bounds one command in a node.
	runLimit = 2 * time.Minute
	// atOnce bounds how many nodes are read at the same time.
	atOnce = 4
	// keyLimit is how much of a file is searched for keys.
	keyLimit = 1 << 20
)

// Exporter exports one cluster.
type Exporter struct {
	Machines insight.Machines
	View     *insight.View
	// Texts are pages that the caller made, by the name of their file.
	Texts map[string]string
	// Objects reads the cluster's objects; nil when it cannot be reached.
	Objects *Objects
	// Say tells of progress.
	Say func(format string, args ...any)
}

// Export writes into a folder, which it makes; one that is there must be empty.
// Only its owner may read it. Faults: Invalid (the folder), Transient.
func (e *Exporter) Export(ctx context.Context, folder string) error {
	if err := Prepare(folder); err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fault.New(fault.Invalid, "folder %q: %w", folder, err)
	}
	defer func() { _ = root.Close() }() // only a handle
	b := &book{root: root}
	e.Say("Looking for keys, to keep them out")
	b.masker = mask.New(e.secrets(ctx, b)...)
	for name, text := range e.Texts {
		if err := b.text(name, text); err != nil {
			return err
		}
	}
	e.Say("Reading objects and events")
	if err := e.cluster(ctx, b); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, m := range e.View.Machines {
		g.Go(func() error {
			err := e.node(ctx, b, m)
			if err == nil {
				e.Say("Read node %s", m.Hostname)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return b.close()
}

// Prepare makes the folder of an export, as Export does. One that has files of
// others is not written into. Faults: Invalid.
func Prepare(folder string) error {
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return fault.New(fault.Invalid, "folder %q cannot be made: %w", folder, err)
		}
	case err != nil:
		return fault.New(fault.Invalid, "folder %q: %w", folder, err)
	case len(entries) > 0:
		return fault.New(fault.Invalid, "folder %q is not empty: it has %q; name another one", folder, entries[0].Name())
	}
	// One that was there may have been open to others.
	if err := os.Chmod(folder, 0o700); err != nil { //nolint:gosec // a folder needs its x bit
		return fault.New(fault.Invalid, "folder %q: %w", folder, err)
	}
	return nil
}

// secrets are those that are known: keys and kubeconfigs in nodes, and the values
// of Secrets.
func (e *Exporter) secrets(ctx context.Context, b *book) [][]byte {
	var all [][]byte
	for _, m := range e.View.Machines {
		for _, folder := range []string{"/etc/kubernetes", "/var/lib/kubelet/pki", "/etc/loam"} {
			err := e.Machines.ReadFolder(ctx, m.Cluster, m.Name, folder, func(_ string, content io.Reader) error {
				text, err := io.ReadAll(io.LimitReader(content, keyLimit))
				all = append(all, mask.Keys(text)...)
				return err
			})
			if err != nil && !errors.Is(err, fault.Missing) {
				b.miss("keys of "+m.Hostname+", so that only what looks like one is taken out", err)
			}
		}
	}
	if e.Objects != nil {
		values, err := e.Objects.secretValues(ctx)
		if err != nil {
			b.miss("values of Secrets, so that only what looks like one is taken out", err)
		}
		all = append(all, values...)
	}
	return all
}

// commands are what nodes are asked, by the file that the answer goes to.
func commands() map[string]string {
	return map[string]string{
		"journal.log":    "journalctl --no-pager -o short-iso-precise",
		"kubelet.log":    "journalctl --no-pager -o short-iso-precise -u kubelet",
		"containerd.log": "journalctl --no-pager -o short-iso-precise -u containerd",
		"versions.txt":   "cat /kind/version; for p in kubelet containerd runc; do $p --version; done; kubeadm version -o short; uname -a; cat /etc/os-release",
		"processes.txt":  "ps -eo pid,ppid,user,rss,etime,args",
		"containers.txt": "ctr -n k8s.io containers list; ctr -n k8s.io tasks list",
		"network.txt":    "ip address; ip route; ss -tulnp; iptables-save",
		"disks.txt":      "df -h; df -i; mount; cat /proc/meminfo",
	}
}

// folders are what is read of nodes whatever they do, by where it goes.
func folders() map[string]string {
	return map[string]string{
		"/var/log/pods":                      "pods",
		"/var/log/loam":                      "loam",
		"/etc/kubernetes/manifests":          "manifests",
		"/var/lib/kubelet/config.yaml":       "kubelet",
		"/var/lib/kubelet/kubeadm-flags.env": "kubelet",
		"/etc/containerd/config.toml":        "containerd",
	}
}

// node writes what is to be had of one node. Only a folder that cannot be
// written to is an error.
func (e *Exporter) node(ctx context.Context, b *book, m machines.Description) error {
	name := m.Hostname
	err := b.stream(path.Join(name, "container.log"), func(w io.Writer) error { return e.Machines.Log(ctx, m.Cluster, m.Name, w) })
	if err != nil {
		return err
	}
	for from, to := range folders() {
		var broken error
		err := e.Machines.ReadFolder(ctx, m.Cluster, m.Name, from, func(file string, content io.Reader) error {
			inside := strings.TrimPrefix(strings.TrimPrefix(file, from), "/")
			broken = b.file(path.Join(name, to, cmp.Or(inside, path.Base(file))), content)
			return broken
		})
		if broken != nil {
			return broken
		}
		if err != nil && !errors.Is(err, fault.Missing) {
			b.miss(from+" of "+name, err)
		}
	}
	if m.State != machines.StateRunning {
		b.miss("journals and processes of "+name, fmt.Errorf("its machine is %s, and they are in memory", strings.ToLower(string(m.State))))
		return nil
	}
	for file, script := range commands() {
		err := b.stream(path.Join(name, file), func(w io.Writer) error {
			ctx, cancel := context.WithTimeout(ctx, runLimit)
			defer cancel()
			// What one of several programs has no answer to, as in another image, stands
			// in the file itself.
			return e.Machines.Run(ctx, m.Cluster, m.Name, machines.Command{Args: []string{"/bin/sh", "-c", script + "; true"}, Stdout: w, Stderr: w})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// file writes a file of a node. Logs that were rotated are packed, and a secret
// would not be found in them.
func (b *book) file(name string, content io.Reader) error {
	if packed, found := strings.CutSuffix(name, ".gz"); found {
		unpacked, err := gzip.NewReader(content)
		if err != nil {
			b.miss(name, err)
			return nil
		}
		name, content = packed, unpacked
	}
	return b.stream(name, func(w io.Writer) error {
		_, err := io.Copy(w, content)
		return err
	})
}

// Folder is the name that an export has when none is given.
func Folder(cluster string, now time.Time) string {
	return "loam-logs-" + cluster + "-" + now.UTC().Format("20060102-150405")
}

// sorted lists the files of a folder, for an archive that is the same each time.
func sorted(folder string) ([]string, error) {
	var all []string
	err := filepath.WalkDir(folder, func(at string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			all = append(all, at)
		}
		return err
	})
	slices.Sort(all)
	return all, err
}
