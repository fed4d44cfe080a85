// Package follow keeps the ports of this host in step with one running cluster:
// it watches services, endpoints and nodes, has a forwarder listen on what should
// be open, and tells services of type LoadBalancer where they are. The controller
// controllers/shoot/ports runs a Follower for each cluster.
//
// It must not know the garden: what is remembered comes in, what is seen goes out
// through a function.
package follow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots/forward"
	"github.com/loam-cloud/loam/shoots/ports"
)

const (
	// settle is how long further changes are waited for after one: a rollout is
	// many.
	settle = 50 * time.Millisecond
	// again is when something that did not work is tried once more: a port that
	// was taken, a status that could not be written.
	again = 10 * time.Second
	// machinesFor is how long what the machine driver said is believed.
	machinesFor = 10 * time.Second
)

// Forwarder listens for the cluster: a *forward.Forwarder.
type Forwarder interface {
	Serve(c forward.Cluster, wants []ports.Want) map[string]ports.Outcome
}

// Config says what is followed, and how.
type Config struct {
	// ID is the cluster's name on the machine driver, Title what users call it.
	ID, Title string
	Machines  machines.Inventory
	Forward   Forwarder
	Clock     clock.Clock
	// Listen is the address that ports of services are opened on, Advertise the one
	// that services of type LoadBalancer are told.
	Listen, Advertise netip.Addr
	// Kept are the addresses of lines before, by their ids.
	Kept map[string]netip.AddrPort
	// Report is given all lines when one has changed. One that fails is tried again.
	Report func(context.Context, []ports.Line) error
	Logger logr.Logger
}

// Follower follows one cluster.
type Follower struct {
	Config
	changed chan struct{}

	mu       sync.Mutex
	mappings []ports.Mapping
}

// New makes a follower, which has to be run.
func New(c Config) *Follower {
	return &Follower{Config: c, changed: make(chan struct{}, 1)}
}

// SetMappings changes the ports that are asked for beside the services.
func (f *Follower) SetMappings(all []ports.Mapping) {
	f.mu.Lock()
	same := slices.Equal(f.mappings, all)
	f.mappings = slices.Clone(all)
	f.mu.Unlock()
	if !same {
		f.wake()
	}
}

func (f *Follower) wake() {
	select {
	case f.changed <- struct{}{}:
	default: // it knows already
	}
}

// state is what one run of a follower knows.
type state struct {
	*Follower
	client   kubernetes.Interface
	services cache.SharedIndexInformer
	slices   cache.SharedIndexInformer
	nodes    cache.SharedIndexInformer

	own, all []machines.Machine
	asked    time.Time
	names    []string
	reported []ports.Line
	told     bool
	// said is the problem that was logged last.
	said string
}

// Run follows the cluster until the context ends. Ports stay open then: who
// follows next takes them over, or closes them.
func (f *Follower) Run(ctx context.Context, client kubernetes.Interface) error {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(trim))
	s := &state{
		Follower: f, client: client,
		services: factory.Core().V1().Services().Informer(),
		slices:   factory.Discovery().V1().EndpointSlices().Informer(),
		nodes:    factory.Core().V1().Nodes().Informer(),
	}
	for _, informer := range []cache.SharedIndexInformer{s.services, s.slices, s.nodes} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { f.wake() }, UpdateFunc: func(old, now any) {
				if !reflect.DeepEqual(relevant(old), relevant(now)) {
					f.wake()
				}
			}, DeleteFunc: func(any) { f.wake() },
		}); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), s.services.HasSynced, s.slices.HasSynced, s.nodes.HasSynced) {
		return nil // it has ended
	}
	s.loop(ctx)
	return nil
}

// loop decides after every change.
func (s *state) loop(ctx context.Context) {
	for ctx.Err() == nil {
		var retry <-chan time.Time
		said := ""
		if err := s.step(ctx); err != nil && ctx.Err() == nil {
			if said = err.Error(); said != s.said {
				s.Logger.Info("Ports of a cluster are not as they should be", "problem", said)
			}
			retry = s.Clock.After(again)
		}
		s.said = said
		select {
		case <-ctx.Done():
			return
		case <-retry:
			continue
		case <-s.changed:
		}
		select {
		case <-ctx.Done():
		case <-s.Clock.After(settle):
		}
	}
}

// step makes ports what they should be now. What is left to be done comes back
// as an error.
func (s *state) step(ctx context.Context) error {
	// A change during the step is seen by the next one.
	select {
	case <-s.changed:
	default:
	}
	view := ports.View{
		Services: list[*corev1.Service](s.services), Slices: list[*discoveryv1.EndpointSlice](s.slices), Nodes: list[*corev1.Node](s.nodes),
		Listen: s.Listen,
	}
	s.mu.Lock()
	view.Mappings = slices.Clone(s.mappings)
	s.mu.Unlock()
	problem := s.askMachines(ctx, view.Nodes)
	view.Published = ports.PublishedBy(s.own)
	wants := ports.Decide(view)
	for i := range wants {
		wants[i].Kept = s.Kept[wants[i].ID]
	}
	outcomes := s.Forward.Serve(s.cluster(), wants)
	lines := make([]ports.Line, 0, len(wants))
	kept := map[string]netip.AddrPort{}
	for _, w := range wants {
		o, listens := outcomes[w.ID]
		lines = append(lines, w.Explain(o))
		if o.Address.IsValid() {
			kept[w.ID] = o.Address
		}
		if listens && (!o.Address.IsValid()) {
			problem = errors.Join(problem, fmt.Errorf("%s: %s", w.Title(), lines[len(lines)-1].Note))
		}
	}
	s.Kept = kept
	return errors.Join(problem, s.tell(ctx, view.Services, lines), s.report(ctx, lines))
}

// askMachines asks the machine driver when nodes came or went, or it was asked
// long ago.
func (s *state) askMachines(ctx context.Context, nodes []*corev1.Node) error {
	names := make([]string, 0, len(nodes))
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	if slices.Equal(names, s.names) && s.Clock.Since(s.asked) < machinesFor {
		return nil
	}
	all, err := s.Machines.List(ctx, "")
	if err != nil {
		return fmt.Errorf("listing machines: %w", err)
	}
	s.own = nil
	for _, m := range all {
		if m.Cluster == s.ID {
			s.own = append(s.own, m)
		}
	}
	s.all, s.names, s.asked = all, names, s.Clock.Now()
	return nil
}

func (s *state) cluster() forward.Cluster {
	c := forward.Cluster{ID: s.ID, Title: s.Title, Machines: map[string]string{}}
	for _, m := range s.own {
		c.Machines[m.Hostname] = m.Name
	}
	for _, m := range s.all {
		for _, p := range m.Ports {
			c.Reserved = append(c.Reserved, forward.Binding{
				Address: netip.AddrPortFrom(p.HostAddress, p.HostPort), Protocol: corev1.Protocol(p.Protocol),
				Holder: fmt.Sprintf("node %s, whose container was made with it", m.Hostname),
			})
		}
	}
	return c
}

func (s *state) report(ctx context.Context, lines []ports.Line) error {
	if s.told && reflect.DeepEqual(lines, s.reported) {
		return nil
	}
	if err := s.Report(ctx, lines); err != nil {
		return fmt.Errorf("reporting ports: %w", err)
	}
	s.reported, s.told = lines, true
	return nil
}

func list[T any](informer cache.SharedIndexInformer) []T {
	var all []T
	// A selector of everything has no error.
	_ = cache.ListAll(informer.GetStore(), labels.Everything(), func(o any) { all = append(all, o.(T)) })
	return all
}

// trim drops what nobody here asks for: it is most of a node.
func trim(o any) (any, error) {
	if object, err := meta.Accessor(o); err == nil {
		object.SetManagedFields(nil)
		object.SetAnnotations(nil)
	}
	if n, ok := o.(*corev1.Node); ok {
		n.Status.Images, n.Status.VolumesInUse, n.Status.VolumesAttached = nil, nil, nil
	}
	return o, nil
}

// relevant is what of an object may change a decision: nodes tell every few
// seconds that they are alive, and leader elections write endpoints.
func relevant(o any) any {
	switch o := o.(type) {
	case *corev1.Node:
		var ready corev1.ConditionStatus
		for _, c := range o.Status.Conditions {
			if c.Type == corev1.NodeReady {
				ready = c.Status
			}
		}
		return []any{o.Status.Addresses, ready}
	case *corev1.Service:
		return []any{o.Spec, o.Status.LoadBalancer}
	case *discoveryv1.EndpointSlice:
		return []any{maps.Clone(o.Labels), o.Endpoints, o.Ports}
	}
	return o
}
