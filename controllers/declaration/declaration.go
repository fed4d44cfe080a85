// Package declaration says in data what each controller reads and writes, so
// that the graph of all can be printed and the rights that they need be given.
//
// Every fleet reconciler returns one; `loam debug controllers` prints them, and
// deploy/ grants what they say. It must not know any controller.
package declaration

import (
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Declaration is what one controller reads and writes.
type Declaration struct {
	// Controller is its name, like "shoot.hibernation".
	Controller string  `json:"controller"`
	Reads      []Read  `json:"reads,omitempty"`
	Writes     []Write `json:"writes,omitempty"`
}

// Read is a kind that a controller reads: it gets, lists and watches it.
type Read struct {
	// Resource is the plural with its group: "shoots.core.gardener.cloud",
	// "secrets".
	Resource string `json:"resource"`
	// MetadataOnly means that its content is not asked for.
	MetadataOnly bool `json:"metadataOnly,omitempty"`
}

// Write is a kind, or a subresource of one, that a controller changes.
type Write struct {
	// Resource is as in Read, with "/status" or another subresource behind it
	// where that is what is written.
	Resource string `json:"resource"`
	// Verbs are those of RBAC: create, patch, update, delete.
	Verbs []string `json:"verbs"`
	// Names are those that it may write; empty means all.
	Names []string `json:"names,omitempty"`
	// Fields are what it writes, for people: "metadata.finalizers",
	// "spec.hibernation.enabled". Empty means whole objects.
	Fields []string `json:"fields,omitempty"`
}

// Events is the right to tell what was done, which every controller with a
// recorder needs.
func Events() Write {
	return Write{Resource: "events.events.k8s.io", Verbs: []string{"create", "patch"}}
}

// Rules are the rights that controllers with these declarations need, one rule
// per group and set of verbs, in a stable order, then those for single names.
func Rules(declarations ...Declaration) []rbacv1.PolicyRule {
	verbs := map[schema.GroupResource]sets.Set[string]{}
	var named []rbacv1.PolicyRule
	add := func(resource string, more ...string) {
		key := parse(resource)
		if verbs[key] == nil {
			verbs[key] = sets.New[string]()
		}
		verbs[key].Insert(more...)
	}
	for _, d := range declarations {
		for _, read := range d.Reads {
			add(read.Resource, "get", "list", "watch")
		}
		for _, write := range d.Writes {
			if len(write.Names) == 0 {
				add(write.Resource, write.Verbs...)
				continue
			}
			resource := parse(write.Resource)
			named = append(named, rbacv1.PolicyRule{APIGroups: []string{resource.Group}, Resources: []string{resource.Resource}, ResourceNames: write.Names, Verbs: write.Verbs})
		}
	}
	type key struct{ group, verbs string }
	resources := map[key][]string{}
	for resource, set := range verbs {
		k := key{resource.Group, strings.Join(sets.List(set), " ")}
		resources[k] = append(resources[k], resource.Resource)
	}
	var rules []rbacv1.PolicyRule
	for _, k := range slices.SortedFunc(maps.Keys(resources), func(a, b key) int {
		return strings.Compare(a.group+" "+a.verbs, b.group+" "+b.verbs)
	}) {
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{k.group}, Resources: slices.Sorted(slices.Values(resources[k])), Verbs: strings.Fields(k.verbs)})
	}
	return append(rules, named...)
}

// parse takes "shoots.core.gardener.cloud/status" apart; the resource keeps its
// subresource, as RBAC writes it.
func parse(resource string) schema.GroupResource {
	name, sub, found := strings.Cut(resource, "/")
	parsed := schema.ParseGroupResource(name)
	if found {
		parsed.Resource += "/" + sub
	}
	return parsed
}
