package scheduling

import (
	"strings"
	"testing"

	schedulerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/scheduler/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// fit is a seed that takes any Shoot of ask, changed by change.
func fit(name string, change ...func(*gardencorev1beta1.Seed)) gardencorev1beta1.Seed {
	seed := gardencorev1beta1.Seed{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"tier": "one"}},
		Spec: gardencorev1beta1.SeedSpec{
			Provider: gardencorev1beta1.SeedProvider{Type: "local", Region: "eu-west-1", Zones: []string{"a", "b", "c"}},
			Networks: gardencorev1beta1.SeedNetworks{Pods: "10.3.0.0/16", Services: "10.4.0.0/16", Nodes: ptr.To("10.5.0.0/16")},
		},
		Status: gardencorev1beta1.SeedStatus{Conditions: []gardencorev1beta1.Condition{{Type: gardencorev1beta1.GardenletReady, Status: gardencorev1beta1.ConditionTrue}}},
	}
	for _, c := range change {
		c(&seed)
	}
	return seed
}

func ask(seeds ...gardencorev1beta1.Seed) question {
	return question{
		shoot: &gardencorev1beta1.Shoot{Spec: gardencorev1beta1.ShootSpec{
			Provider: gardencorev1beta1.Provider{Type: "local"}, Region: "eu-west-1",
			Networking: &gardencorev1beta1.Networking{Pods: ptr.To("10.96.0.0/16"), Services: ptr.To("10.97.0.0/16"), Nodes: ptr.To("10.98.0.0/16")},
		}},
		seeds: seeds, load: map[string]int64{}, strategy: schedulerconfigv1alpha1.SameRegion,
	}
}

func TestDecideRefuses(t *testing.T) {
	labelled := func(value string) *gardencorev1beta1.SeedSelector {
		return &gardencorev1beta1.SeedSelector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"tier": value}}}
	}
	condition := func(kind gardencorev1beta1.ConditionType, status gardencorev1beta1.ConditionStatus) func(*gardencorev1beta1.Seed) {
		return func(s *gardencorev1beta1.Seed) {
			s.Status.Conditions = append(s.Status.Conditions, gardencorev1beta1.Condition{Type: kind, Status: status, Message: "no bucket"})
		}
	}
	for name, test := range map[string]struct {
		seed   func(*gardencorev1beta1.Seed)
		ask    func(*question)
		reason string
	}{
		"in deletion": {seed: func(s *gardencorev1beta1.Seed) { s.DeletionTimestamp = ptr.To(metav1.Now()) }, reason: "is being deleted"},
		"invisible": {seed: func(s *gardencorev1beta1.Seed) {
			s.Spec.Settings = &gardencorev1beta1.SeedSettings{Scheduling: &gardencorev1beta1.SeedSettingScheduling{}}
		}, reason: "not visible"},
		"no heartbeat":      {seed: func(s *gardencorev1beta1.Seed) { s.Status.Conditions = nil }, reason: "agent does not answer"},
		"agent lost":        {seed: func(s *gardencorev1beta1.Seed) { s.Status.Conditions[0].Status = gardencorev1beta1.ConditionUnknown }, reason: "agent does not answer"},
		"buckets broken":    {seed: condition(gardencorev1beta1.SeedBackupBucketsReady, gardencorev1beta1.ConditionFalse), reason: "BackupBucketsReady: no bucket"},
		"extensions broken": {seed: condition(gardencorev1beta1.SeedExtensionsReady, gardencorev1beta1.ConditionFalse), reason: "ExtensionsReady: no bucket"},
		"host broken":       {seed: condition(gardencorev1beta1.SeedSystemComponentsHealthy, gardencorev1beta1.ConditionFalse), reason: "SeedSystemComponentsHealthy: no bucket"},
		"shoot's selector":  {ask: func(q *question) { q.selectors = []selector{{"the shoot", labelled("two")}} }, reason: "labels that the shoot wants (tier=two)"},
		"profile's selector": {ask: func(q *question) {
			q.selectors = []selector{{"the shoot", labelled("one")}, {"its cloud profile", labelled("two")}}
		}, reason: "labels that its cloud profile wants"},
		"wrong selector": {ask: func(q *question) {
			q.selectors = []selector{{"the shoot", &gardencorev1beta1.SeedSelector{LabelSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}}}}}
		}, reason: "selector of the shoot is wrong"},
		"other provider": {seed: func(s *gardencorev1beta1.Seed) { s.Spec.Provider.Type = "proxmox" }, reason: `has provider type "proxmox", the shoot wants "local"`},
		"provider not among those named": {ask: func(q *question) {
			q.selectors = []selector{{"its cloud profile", &gardencorev1beta1.SeedSelector{ProviderTypes: []string{"proxmox", "other"}}}}
		}, reason: "its cloud profile wants proxmox, other"},
		"access": {ask: func(q *question) {
			q.shoot.Spec.AccessRestrictions = []gardencorev1beta1.AccessRestrictionWithOptions{{AccessRestriction: gardencorev1beta1.AccessRestriction{Name: "eu-only"}}}
		}, reason: `access restriction "eu-only"`},
		"taint": {seed: func(s *gardencorev1beta1.Seed) { s.Spec.Taints = []gardencorev1beta1.SeedTaint{{Key: "protected"}} }, reason: `taint "protected"`},
		"toleration of another value": {
			seed: func(s *gardencorev1beta1.Seed) {
				s.Spec.Taints = []gardencorev1beta1.SeedTaint{{Key: "for", Value: ptr.To("a")}}
			},
			ask: func(q *question) { q.tolerations = []gardencorev1beta1.Toleration{{Key: "for", Value: ptr.To("b")}} }, reason: `taint "for"`,
		},
		"pods overlap":     {seed: func(s *gardencorev1beta1.Seed) { s.Spec.Networks.Pods = "10.96.128.0/17" }, reason: "10.96.128.0/17 for pods, which overlaps the shoot's pods 10.96.0.0/16"},
		"services overlap": {seed: func(s *gardencorev1beta1.Seed) { s.Spec.Networks.Services = "10.0.0.0/8" }, reason: "10.0.0.0/8 for services"},
		"nodes overlap":    {seed: func(s *gardencorev1beta1.Seed) { s.Spec.Networks.Nodes = ptr.To("10.98.0.0/24") }, reason: "overlaps the shoot's nodes"},
		"zones": {
			seed: func(s *gardencorev1beta1.Seed) { s.Spec.Provider.Zones = []string{"a", "b"} },
			ask: func(q *question) {
				q.shoot.Spec.ControlPlane = &gardencorev1beta1.ControlPlane{HighAvailability: &gardencorev1beta1.HighAvailability{FailureTolerance: gardencorev1beta1.FailureTolerance{Type: gardencorev1beta1.FailureToleranceTypeZone}}}
			}, reason: "has 2 zones",
		},
		"full": {
			seed: func(s *gardencorev1beta1.Seed) {
				s.Status.Allocatable = corev1.ResourceList{gardencorev1beta1.ResourceShoots: resource.MustParse("2")}
			},
			ask: func(q *question) { q.load["a"] = 2 }, reason: "it has 2 shoots of 2",
		},
		"region": {seed: func(s *gardencorev1beta1.Seed) { s.Spec.Provider.Region = "eu-east-1" }, reason: `is in region "eu-east-1", the shoot in "eu-west-1"`},
	} {
		t.Run(name, func(t *testing.T) {
			change := test.seed
			if change == nil {
				change = func(*gardencorev1beta1.Seed) {}
			}
			q := ask(fit("a", change))
			if test.ask != nil {
				test.ask(&q)
			}
			seed, refusals := decide(q)
			if seed != "" || len(refusals) != 1 || !strings.Contains(refusals[0].reason, test.reason) {
				t.Errorf("got %q, %+v; want a refusal with %q", seed, refusals, test.reason)
			}
		})
	}
}

func TestDecideChooses(t *testing.T) {
	region := func(name string) func(*gardencorev1beta1.Seed) {
		return func(s *gardencorev1beta1.Seed) { s.Spec.Provider.Region = name }
	}
	provider := func(name string) func(*gardencorev1beta1.Seed) {
		return func(s *gardencorev1beta1.Seed) { s.Spec.Provider.Type = name }
	}
	distant := func(q *question) { q.strategy = schedulerconfigv1alpha1.MinimalDistance }
	for name, test := range map[string]struct {
		seeds []gardencorev1beta1.Seed
		ask   func(*question)
		want  string
	}{
		"the least used":      {[]gardencorev1beta1.Seed{fit("a"), fit("b")}, func(q *question) { q.load["a"] = 2; q.load["b"] = 1 }, "b"},
		"the first of equals": {[]gardencorev1beta1.Seed{fit("b"), fit("a")}, nil, "a"},
		"room for one": {[]gardencorev1beta1.Seed{fit("a", func(s *gardencorev1beta1.Seed) {
			s.Status.Allocatable = corev1.ResourceList{gardencorev1beta1.ResourceShoots: resource.MustParse("2")}
		})}, func(q *question) { q.load["a"] = 1 }, "a"},
		"tolerated": {[]gardencorev1beta1.Seed{fit("a", func(s *gardencorev1beta1.Seed) {
			s.Spec.Taints = []gardencorev1beta1.SeedTaint{{Key: "for", Value: ptr.To("a")}}
		})}, func(q *question) { q.tolerations = []gardencorev1beta1.Toleration{{Key: "for"}} }, "a"},
		"any provider": {[]gardencorev1beta1.Seed{fit("a", provider("proxmox"))}, func(q *question) {
			q.selectors = []selector{{"the shoot", &gardencorev1beta1.SeedSelector{ProviderTypes: []string{"*"}}}}
		}, "a"},
		"testing goes anywhere":    {[]gardencorev1beta1.Seed{fit("a", region("mars"))}, func(q *question) { q.shoot.Spec.Purpose = ptr.To(gardencorev1beta1.ShootPurposeTesting) }, "a"},
		"nearest: same":            {[]gardencorev1beta1.Seed{fit("a", region("us-west-1")), fit("b")}, distant, "b"},
		"nearest: orientation":     {[]gardencorev1beta1.Seed{fit("a", region("eu-east-1")), fit("b", region("eu-west-1"))}, distant, "b"},
		"nearest: none over other": {[]gardencorev1beta1.Seed{fit("a", region("eu-east-1")), fit("b", region("eu--1"))}, distant, "b"},
		"nearest: name":            {[]gardencorev1beta1.Seed{fit("a", region("asia-west-1")), fit("b", region("eu-east-2"))}, distant, "b"},
		"nearest: own provider": {[]gardencorev1beta1.Seed{fit("a", provider("proxmox")), fit("b")}, func(q *question) {
			distant(q)
			q.selectors = []selector{{"the shoot", &gardencorev1beta1.SeedSelector{ProviderTypes: []string{"*"}}}}
		}, "b"},
		"nearest: load among equals": {[]gardencorev1beta1.Seed{fit("a"), fit("b")}, func(q *question) { distant(q); q.load["a"] = 1 }, "b"},
		"written down": {[]gardencorev1beta1.Seed{fit("a"), fit("b", region("mars"))}, func(q *question) {
			distant(q)
			q.distances = map[string]int{"mars": 3}
		}, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			q := ask(test.seeds...)
			if test.ask != nil {
				test.ask(&q)
			}
			if seed, refusals := decide(q); seed != test.want {
				t.Errorf("got %q, %+v; want %q", seed, refusals, test.want)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	if got := explain(nil); got != "No seed fits: there is none." {
		t.Error(got)
	}
	got := explain([]refusal{{"b", "is full"}, {"c", "is far"}, {"a", "is full"}})
	if want := "None of 3 seeds fits: a, b is full; c is far."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var many []refusal
	for _, name := range strings.Split(strings.Repeat("seed,", 200), ",") {
		many = append(many, refusal{name, "reason of " + name + strings.Repeat("x", len(many))})
	}
	if got := explain(many); len(got) > maxNote {
		t.Errorf("%d characters", len(got))
	}
}

func TestParseDistances(t *testing.T) {
	got, err := parseDistances("eu-east-1: 3\nmars: 40\n")
	if err != nil || got["mars"] != 40 || got["eu-east-1"] != 3 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, wrong := range []string{"a: b", "- a", "a: -1", "a: 1\na: 2", "a: 99999999"} {
		if got, err := parseDistances(wrong); err == nil {
			t.Errorf("%q: got %v", wrong, got)
		}
	}
}

func FuzzParseDistances(f *testing.F) {
	f.Add("a: 1")
	f.Fuzz(func(t *testing.T, text string) {
		distances, err := parseDistances(text)
		for region, distance := range distances {
			if err == nil && (distance < 0 || distance >= guessed) {
				t.Errorf("%q: %d", region, distance)
			}
		}
	})
}
