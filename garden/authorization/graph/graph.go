// Package graph knows which objects lead to which seeds: a Shoot to the seed
// that looks after it, its credentials binding to every seed of a Shoot that
// uses it, a Secret to those of the bindings that name it.
//
// The seed authorizer keeps it from watches and asks it once per request. It
// must not know users, verbs or how objects are read.
package graph

import (
	"slices"
	"sync"
)

// Kind is a kind of object that the graph knows. The order is that of the
// arrows: what an object leads to is always of a later kind, so that the graph
// has no circle.
type Kind uint8

// Kinds of objects, each leading to later ones only.
const (
	Shoot Kind = iota + 1
	ManagedSeed
	Gardenlet
	Seed
	BackupEntry
	BackupBucket
	Bastion
	Machine
	ControllerInstallation
	ControllerRegistration
	ControllerDeployment
	NamespacedCloudProfile
	CloudProfile
	ExposureClass
	SecretBinding
	CredentialsBinding
	Quota
	WorkloadIdentity
	Namespace
	Project
	InternalSecret
	Secret
	ConfigMap
	CertificateSigningRequest
)

// Key names an object. Cluster-scoped ones have no namespace.
type Key struct {
	Kind            Kind
	Namespace, Name string
}

// Facts are what one object says about who may see what.
type Facts struct {
	// Seeds see the object itself.
	Seeds []string
	// Leads are objects that whoever sees this one sees too.
	Leads []Key
	// Led are objects of which it is the other way round.
	Led []Key
}

// Graph holds the facts of all objects. Its zero value is empty and ready. It is
// safe for concurrent use; Sees takes two look-ups in maps whatever it holds.
type Graph struct {
	lock     sync.RWMutex
	vertices map[Key]*vertex
	said     map[Key]statement
}

// statement is what an object said last.
type statement struct {
	self  *vertex
	seeds []string
	edges []edge
}

type edge struct{ from, to *vertex }

// vertex is an object that was read or that another one names.
type vertex struct {
	key Key
	// seeds counts, per seed, the facts and edges that let it see the object. A
	// count that comes to zero is removed.
	seeds map[string]int32
	out   []*vertex
	// uses counts statements and edges; without any the vertex goes.
	uses int
}

// Sees tells whether a seed sees an object.
func (g *Graph) Sees(seed string, key Key) bool {
	g.lock.RLock()
	defer g.lock.RUnlock()
	v := g.vertices[key]
	return v != nil && v.seeds[seed] > 0
}

// Knows tells whether the graph has read an object or another one that names it.
func (g *Graph) Knows(key Key) bool {
	g.lock.RLock()
	defer g.lock.RUnlock()
	return g.vertices[key] != nil
}

// Set replaces what an object said.
func (g *Graph) Set(key Key, facts Facts) {
	g.lock.Lock()
	defer g.lock.Unlock()
	// New before old: what both say is never gone in between, and is not counted
	// down and up again through the whole graph.
	before, found := g.said[key]
	g.state(key, facts)
	if found {
		g.retract(before)
	}
}

// Remove forgets what an object said. Others may still name it.
func (g *Graph) Remove(key Key) {
	g.lock.Lock()
	defer g.lock.Unlock()
	if before, found := g.said[key]; found {
		delete(g.said, key)
		g.retract(before)
	}
}

func (g *Graph) state(key Key, facts Facts) {
	if g.vertices == nil {
		g.vertices, g.said = map[Key]*vertex{}, map[Key]statement{}
	}
	s := statement{self: g.use(key), seeds: slices.Clone(facts.Seeds)}
	for _, seed := range s.seeds {
		s.self.gain(seed)
	}
	for _, to := range facts.Leads {
		s.edges = append(s.edges, g.connect(s.self, to))
	}
	for _, from := range facts.Led {
		s.edges = append(s.edges, g.connectFrom(from, s.self))
	}
	g.said[key] = s
}

func (g *Graph) retract(s statement) {
	for _, e := range s.edges {
		i := slices.Index(e.from.out, e.to)
		e.from.out = slices.Delete(e.from.out, i, i+1)
		for seed := range e.from.seeds {
			e.to.lose(seed)
		}
		g.drop(e.from)
		g.drop(e.to)
	}
	for _, seed := range s.seeds {
		s.self.lose(seed)
	}
	g.drop(s.self)
}

func (g *Graph) connect(from *vertex, to Key) edge {
	from.uses++
	return link(from, g.use(to))
}

func (g *Graph) connectFrom(from Key, to *vertex) edge {
	to.uses++
	return link(g.use(from), to)
}

func link(from, to *vertex) edge {
	from.out = append(from.out, to)
	for seed := range from.seeds {
		to.gain(seed)
	}
	return edge{from, to}
}

func (g *Graph) use(key Key) *vertex {
	v := g.vertices[key]
	if v == nil {
		v = &vertex{key: key}
		g.vertices[key] = v
	}
	v.uses++
	return v
}

func (g *Graph) drop(v *vertex) {
	v.uses--
	if v.uses == 0 {
		delete(g.vertices, v.key)
	}
}

// gain counts one more reason for a seed to see the object; the first one is a
// reason for all that it leads to.
func (v *vertex) gain(seed string) {
	if v.seeds == nil {
		v.seeds = map[string]int32{}
	}
	v.seeds[seed]++
	if v.seeds[seed] == 1 {
		for _, to := range v.out {
			to.gain(seed)
		}
	}
}

func (v *vertex) lose(seed string) {
	v.seeds[seed]--
	if v.seeds[seed] == 0 {
		delete(v.seeds, seed)
		for _, to := range v.out {
			to.lose(seed)
		}
	}
}
