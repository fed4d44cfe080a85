package scheduling

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	schedulerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/scheduler/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// zonesForHA is how many zones a seed needs for a control plane that survives
// the loss of one.
const zonesForHA = 3

// question is everything that a decision depends on.
type question struct {
	shoot       *gardencorev1beta1.Shoot
	seeds       []gardencorev1beta1.Seed
	selectors   []selector
	tolerations []gardencorev1beta1.Toleration
	// load counts the Shoots of each seed.
	load     map[string]int64
	strategy schedulerconfigv1alpha1.CandidateDeterminationStrategy
	// distances from the Shoot's region, where an operator has given them.
	distances map[string]int
}

// selector is what somebody wants of a seed; nil wants nothing.
type selector struct {
	who    string
	wanted *gardencorev1beta1.SeedSelector
}

// refusal says why a seed does not do.
type refusal struct{ seed, reason string }

// decide names the seed for a Shoot, or why each seed was refused. Of equals the
// first by name wins, so that the same question has the same answer.
func decide(q question) (string, []refusal) {
	var refusals []refusal
	var fitting []*gardencorev1beta1.Seed
	for i := range q.seeds {
		seed := &q.seeds[i]
		if reason := q.refuse(seed); reason != "" {
			refusals = append(refusals, refusal{seed.Name, reason})
		} else {
			fitting = append(fitting, seed)
		}
	}
	nearest, far := q.apply(fitting)
	if len(nearest) == 0 {
		return "", append(refusals, far...)
	}
	return slices.MinFunc(nearest, func(a, b *gardencorev1beta1.Seed) int {
		return cmp.Or(cmp.Compare(q.load[a.Name], q.load[b.Name]), cmp.Compare(a.Name, b.Name))
	}).Name, nil
}

// refuse says why a seed cannot have the Shoot; empty when it can.
func (q question) refuse(seed *gardencorev1beta1.Seed) string {
	for _, check := range []func(*gardencorev1beta1.Seed) string{
		notReady, q.notSelected, q.otherProvider, q.accessRestricted, q.notTolerated, q.networksOverlap, q.tooFewZones, q.full,
	} {
		if reason := check(seed); reason != "" {
			return reason
		}
	}
	return ""
}

// notReady says why a seed takes no new Shoot whatever it is.
func notReady(seed *gardencorev1beta1.Seed) string {
	if seed.DeletionTimestamp != nil {
		return "is being deleted"
	}
	if settings := seed.Spec.Settings; settings != nil && settings.Scheduling != nil && !settings.Scheduling.Visible {
		return "is not visible for scheduling"
	}
	alive := false
	for _, condition := range seed.Status.Conditions {
		switch condition.Type {
		case gardencorev1beta1.GardenletReady:
			alive = condition.Status == gardencorev1beta1.ConditionTrue
		case gardencorev1beta1.SeedBackupBucketsReady, gardencorev1beta1.SeedExtensionsReady, gardencorev1beta1.SeedSystemComponentsHealthy:
			if condition.Status == gardencorev1beta1.ConditionFalse {
				return fmt.Sprintf("is not ready: %s: %s", condition.Type, condition.Message)
			}
		}
	}
	if !alive {
		return "is not ready: its agent does not answer"
	}
	return ""
}

func (q question) notSelected(seed *gardencorev1beta1.Seed) string {
	for _, s := range q.selectors {
		if s.wanted == nil {
			continue
		}
		wanted, err := metav1.LabelSelectorAsSelector(&s.wanted.LabelSelector)
		if err != nil {
			return fmt.Sprintf("cannot be matched: the seed selector of %s is wrong: %v", s.who, err)
		}
		if !wanted.Matches(labels.Set(seed.Labels)) {
			return fmt.Sprintf("does not have the labels that %s wants (%s)", s.who, wanted)
		}
	}
	return ""
}

// anyProvider in a seed selector stands for all types of infrastructure.
const anyProvider = "*"

// otherProvider holds seeds to the Shoot's type of infrastructure, unless a
// selector names others.
func (q question) otherProvider(seed *gardencorev1beta1.Seed) string {
	named := false
	for _, s := range q.selectors {
		if s.wanted == nil || len(s.wanted.ProviderTypes) == 0 {
			continue
		}
		named = true
		if !slices.Contains(s.wanted.ProviderTypes, seed.Spec.Provider.Type) && !slices.Contains(s.wanted.ProviderTypes, anyProvider) {
			return fmt.Sprintf("has provider type %q, %s wants %s", seed.Spec.Provider.Type, s.who, strings.Join(s.wanted.ProviderTypes, ", "))
		}
	}
	if !named && seed.Spec.Provider.Type != q.shoot.Spec.Provider.Type {
		return fmt.Sprintf("has provider type %q, the shoot wants %q", seed.Spec.Provider.Type, q.shoot.Spec.Provider.Type)
	}
	return ""
}

func (q question) accessRestricted(seed *gardencorev1beta1.Seed) string {
	for _, wanted := range q.shoot.Spec.AccessRestrictions {
		if !slices.ContainsFunc(seed.Spec.AccessRestrictions, func(has gardencorev1beta1.AccessRestriction) bool { return has.Name == wanted.Name }) {
			return fmt.Sprintf("does not offer access restriction %q", wanted.Name)
		}
	}
	return ""
}

func (q question) notTolerated(seed *gardencorev1beta1.Seed) string {
	for _, taint := range seed.Spec.Taints {
		if !slices.ContainsFunc(q.tolerations, func(t gardencorev1beta1.Toleration) bool {
			return t.Key == taint.Key && (t.Value == nil || taint.Value != nil && *t.Value == *taint.Value)
		}) {
			return fmt.Sprintf("has taint %q, which is not tolerated", taint.Key)
		}
	}
	return ""
}

// network is one that somebody uses.
type network struct{ what, cidr string }

func (q question) networksOverlap(seed *gardencorev1beta1.Seed) string {
	of := seed.Spec.Networks
	theirs := []network{{"pods", of.Pods}, {"services", of.Services}}
	if of.Nodes != nil {
		theirs = append(theirs, network{"nodes", *of.Nodes})
	}
	var ours []network
	if networking := q.shoot.Spec.Networking; networking != nil {
		for what, cidr := range map[string]*string{"pods": networking.Pods, "services": networking.Services, "nodes": networking.Nodes} {
			if cidr != nil {
				ours = append(ours, network{what, *cidr})
			}
		}
		slices.SortFunc(ours, func(a, b network) int { return cmp.Compare(a.what, b.what) })
	}
	for _, mine := range ours {
		for _, other := range theirs {
			if overlap(mine.cidr, other.cidr) {
				return fmt.Sprintf("uses %s for %s, which overlaps the shoot's %s %s", other.cidr, other.what, mine.what, mine.cidr)
			}
		}
	}
	return ""
}

// overlap is false for what is no network: validation has refused it.
func overlap(a, b string) bool {
	first, err := netip.ParsePrefix(a)
	if err != nil {
		return false
	}
	second, err := netip.ParsePrefix(b)
	return err == nil && first.Overlaps(second)
}

func (q question) tooFewZones(seed *gardencorev1beta1.Seed) string {
	plane := q.shoot.Spec.ControlPlane
	if plane == nil || plane.HighAvailability == nil || plane.HighAvailability.FailureTolerance.Type != gardencorev1beta1.FailureToleranceTypeZone {
		return ""
	}
	if zones := len(seed.Spec.Provider.Zones); zones < zonesForHA {
		return fmt.Sprintf("has %d zones, a control plane that survives the loss of one needs %d", zones, zonesForHA)
	}
	return ""
}

func (q question) full(seed *gardencorev1beta1.Seed) string {
	room, bounded := seed.Status.Allocatable[gardencorev1beta1.ResourceShoots]
	if bounded && q.load[seed.Name] >= room.Value() {
		return fmt.Sprintf("is full: it has %d shoots of %d", q.load[seed.Name], room.Value())
	}
	return ""
}

// apply keeps the seeds that the strategy prefers.
func (q question) apply(fitting []*gardencorev1beta1.Seed) ([]*gardencorev1beta1.Seed, []refusal) {
	if len(fitting) == 0 {
		return nil, nil
	}
	if purpose := q.shoot.Spec.Purpose; purpose != nil && *purpose == gardencorev1beta1.ShootPurposeTesting {
		return fitting, nil // wherever there is most room
	}
	if q.strategy == schedulerconfigv1alpha1.MinimalDistance {
		return q.nearest(fitting), nil
	}
	var same []*gardencorev1beta1.Seed
	var refusals []refusal
	for _, seed := range fitting {
		if seed.Spec.Provider.Region == q.shoot.Spec.Region {
			same = append(same, seed)
		} else {
			refusals = append(refusals, refusal{seed.Name, fmt.Sprintf("is in region %q, the shoot in %q", seed.Spec.Provider.Region, q.shoot.Spec.Region)})
		}
	}
	return same, refusals
}

// explain puts refusals into one line, seeds with the same reason together.
func explain(refusals []refusal) string {
	if len(refusals) == 0 {
		return "No seed fits: there is none."
	}
	seeds := map[string][]string{}
	var reasons []string
	for _, r := range refusals {
		if seeds[r.reason] == nil {
			reasons = append(reasons, r.reason)
		}
		seeds[r.reason] = append(seeds[r.reason], r.seed)
	}
	var parts []string
	for _, reason := range reasons {
		names := seeds[reason]
		slices.Sort(names)
		shown := strings.Join(names[:min(len(names), maxNames)], ", ")
		if more := len(names) - maxNames; more > 0 {
			shown += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, shown+" "+reason)
	}
	text := fmt.Sprintf("None of %d seeds fits: %s.", len(refusals), strings.Join(parts, "; "))
	if len(text) > maxNote {
		text = text[:maxNote-3] + "..."
	}
	return text
}

const (
	// maxNames bounds how many seeds with one reason are named.
	maxNames = 5
	// maxNote is what an event's note may have (events.k8s.io/v1, Event.note).
	maxNote = 1024
)
