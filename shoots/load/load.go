// Package load puts container images of a user into the nodes of a cluster, so
// that pods can run them with no registry. The command loam cluster load calls it.
//
// A source is read once and handed to all nodes as it comes. Nodes that have an
// image are left alone, and layers that a node has are not sent to it. Each node's
// containerd gets the documents that name images last: what ends before that has
// changed nothing there. It must not know where images come from, nor the garden.
package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/archive"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots"
)

// Machines is what a Loader needs of a driver.
type Machines interface {
	List(ctx context.Context, cluster string) ([]machines.Machine, error)
	Run(ctx context.Context, cluster, name string, command machines.Command) error
}

// DefaultPatience is how long a node may take nothing before the others go on
// without it.
const DefaultPatience = time.Minute

// Loader puts images into nodes.
type Loader struct {
	Machines Machines
	// Say is told what is being done, one line at a time, from one goroutine at a time.
	Say func(format string, args ...any)
	// Patience is how long a node may take nothing; DefaultPatience when zero.
	Patience time.Duration
}

// Request says what to load where.
type Request struct {
	// Cluster is the technical ID of the cluster.
	Cluster string
	// Nodes are names of nodes, or of their machines; all nodes when empty.
	Nodes []string
	// Open opens the source for the platform of the nodes. It is closed by the Loader.
	Open func(ctx context.Context, platform v1.Platform) (*archive.Source, error)
	// Name is what the image is to be called; empty for the name that it has.
	Name string
	// DryRun finds out what would be sent, and sends nothing.
	DryRun bool
}

// State is what became of an image in a node.
type State string

const (
	// Present means that the node had the image already.
	Present State = "present"
	// Planned means that a dry run found it to be missing.
	Planned State = "planned"
	// Loaded means that the node has it now.
	Loaded State = "loaded"
	// Failed means that the node has not got it.
	Failed State = "failed"
)

// Outcome is what became of one image in one node.
type Outcome struct {
	Image string `json:"image"`
	Node  string `json:"node"`
	State State  `json:"state"`
	// ID is the digest of the image's configuration, or what the engine has for it.
	ID string `json:"id,omitempty"`
	// Layers are those that are sent, of LayersTotal; Bytes is their size. A layer
	// that several images have counts for the first.
	Layers      int    `json:"layers"`
	LayersTotal int    `json:"layersTotal"`
	Bytes       int64  `json:"bytes"`
	Problem     string `json:"problem,omitempty"`
}

// Load loads images and tells what became of each in each node, also of those that
// went well when others did not. Faults: Missing (a node), Waiting (a node does not
// run), Invalid (the images), Transient (a node).
func (l *Loader) Load(ctx context.Context, r Request) ([]Outcome, error) {
	nodes, err := l.nodes(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := l.survey(ctx, nodes); err != nil {
		return nil, err
	}
	platform := nodes[0].platform
	source, err := r.Open(ctx, platform)
	if err != nil {
		return nil, err
	}
	defer func() { _ = source.Close() }() // only read
	images, err := source.Inspect(platform)
	if err == nil && images == nil && r.DryRun {
		// What comes only once is read for this, and goes nowhere.
		images, err = source.Copy(platform, func(archive.Blob) (io.Writer, error) { return nil, nil })
	}
	if err == nil && images != nil {
		err = name(images, r.Name)
	}
	if err != nil {
		return nil, err
	}
	t := &transfer{loader: l, nodes: nodes, platform: platform, source: source, images: images, name: r.Name}
	if err := t.plan(ctx); err != nil {
		return nil, err
	}
	if r.DryRun {
		return t.outcomes(), nil
	}
	err = t.run(ctx)
	return t.outcomes(), err
}

func name(images []archive.Image, wanted string) error {
	if wanted != "" {
		if err := archive.Rename(images, wanted); err != nil {
			return err
		}
	}
	return archive.Named(images)
}

// node is a node that is loaded into.
type node struct {
	machines.Machine
	platform    v1.Platform
	snapshotter string
	// targets are the digests of what the names of images mean in the node, chains
	// the layers that it has unpacked.
	targets map[string]string
	chains  map[string]bool
	// has are the images that need not be loaded, by their place in the list.
	has []bool
	// sent is what the node was, or is to be, sent of each image.
	sent []share
	err  error
}

type share struct {
	layers int
	bytes  int64
}

// nodes finds the nodes that are meant. They all have to run.
func (l *Loader) nodes(ctx context.Context, r Request) ([]*node, error) {
	list, err := l.Machines.List(ctx, r.Cluster)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(slices.Clone(list), func(m machines.Machine) bool {
		return m.Labels[shoots.LabelRole] == string(v1alpha1.RoleBalancer)
	})
	var nodes []*node
	var off []machines.Machine
	for _, m := range list {
		if len(r.Nodes) > 0 && !slices.Contains(r.Nodes, m.Hostname) && !slices.Contains(r.Nodes, m.Name) {
			continue
		}
		nodes = append(nodes, &node{Machine: m})
		if m.State != machines.StateRunning {
			off = append(off, m)
		}
	}
	for _, wanted := range r.Nodes {
		if !slices.ContainsFunc(nodes, func(n *node) bool { return n.Hostname == wanted || n.Name == wanted }) {
			return nil, fault.New(fault.Missing, "the cluster has no node %q; there are: %s", wanted, hostnames(list))
		}
	}
	if len(off) > 0 {
		return nil, fault.New(fault.Waiting, "not running: %s: images can be loaded into nodes that run", hostnames(off))
	}
	if len(nodes) == 0 {
		return nil, fault.New(fault.Missing, "the cluster has no node")
	}
	return nodes, nil
}

func hostnames(list []machines.Machine) string {
	var names []string
	for _, m := range list {
		names = append(names, m.Hostname)
	}
	return strings.Join(names, ", ")
}

// survey looks into all nodes at once.
func (l *Loader) survey(ctx context.Context, nodes []*node) error {
	each, inside := errgroup.WithContext(ctx)
	for _, n := range nodes {
		each.Go(func() error {
			if err := l.look(inside, n); err != nil {
				return fmt.Errorf("looking at the images of node %q: %w", n.Hostname, err)
			}
			return nil
		})
	}
	if err := each.Wait(); err != nil {
		return err
	}
	for _, n := range nodes[1:] {
		if n.platform.String() != nodes[0].platform.String() {
			return fault.New(fault.Invalid, "node %q is %s, and node %q is %s: load into them one after the other, with --nodes",
				nodes[0].Hostname, nodes[0].platform, n.Hostname, n.platform)
		}
	}
	return nil
}

// transfer is one load.
type transfer struct {
	loader   *Loader
	nodes    []*node
	platform v1.Platform
	source   *archive.Source
	// images are known before they are read, or only after.
	images []archive.Image
	name   string
	fan    *fan
}

// plan finds out what each node lacks, of images that are known.
func (t *transfer) plan(ctx context.Context) error {
	each, inside := errgroup.WithContext(ctx)
	for _, n := range t.nodes {
		n.has, n.sent = make([]bool, len(t.images)), make([]share, len(t.images))
		each.Go(func() error {
			for i, image := range t.images {
				has, err := t.loader.has(inside, n, image)
				if err != nil {
					return fmt.Errorf("looking for image %s in node %q: %w", image, n.Hostname, err)
				}
				n.has[i] = has
			}
			n.plan(t.images)
			return nil
		})
	}
	return each.Wait()
}

// plan counts what a node is to be sent.
func (n *node) plan(images []archive.Image) {
	lacking := map[v1.Hash]bool{}
	for i, image := range images {
		for _, l := range n.lacks(i, image) {
			lacking[l.DiffID] = true
		}
	}
	n.count(images, func(l archive.Layer) bool { return lacking[l.DiffID] })
}

// lacks are the layers of an image that a node needs: those above the highest that
// it has unpacked.
func (n *node) lacks(i int, image archive.Image) []archive.Layer {
	if n.has[i] {
		return nil
	}
	chains := image.Chains()
	for k := len(chains) - 1; k >= 0; k-- {
		if n.chains[chains[k]] {
			return image.Layers[k+1:]
		}
	}
	return image.Layers
}

func (n *node) lacksAny() bool { return len(n.has) == 0 || slices.Contains(n.has, false) }

func (t *transfer) outcomes() []Outcome {
	all := []Outcome{}
	for i, image := range t.images {
		for _, n := range t.nodes {
			o := Outcome{Image: image.String(), Node: n.Hostname, State: Planned, Layers: n.sent[i].layers, LayersTotal: len(image.Layers), Bytes: n.sent[i].bytes}
			// An engine's own is told first.
			if len(image.Digests) > 0 {
				o.ID = cmp.Or(image.Config, image.Digests[0]).String()
			}
			switch {
			case n.has[i]:
				o.State = Present
			case n.err != nil:
				o.State, o.Problem = Failed, n.err.Error()
			case t.fan != nil:
				o.State = Loaded
			}
			all = append(all, o)
		}
	}
	return all
}

// run sends what is lacking, and waits for all nodes.
func (t *transfer) run(ctx context.Context) error {
	var receivers []*node
	for _, n := range t.nodes {
		if n.lacksAny() {
			receivers = append(receivers, n)
		}
	}
	if len(receivers) == 0 {
		return nil
	}
	t.fan = newFan(len(receivers), t.loader.patience())
	var said sync.Mutex
	say := func(format string, args ...any) {
		said.Lock()
		defer said.Unlock()
		t.loader.Say(format, args...)
	}
	t.fan.read = func(bytes int64) { say("   %s read", Size(bytes)) }
	began := time.Now()
	var all sync.WaitGroup
	for i, n := range receivers {
		all.Go(func() {
			o := t.fan.outlets[i]
			own, end := context.WithCancel(ctx)
			defer end()
			// One that takes nothing is not waited for.
			go func() {
				<-o.gone
				end()
			}()
			o.leave(t.loader.receive(own, n, o))
		})
	}
	err := t.send(receivers)
	if err != nil {
		// Nobody has got the documents that name images yet.
		for _, o := range t.fan.outlets {
			o.leave(err)
		}
	}
	all.Wait()
	if err != nil && !errors.Is(err, errNobody) {
		for _, n := range receivers {
			n.err = err
		}
		return err
	}
	return t.settle(ctx, receivers, func(n *node) {
		say(" ✓ %s took %.1fs, %s", n.Hostname, time.Since(began).Seconds(), Size(n.total()))
	})
}

func (n *node) total() int64 {
	var bytes int64
	for _, s := range n.sent {
		bytes += s.bytes
	}
	return bytes
}

func (l *Loader) patience() time.Duration {
	if l.Patience == 0 {
		return DefaultPatience
	}
	return l.Patience
}

// settle waits until each node that has imported the images can run them, and
// gathers what went wrong.
func (t *transfer) settle(ctx context.Context, receivers []*node, done func(*node)) error {
	var all sync.WaitGroup
	for i, n := range receivers {
		all.Go(func() {
			n.err = t.fan.outlets[i].err
			if n.err == nil {
				n.err = t.loader.await(ctx, n, t.images)
			}
			if n.err == nil {
				done(n)
			}
		})
	}
	all.Wait()
	var problems []error
	for _, n := range receivers {
		if n.err == nil {
			continue
		}
		var names []string
		for i, image := range t.images {
			if !n.has[i] {
				names = append(names, image.String())
			}
		}
		problems = append(problems, fmt.Errorf("loading %s into node %q: %w", strings.Join(names, ", "), n.Hostname, n.err))
	}
	return errors.Join(problems...)
}

// Size writes a number of bytes for a person.
func Size(bytes int64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d KiB", (bytes+1023)>>10)
}
