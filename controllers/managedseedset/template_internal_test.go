package managedseedset

import (
	"encoding/json"
	"strings"
	"testing"

	gardenletconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/gardenlet/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
)

// TestNamed has configurations as they may be written.
func TestNamed(t *testing.T) {
	for name, test := range map[string]struct{ raw, want string }{
		"with a placeholder":   {`{"seedConfig":{"spec":{"ingress":{"domain":"replica-name.a.replica-name"}}},"n":9007199254740993}`, `{"n":9007199254740993,"seedConfig":{"spec":{"ingress":{"domain":"x-1.a.x-1"}}}}`},
		"without one":          {`{ "seedConfig": {"spec":{"ingress":{"domain":"a"}}}}`, `{ "seedConfig": {"spec":{"ingress":{"domain":"a"}}}}`},
		"elsewhere":            {`{"a":"replica-name"}`, `{"a":"replica-name"}`},
		"without a seedConfig": {`{}`, `{}`},
		"empty":                {``, ``},
		"no JSON":              {`replica-name`, "error"},
		"no text":              {`{"seedConfig":{"spec":{"ingress":{"domain":["replica-name"]}}}}`, "error"},
	} {
		got, err := named(runtime.RawExtension{Raw: []byte(test.raw)}, "x-1")
		if (err != nil) != (test.want == "error") || err == nil && string(got.Raw) != test.want {
			t.Errorf("%s: got %s, %v", name, got.Raw, err)
		}
	}
	object := &gardenletconfigv1alpha1.GardenletConfiguration{SeedConfig: &gardenletconfigv1alpha1.SeedConfig{SeedTemplate: gardencorev1beta1.SeedTemplate{
		Spec: gardencorev1beta1.SeedSpec{Ingress: &gardencorev1beta1.Ingress{Domain: "replica-name.a"}},
	}}}
	if got, err := named(runtime.RawExtension{Object: object}, "x-1"); err != nil || !strings.Contains(string(got.Raw), `"domain":"x-1.a"`) || got.Object != nil {
		t.Errorf("of an object: %s, %v", got.Raw, err)
	}
}

// FuzzNamed wants a configuration to be refused, or to stay JSON without a
// placeholder in the domain.
func FuzzNamed(f *testing.F) {
	f.Add(`{"seedConfig":{"spec":{"ingress":{"domain":"replica-name.example.org"}}}}`)
	f.Add(`{"seedConfig":null,"x":"replica-name"}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := named(runtime.RawExtension{Raw: []byte(text)}, "x-1")
		if err != nil || !strings.Contains(text, placeholder) {
			return
		}
		var content struct {
			SeedConfig struct {
				Spec struct{ Ingress struct{ Domain string } }
			}
		}
		if json.Unmarshal(got.Raw, &content) == nil && json.Valid([]byte(text)) && strings.Count(text, `"domain"`) == 1 && strings.Contains(content.SeedConfig.Spec.Ingress.Domain, placeholder) && strings.Contains(text, `"seedConfig"`) && strings.Contains(text, `"spec"`) && strings.Contains(text, `"ingress"`) {
			t.Errorf("%s became %s", text, got.Raw)
		}
	})
}
