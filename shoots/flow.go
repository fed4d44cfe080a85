package shoots

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots/graph"
	"github.com/loam-cloud/loam/shoots/plan"
)

// Flow grows, stops and removes clusters. It keeps nothing between calls: what
// is done already is read from the machines and from the cluster.
type Flow struct {
	Machines machines.Driver
	Clock    clock.Clock
	// Connect makes a client for a cluster; nil means a real one.
	Connect func(*rest.Config) (client.Client, error)
	// Clientset makes the client that drains nodes; nil means a real one.
	Clientset func(*rest.Config) (kubernetes.Interface, error)
	// Cache says where a machine finds the image cache of its host, an address that
	// is not valid where it finds none; nil means that there is none.
	Cache func(machines.Machine) (netip.AddrPort, error)
	// Observe is told of every step that starts or ends; it may be nil.
	Observe func(graph.Change)
}

// Names of the steps, as users read them.
const (
	stepControlPlaneMachine = "creating control plane machine"
	stepWorkerMachines      = "creating worker machines"
	stepBootControlPlane    = "booting control plane"
	stepBootBalancer        = "booting load balancer"
	stepBootWorkers         = "booting workers"
	stepInitialise          = "initialising control plane"
	stepReachAPI            = "reaching API server"
	stepRelease             = "starting controllers"
	stepRecord              = "recording configuration"
	stepJoinControlPlanes   = "joining control planes"
	stepAddons              = "installing system components"
	stepNetwork             = "installing network"
	stepStorage             = "installing storage"
	stepJoin                = "joining workers"
	stepLabel               = "labelling nodes"
	stepSurplus             = "removing surplus machines"
	stepNodesReady          = "waiting for nodes"
	stepServersReady        = "waiting for API servers"
	stepSystemReady         = "waiting for system components"
)

// Reconcile makes the cluster what it should be: it creates, boots, joins,
// upgrades and removes machines and installs what a cluster needs. It returns once all nodes
// and the system components are ready. Run again after a crash it does what is
// left to do.
//
// Faults: Invalid (the cluster as asked for cannot be), Exhausted, Transient.
func (f *Flow) Reconcile(ctx context.Context, c Cluster, a Authorities) error {
	r, err := f.begin(ctx, c, a)
	if err != nil {
		return err
	}
	defer r.end()
	if err := r.look(ctx); err != nil {
		return err
	}
	return graph.Run(ctx, f.Clock, r.steps(), f.Observe)
}

// steps are those that the cluster needs: what it has none of is not spoken of.
func (r *run) steps() []graph.Step {
	reach := []string{stepBootControlPlane}
	if r.cluster.Established {
		// What an upgrade left undone keeps the API server from starting.
		reach = []string{stepInitialise}
	}
	steps := []graph.Step{
		{Name: stepControlPlaneMachine, Run: r.createControlPlane},
		{Name: stepBootControlPlane, After: []string{stepControlPlaneMachine}, Run: r.bootControlPlane},
	}
	booted := []string{stepBootControlPlane}
	if len(r.cluster.balancer()) > 0 {
		steps = append(steps, graph.Step{Name: stepBootBalancer, After: []string{stepControlPlaneMachine}, Run: r.bootBalancer})
		booted, reach = append(booted, stepBootBalancer), append(reach, stepBootBalancer)
	}
	steps = append(steps,
		graph.Step{Name: stepInitialise, After: booted, Run: r.initialise},
		graph.Step{Name: stepReachAPI, After: reach, Run: r.reachAPI},
	)
	joined, reached := []string{stepInitialise, stepReachAPI}, []string{stepReachAPI}
	settled := []string{stepLabel, stepStorage}
	if !r.cluster.Established {
		steps = append(steps,
			graph.Step{Name: stepRelease, After: joined, Run: r.release},
			graph.Step{Name: stepAddons, After: joined, Run: r.installAddons},
			graph.Step{Name: stepRecord, After: []string{stepRelease, stepAddons}, Run: r.record},
		)
		joined = []string{stepRecord}
		settled = append(settled, stepAddons)
	}
	if r.cluster.Established && len(r.cluster.balancer()) > 0 {
		steps = append(steps, graph.Step{Name: stepJoinControlPlanes, After: joined, Run: r.joinControlPlanes})
		joined, reached = []string{stepJoinControlPlanes}, []string{stepJoinControlPlanes}
	}
	if slices.ContainsFunc(withRole(r.existing, v1alpha1.RoleControlPlane), r.cluster.outdated) {
		steps = append(steps, graph.Step{Name: stepUpgradeControlPlane, After: joined, Run: r.upgradeControlPlane})
		joined, reached = []string{stepUpgradeControlPlane}, []string{stepUpgradeControlPlane}
	}
	if r.configuresControlPlane() {
		steps = append(steps, graph.Step{Name: stepConfigureControlPlane, After: joined, Run: r.configureAll})
		joined, reached = []string{stepConfigureControlPlane}, []string{stepConfigureControlPlane}
	}
	steps = append(steps, graph.Step{Name: stepStorage, After: reached, Run: r.installStorage})
	if len(r.cluster.balancer()) > 0 {
		steps = append(steps, graph.Step{Name: stepServersReady, After: joined, Run: r.awaitServers})
		settled = append(settled, stepServersReady)
	}
	if len(r.cluster.members(v1alpha1.RoleWorker)) > 0 {
		steps = append(steps,
			graph.Step{Name: stepWorkerMachines, Run: r.createWorkers},
			// Workers boot while the control plane starts, but do not compete with
			// its creation.
			graph.Step{Name: stepBootWorkers, After: []string{stepWorkerMachines, stepBootControlPlane}, Run: r.bootWorkers},
			graph.Step{Name: stepJoin, After: append(joined, stepBootWorkers), Run: r.joinWorkers},
		)
		joined = []string{stepJoin}
	}
	steps = append(steps, graph.Step{Name: stepLabel, After: joined, Run: r.labelNodes})
	// Without a network no node gets ready before the user has brought one.
	if r.cluster.DefaultNetwork {
		steps = append(steps,
			graph.Step{Name: stepNetwork, After: reached, Run: r.installNetwork},
			graph.Step{Name: stepNodesReady, After: []string{stepLabel, stepNetwork}, Run: r.awaitNodes},
		)
		settled = append(settled, stepNetwork)
	}
	last := []string{steps[len(steps)-1].Name}
	for _, upgrade := range r.upgradeSteps(r.existing, append(last, settled...)) {
		steps = append(steps, upgrade)
		last = []string{upgrade.Name}
		settled = append(settled, upgrade.Name)
	}
	for _, configure := range r.configureSteps(append(last, settled...)) {
		steps = append(steps, configure)
		last = []string{configure.Name}
		settled = append(settled, configure.Name)
	}
	if len(r.surplus) > 0 {
		// Pods move to nodes that are ready, those that have just come included.
		steps = append(steps, graph.Step{Name: stepSurplus, After: last, Run: r.removeSurplus})
		settled = append(settled, stepSurplus)
	}
	if r.cluster.DefaultNetwork {
		steps = append(steps, graph.Step{Name: stepSystemReady, After: settled, Run: r.awaitSystem})
	}
	return steps
}

// Grace periods of a stop. Nothing is lost when they run out: etcd syncs every
// write. The control plane's is longer so that etcd usually ends cleanly.
const (
	workerGrace       = 5 * time.Second
	controlPlaneGrace = 15 * time.Second
)

// Hibernate stops the cluster's machines, workers first, and keeps their disks.
// Reconcile wakes the cluster again.
func (f *Flow) Hibernate(ctx context.Context, c Cluster) error {
	stop := func(role v1alpha1.MachineRole, grace time.Duration) func(context.Context) error {
		return func(ctx context.Context) error {
			existing, err := f.Machines.List(ctx, c.ID)
			if err != nil {
				return err
			}
			return each(ctx, withRole(existing, role), func(ctx context.Context, m machines.Machine) error {
				return f.Machines.Stop(ctx, m.Cluster, m.Name, grace)
			})
		}
	}
	steps := []graph.Step{
		{Name: "stopping workers", Run: stop(v1alpha1.RoleWorker, workerGrace)},
		{Name: "stopping control plane", After: []string{"stopping workers"}, Run: stop(v1alpha1.RoleControlPlane, controlPlaneGrace)},
	}
	if len(c.balancer()) > 0 {
		steps = append(steps, graph.Step{Name: "stopping load balancer", After: []string{"stopping control plane"}, Run: stop(v1alpha1.RoleBalancer, workerGrace)})
	}
	return graph.Run(ctx, f.Clock, steps, f.Observe)
}

// Delete removes the cluster's machines with their disks: those that exist, and
// what a machine that the cluster should have has left. Only the id has to be
// set; pools help to find what was left.
//
// Faults: Invalid for an empty id, which the driver would take for all clusters.
func (f *Flow) Delete(ctx context.Context, c Cluster) error {
	if c.ID == "" {
		return fault.New(fault.Invalid, "the cluster to delete has no id")
	}
	return graph.Run(ctx, f.Clock, []graph.Step{{Name: "removing machines", Run: func(ctx context.Context) error {
		existing, err := f.Machines.List(ctx, c.ID)
		if err != nil {
			return err
		}
		names := map[string]bool{}
		for _, m := range existing {
			names[m.Name] = true
		}
		for _, m := range append(c.all(), c.balancer()...) {
			names[m.name] = true
		}
		return each(ctx, slices.Sorted(maps.Keys(names)), func(ctx context.Context, name string) error {
			return f.Machines.Delete(ctx, c.ID, name)
		})
	}}}, f.Observe)
}

// Report lists the machines of a cluster as resources, without metadata but
// their names: what the driver says and what the flow made them for.
func (f *Flow) Report(ctx context.Context, c Cluster) ([]v1alpha1.Machine, error) {
	existing, err := f.Machines.List(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	var all []v1alpha1.Machine
	for _, m := range existing {
		r := v1alpha1.Machine{
			Spec:   v1alpha1.MachineSpec{ShootName: c.Name, Pool: m.Labels[LabelPool], Role: v1alpha1.MachineRole(m.Labels[LabelRole]), Image: m.Image, KubernetesVersion: m.Labels[labelVersion]},
			Status: v1alpha1.MachineStatus{ProviderID: m.ID, State: string(m.State), NodeName: m.Hostname},
		}
		r.Name = m.Hostname
		for _, a := range m.Addresses {
			r.Status.Addresses = append(r.Status.Addresses, a.String())
		}
		all = append(all, r)
	}
	return all, nil
}

// Endpoint returns the URL at which this host reaches the cluster's API server.
// Faults: Missing while there is no control-plane machine.
func (f *Flow) Endpoint(ctx context.Context, c Cluster) (string, error) {
	gate := c.gate()
	if gate.name == "" {
		return "", fault.New(fault.Invalid, "cluster %q has no control plane", c.Name)
	}
	m, err := f.Machines.Get(ctx, c.ID, gate.name)
	if err != nil {
		return "", err
	}
	return EndpointOf(m)
}

// run is one run of Reconcile. Fields below the blank line are written by one
// step and read by steps that come after it.
type run struct {
	*Flow
	cluster     Cluster
	authorities Authorities

	// existing are the machines that there are when the run begins, surplus those
	// of them that the cluster has no longer.
	existing, surplus []machines.Machine
	// began is when that was.
	began time.Time
	// plan is what is to be done to machines of a cluster that was whole once.
	plan []plan.Step

	controlPlanes []controlPlane
	// lost are those that are no part of etcd, to be made anew.
	lost []controlPlane
	// balancer is the machine that spreads connections over several of them.
	balancer machines.Machine
	workers  []machines.Machine
	// addons are to be installed in a new cluster.
	addons []*unstructured.Unstructured
	api    *Connection
}

// controlPlane is one machine of the control plane.
type controlPlane struct {
	machines.Machine
	member member
	// place is its place among all.
	place int
	// done is how far kubeadm had come there when it was asked.
	done progress
	// fresh says that it is new: kubeadm has not done its part yet. While the first
	// is, nothing is in the cluster.
	fresh bool
	// room is what a new machine can give.
	room corev1.ResourceList
}

func (f *Flow) begin(ctx context.Context, c Cluster, a Authorities) (*run, error) {
	var problems []string
	if n := len(c.members(v1alpha1.RoleControlPlane)); n%2 == 0 {
		problems = append(problems, fmt.Sprintf("control planes: %d machines, must be an odd number, so that a majority can be told", n))
	}
	if c.Image == "" {
		problems = append(problems, "image: must be set")
	}
	if err := a.Validate(); err != nil {
		problems = append(problems, err.Error())
	}
	began := f.Clock.Now()
	existing, err := f.Machines.List(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	problems = append(problems, c.contradictions(existing)...)
	if len(problems) > 0 {
		return nil, fault.New(fault.Invalid, "cluster %q: %s", c.Name, strings.Join(problems, "; "))
	}
	full := *f
	if full.Clientset == nil {
		full.Clientset = func(config *rest.Config) (kubernetes.Interface, error) { return kubernetes.NewForConfig(config) }
	}
	return &run{Flow: &full, cluster: c, authorities: a, existing: existing, began: began, surplus: c.surplus(existing)}, nil
}

// end closes what the run opened.
func (r *run) end() {
	if r.api != nil {
		r.api.Close()
	}
}

func withRole(all []machines.Machine, role v1alpha1.MachineRole) []machines.Machine {
	return slices.DeleteFunc(slices.Clone(all), func(m machines.Machine) bool {
		return m.Labels[LabelRole] != string(role)
	})
}
