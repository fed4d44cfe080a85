package seeds_test

import (
	"strings"
	"testing"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/validation/seeds"
)

// What can be wrong with a seed alone is in the landscape's wrong variants; here
// is what may and may not become of one that exists.
func TestChanges(t *testing.T) {
	seed := func(change func(*core.SeedSpec)) *core.Seed {
		s := &core.Seed{Spec: core.SeedSpec{
			Provider: core.SeedProvider{Type: "local", Region: "here"},
			Networks: core.SeedNetworks{Pods: "10.1.0.0/16", Services: "10.2.0.0/16"},
		}}
		if change != nil {
			change(&s.Spec)
		}
		return s
	}
	ingress := func(s *core.SeedSpec) {
		s.Ingress = &core.Ingress{Domain: "a.example.com", Controller: core.IngressController{Kind: "nginx"}}
	}
	nodes := func(s *core.SeedSpec) { s.Networks.Nodes = ptr.To("10.3.0.0/16") }
	for name, test := range map[string]struct {
		seed, old *core.Seed
		want      string
	}{
		"nothing":                {seed(nil), seed(nil), ""},
		"nodes are told":         {seed(nodes), seed(nil), ""},
		"nodes are taken back":   {seed(nil), seed(nodes), "spec.networks.nodes"},
		"ingress is set":         {seed(ingress), seed(nil), ""},
		"ingress is taken out":   {seed(nil), seed(ingress), "spec.ingress"},
		"zones are added":        {seed(func(s *core.SeedSpec) { s.Provider.Zones = []string{"a"} }), seed(nil), ""},
		"nginx is configured":    {seed(func(s *core.SeedSpec) { ingress(s); s.Settings = &core.SeedSettings{} }), seed(ingress), ""},
		"networks are exchanged": {seed(func(s *core.SeedSpec) { s.Networks.Pods, s.Networks.Services = "10.2.0.0/16", "10.1.0.0/16" }), seed(nil), "spec.networks.pods|spec.networks.services"},
		"dual stack":             {seed(func(s *core.SeedSpec) { s.Networks.IPFamilies = []core.IPFamily{"IPv6", "IPv4"} }), seed(func(s *core.SeedSpec) { s.Networks.IPFamilies = []core.IPFamily{"IPv6", "IPv4"} }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := paths(seeds.Validate(test.seed, test.old)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			template, old := &core.SeedTemplate{Spec: test.seed.Spec}, &core.SeedTemplate{Spec: test.old.Spec}
			want := test.want
			if want != "" {
				want = "t." + strings.ReplaceAll(want, "|", "|t.")
			}
			if got := paths(seeds.ValidateTemplate(field.NewPath("t"), template, old)); got != want {
				t.Errorf("as a template: got %q, want %q", got, want)
			}
		})
	}
}

func paths(errs field.ErrorList) string {
	var all []string
	for _, err := range errs {
		all = append(all, err.Field)
	}
	return strings.Join(all, "|")
}

func TestIdentityStays(t *testing.T) {
	with := func(identity *string) *core.Seed {
		return &core.Seed{Status: core.SeedStatus{ClusterIdentity: identity}}
	}
	if errs := seeds.ValidateStatus(with(ptr.To("a")), with(nil)); len(errs) > 0 {
		t.Errorf("set for the first time: %v", errs)
	}
	for _, changed := range []*string{nil, ptr.To("b")} {
		if errs := seeds.ValidateStatus(with(changed), with(ptr.To("a"))); len(errs) != 1 {
			t.Errorf("changed to %v: %v", changed, errs)
		}
	}
}

func TestName(t *testing.T) {
	for name, good := range map[string]bool{"aws-eu1": true, strings.Repeat("a", 58): true, strings.Repeat("a", 59): false, "a.b": false} {
		if errs := seeds.Name(name, false); good != (len(errs) == 0) {
			t.Errorf("%s: %v", name, errs)
		}
	}
}
