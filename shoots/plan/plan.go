// Package plan says what has to be done to the machines of a cluster for it to be
// what is asked for: machines as they are and as they should be in, steps out, in
// their order. The flow of shoots does what it says, and commands show it first.
//
// It is pure. It must not know how a step is done.
package plan

import (
	"cmp"
	"maps"
	"slices"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig"
)

// Machine is a machine as it is, or as it should be.
type Machine struct {
	// Node is the name of the node that it is.
	Node, Pool string
	Role       v1alpha1.MachineRole
	// Version is the Kubernetes version of its image, with v; empty means not known.
	Version string
	// Settings are those in force; nil means not known.
	Settings nodeconfig.Settings
	// Marks are the labels and taints that its pool gives it, as they are written,
	// by what tells them apart.
	Marks map[string]string
	// Off says that it does not run: there is nothing on it to be moved.
	Off bool
	// Together is how many of its pool may be changed at the same time; 0 means 1.
	Together int
}

// Action is what is done to a machine.
type Action string

// Actions.
const (
	// Upgrade has the machine boot from the image of another Kubernetes version.
	Upgrade Action = "Upgrade"
	// Configure gives programs of a node other settings and starts these programs
	// again. Pods stay.
	Configure Action = "Configure"
	// Create makes a machine and lets it join, Remove drains and deletes it.
	Create Action = "Create"
	Remove Action = "Remove"
	// Mark changes labels and taints of a node.
	Mark Action = "Mark"
)

// Step is what is done to one machine.
type Step struct {
	Action Action               `json:"action"`
	Node   string               `json:"node"`
	Pool   string               `json:"pool"`
	Role   v1alpha1.MachineRole `json:"role"`
	// From and To are Kubernetes versions.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Drained says that pods are moved to other nodes before.
	Drained bool     `json:"drained"`
	Changes []Change `json:"changes,omitempty"`
	// Batch counts the steps that are done one after the other; those of one batch are
	// done at the same time.
	Batch int `json:"batch"`
}

// Change is a setting that changes, or a label or taint. Empty means not set.
type Change struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Make compares machines with what they should be, in the order in which they
// should be listed: the balancer, the control plane, then pool by pool.
//
// The control plane is upgraded first, then configured; then machines are made and
// nodes marked; then workers are upgraded, configured, and removed.
func Make(have, want []Machine) []Step {
	m := maker{have: map[string]Machine{}}
	wanted := map[string]bool{}
	for _, h := range have {
		m.have[h.Node] = h
		if h.Role != v1alpha1.RoleBalancer {
			m.nodes++
		}
	}
	var leaders, workers []Machine
	for _, w := range want {
		wanted[w.Node] = true
		if w.Role == v1alpha1.RoleWorker {
			workers = append(workers, w)
		} else {
			leaders = append(leaders, w)
		}
	}
	m.each(leaders, m.upgrade)
	m.each(leaders, m.configure)
	m.create(want)
	m.mark(want)
	m.each(workers, m.upgrade)
	m.pool = ""
	m.each(workers, m.configure)
	m.batch++
	for _, h := range have {
		if !wanted[h.Node] {
			m.add(Step{Action: Remove, Drained: !h.Off && h.Role != v1alpha1.RoleBalancer}, h)
		}
	}
	return m.steps
}

type maker struct {
	have  map[string]Machine
	nodes int
	steps []Step
	batch int
	// pool is the one whose machines the last batch configures, room how many more
	// it takes.
	pool string
	room int
}

func (m *maker) add(s Step, of Machine) {
	s.Node, s.Pool, s.Role, s.Batch = of.Node, of.Pool, of.Role, m.batch
	m.steps = append(m.steps, s)
}

// each goes through machines that there are and should be.
func (m *maker) each(want []Machine, do func(have, want Machine)) {
	for _, w := range want {
		if h, there := m.have[w.Node]; there {
			do(h, w)
		}
	}
}

func (m *maker) upgrade(have, want Machine) {
	if have.Version == "" || want.Version == "" || have.Version == want.Version {
		return
	}
	m.batch++
	m.add(Step{
		Action: Upgrade, From: have.Version, To: want.Version,
		Drained: m.nodes > 1 && !have.Off && want.Role != v1alpha1.RoleBalancer,
	}, want)
}

// configure puts as many machines of a pool into one batch as may be changed at the
// same time.
func (m *maker) configure(have, want Machine) {
	if have.Settings != nil && maps.Equal(have.Settings, want.Settings) {
		return
	}
	if m.pool != want.Pool || m.room == 0 {
		m.batch++
		m.pool, m.room = want.Pool, max(1, want.Together)
	}
	m.room--
	m.add(Step{Action: Configure, Changes: Compare(have.Settings, want.Settings)}, want)
}

func (m *maker) create(want []Machine) {
	m.batch++
	for _, w := range want {
		if _, there := m.have[w.Node]; !there {
			m.add(Step{Action: Create, To: w.Version}, w)
		}
	}
}

func (m *maker) mark(want []Machine) {
	m.batch++
	m.each(want, func(have, want Machine) {
		if changes := Compare(have.Marks, want.Marks); len(changes) > 0 {
			m.add(Step{Action: Mark, Changes: changes}, want)
		}
	})
}

// Compare lists what differs, by name.
func Compare(have, want map[string]string) []Change {
	var changes []Change
	names := slices.Collect(maps.Keys(have))
	for name := range want {
		if _, both := have[name]; !both {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, cmp.Compare[string])
	for _, name := range names {
		from, had := have[name]
		to, has := want[name]
		if had != has || from != to {
			changes = append(changes, Change{Name: name, From: from, To: to})
		}
	}
	return changes
}
