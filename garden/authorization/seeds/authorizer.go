// Package seeds decides what the agent of a seed may do: it sees what its seed
// needs and nothing of other seeds. Authorizer answers per request from a graph
// that Keep fills from watches; Restriction looks into what an agent writes,
// which an authorizer does not see; Webhook serves the Authorizer to another
// API server.
//
// The garden puts the first two into its chains, the aggregated API server
// serves the third. It must not know anybody but agents: for other users it has
// no opinion.
package seeds

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/loam-cloud/loam/garden/authorization/graph"
)

const (
	// syncPatience is how long a request waits for the first reading of the
	// garden; less than clients wait for an answer.
	syncPatience = 10 * time.Second
	// newPatience is how long an object that nobody knows is waited for: an
	// agent may read what it has just written, which the watches tell of within
	// milliseconds.
	newPatience = 250 * time.Millisecond
	newInterval = 10 * time.Millisecond
)

// Authorizer answers for the users of group gardener.cloud:system:seeds. It
// denies them what it does not allow, so that no role can widen it.
type Authorizer struct {
	rules  map[schema.GroupResource]rule
	graph  graph.Graph
	synced chan struct{}
}

// NewAuthorizer returns an Authorizer that knows nothing; Keep fills it. Until
// then agents wait, and are denied when they have waited too long.
func NewAuthorizer() *Authorizer {
	return &Authorizer{rules: rules(), synced: make(chan struct{})}
}

var _ authorizer.Authorizer = (*Authorizer)(nil)

// seedOf returns the seed whose agent a user is. agent tells whether the user
// claims to be one at all; the name is empty when the claim makes no sense.
func seedOf(who user.Info) (name string, agent bool) {
	if who == nil || !slices.Contains(who.GetGroups(), v1beta1constants.SeedsGroup) {
		return "", false
	}
	name, _ = strings.CutPrefix(who.GetName(), v1beta1constants.SeedUserNamePrefix)
	if name == who.GetName() {
		return "", true
	}
	return name, true
}

// Authorize implements authorizer.Authorizer.
func (a *Authorizer) Authorize(ctx context.Context, request authorizer.Attributes) (authorizer.Decision, string, error) {
	seed, agent := seedOf(request.GetUser())
	if !agent {
		return authorizer.DecisionNoOpinion, "", nil
	}
	if seed == "" {
		return authorizer.DecisionDeny, fmt.Sprintf("user %q is in group %q but names no seed", request.GetUser().GetName(), v1beta1constants.SeedsGroup), nil
	}
	if !request.IsResourceRequest() || aboutItself(request) {
		// What everybody may: discovery, and to ask about oneself.
		return authorizer.DecisionNoOpinion, "", nil
	}
	if err := a.await(ctx); err != nil {
		return authorizer.DecisionDeny, err.Error(), nil //nolint:nilerr // the reason says it; an error would let the next authorizer answer
	}
	if a.allows(ctx, seed, request) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionDeny, fmt.Sprintf("seed %q has nothing to do with this", seed), nil
}

// aboutItself are reviews whose answer depends on the asker alone.
func aboutItself(request authorizer.Attributes) bool {
	if request.GetVerb() != "create" || request.GetSubresource() != "" {
		return false
	}
	switch request.GetAPIGroup() {
	case "authorization.k8s.io":
		return request.GetResource() == "selfsubjectaccessreviews" || request.GetResource() == "selfsubjectrulesreviews"
	case "authentication.k8s.io":
		return request.GetResource() == "selfsubjectreviews"
	}
	return false
}

// await returns once the graph holds what there was at the start.
func (a *Authorizer) await(ctx context.Context) error {
	select {
	case <-a.synced:
		return nil
	default:
	}
	timer := time.NewTimer(syncPatience)
	defer timer.Stop()
	select {
	case <-a.synced:
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	return fmt.Errorf("the garden has not been read yet, without which nobody knows what belongs to a seed: try again")
}

func (a *Authorizer) allows(ctx context.Context, seed string, request authorizer.Attributes) bool {
	rule, known := a.rules[schema.GroupResource{Group: request.GetAPIGroup(), Resource: request.GetResource()}]
	if !known {
		return false
	}
	verb, namespace, name := request.GetVerb(), request.GetNamespace(), request.GetName()
	if sub := request.GetSubresource(); sub != "" {
		return slices.Contains(rule.subresources[sub], verb) && (sub == clientSubresource || a.sees(ctx, seed, rule.key(seed, namespace, name)))
	}
	switch {
	case namespace != "" && namespace == namespaceOf(seed) && slices.Contains(rule.inOwnNamespace, verb):
		return true
	case verb == "create":
		// The request does not tell what is created, only where; Restriction looks
		// at the object.
		return (slices.Contains(rule.verbs, verb) || slices.Contains(rule.published, verb)) && a.sees(ctx, seed, rule.place(seed, namespace))
	case slices.Contains(rule.published, verb) && a.isPublished(ctx, seed, rule, namespace, name):
		return true
	case !slices.Contains(rule.verbs, verb):
		return false
	case name != "":
		// A list or watch of one object, by its name, is as good as a get.
		return a.sees(ctx, seed, rule.key(seed, namespace, name)) || verb == "get" && a.misses(ctx, seed, rule, namespace, name)
	}
	selector, err := request.GetFieldSelector()
	return rule.open || err == nil && a.selectsOwn(ctx, seed, rule, namespace, selector)
}

// misses lets an agent look for what it may create and does not find, so that it
// is told that it is missing rather than that it is another's. It is asked after
// sees, which has waited: what nobody knows by then is not there.
func (a *Authorizer) misses(ctx context.Context, seed string, rule rule, namespace, name string) bool {
	return rule.kind != 0 && slices.Contains(rule.verbs, "create") &&
		!a.graph.Knows(rule.key(seed, namespace, name)) && a.sees(ctx, seed, rule.place(seed, namespace))
}

// isPublished tells whether an object is one that the agent publishes for a
// cluster of its seed. In seed-<name>, where no cluster lives, it publishes
// nothing: that a seed sees all there would make any name a cluster's.
func (a *Authorizer) isPublished(ctx context.Context, seed string, rule rule, namespace, name string) bool {
	shoot, published := publishedFor(rule.kind, name)
	return published && namespace != namespaceOf(seed) && a.sees(ctx, seed, graph.Key{Kind: graph.Shoot, Namespace: namespace, Name: shoot})
}

// selectsOwn tells whether a list or watch is restricted to objects of the seed.
func (a *Authorizer) selectsOwn(ctx context.Context, seed string, rule rule, namespace string, selector fields.Requirements) bool {
	for _, requirement := range selector {
		if requirement.Operator != selection.Equals && requirement.Operator != selection.DoubleEquals {
			continue
		}
		if slices.Contains(rule.seedFields, requirement.Field) && requirement.Value == seed {
			return true
		}
		if leads, found := rule.otherFields[requirement.Field]; found && a.sees(ctx, seed, leads(namespace, requirement.Value)) {
			return true
		}
	}
	return false
}

// sees is what the graph says, beside what a seed sees by its name alone. An
// object that the graph has not heard of is waited for a moment.
func (a *Authorizer) sees(ctx context.Context, seed string, key graph.Key) bool {
	if isOwn(seed, key) || a.graph.Sees(seed, key) {
		return true
	}
	if key.Name == "" || a.graph.Knows(key) {
		return false
	}
	ticker := time.NewTicker(newInterval)
	defer ticker.Stop()
	timer := time.NewTimer(newPatience)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return false
		case <-ticker.C:
			if a.graph.Knows(key) {
				return a.graph.Sees(seed, key)
			}
		}
	}
}

// isOwn are the objects that belong to a seed by their name, also before its
// Seed exists.
func isOwn(seed string, key graph.Key) bool {
	switch key.Kind {
	case graph.Seed:
		return key.Name == seed
	case graph.Namespace:
		return key.Name == namespaceOf(seed)
	}
	return key.Namespace != "" && key.Namespace == namespaceOf(seed)
}

// namespaceOf is the namespace in which the garden puts what is a seed's alone.
func namespaceOf(seed string) string { return "seed-" + seed }
