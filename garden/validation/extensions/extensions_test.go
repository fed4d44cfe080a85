package extensions_test

import (
	"testing"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/validation/extensions"
)

// TestInDeletion wants the content to stay once an object is on its way out.
func TestInDeletion(t *testing.T) {
	ending := metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}}
	worker := core.ControllerRegistrationSpec{Resources: []core.ControllerResource{{Kind: "Worker", Type: "local"}}}
	if errs := extensions.ValidateRegistration(&core.ControllerRegistration{ObjectMeta: ending}, &core.ControllerRegistration{Spec: worker}, nil); len(errs) != 1 || errs[0].Field != "spec" {
		t.Errorf("registration: %v", errs)
	}
	if errs := extensions.ValidateRegistration(&core.ControllerRegistration{ObjectMeta: ending, Spec: worker}, &core.ControllerRegistration{Spec: worker},
		map[extensions.Resource]string{{Kind: "Worker", Type: "local"}: "other"}); len(errs) != 0 {
		t.Errorf("registration as it was: %v", errs)
	}
	seed := core.ControllerInstallationSpec{SeedRef: &corev1.ObjectReference{Name: "s"}}
	if errs := extensions.ValidateInstallation(&core.ControllerInstallation{ObjectMeta: ending}, &core.ControllerInstallation{Spec: seed}); len(errs) != 1 || errs[0].Field != "spec" {
		t.Errorf("installation: %v", errs)
	}
}

// TestInstallationReferences wants an installation in a Shoot to come to serve a
// Seed too and to cease to, and to lead nowhere else otherwise.
func TestInstallationReferences(t *testing.T) {
	seed, other := &corev1.ObjectReference{Name: "s"}, &corev1.ObjectReference{Name: "o"}
	shoot, elsewhere := &corev1.ObjectReference{Namespace: "n", Name: "s"}, &corev1.ObjectReference{Namespace: "o", Name: "s"}
	of := func(seed, shoot *corev1.ObjectReference) *core.ControllerInstallation {
		return &core.ControllerInstallation{Spec: core.ControllerInstallationSpec{RegistrationRef: corev1.ObjectReference{Name: "r"}, SeedRef: seed, ShootRef: shoot}}
	}
	for name, test := range map[string]struct {
		now, old *core.ControllerInstallation
		want     string
	}{
		"nowhere":                {of(nil, nil), nil, "spec.seedRef"},
		"in a seed":              {of(seed, nil), nil, ""},
		"in a shoot":             {of(nil, shoot), nil, ""},
		"in both":                {of(seed, shoot), nil, ""},
		"serves the seed too":    {of(seed, shoot), of(nil, shoot), ""},
		"ceases to":              {of(nil, shoot), of(seed, shoot), ""},
		"serves another seed":    {of(other, shoot), of(seed, shoot), "spec.seedRef.name"},
		"moves to another seed":  {of(other, nil), of(seed, nil), "spec.seedRef.name"},
		"moves to another shoot": {of(nil, elsewhere), of(nil, shoot), "spec.shootRef.namespace"},
		"moves into a shoot":     {of(seed, shoot), of(seed, nil), "spec.shootRef.name"},
	} {
		errs := extensions.ValidateInstallation(test.now, test.old)
		if (len(errs) > 0) != (test.want != "") || len(errs) > 0 && errs[0].Field != test.want {
			t.Errorf("%s: got %v, want %q", name, errs, test.want)
		}
	}
}

func TestPrimaries(t *testing.T) {
	registration := &core.ControllerRegistration{Spec: core.ControllerRegistrationSpec{Resources: []core.ControllerResource{
		{Kind: "Worker", Type: "local"}, {Kind: "Network", Type: "calico", Primary: ptr.To(false)}, {Kind: "Bastion", Type: "local", Primary: ptr.To(true)},
	}}}
	got := extensions.Primaries(registration)
	if len(got) != 2 || got[0] != (extensions.Resource{Kind: "Worker", Type: "local"}) || got[1].Kind != "Bastion" {
		t.Errorf("got %v", got)
	}
	other := map[extensions.Resource]string{{Kind: "Network", Type: "calico"}: "net", {Kind: "Worker", Type: "local"}: "other"}
	if errs := extensions.ValidateRegistration(registration, nil, other); len(errs) != 1 || errs[0].Field != "spec.resources[0].primary" {
		t.Errorf("got %v, want one at the worker", errs)
	}
}

func TestRepository(t *testing.T) {
	text := func(s string) *string { return &s }
	digest := text("sha256:0000000000000000000000000000000000000000000000000000000000000000")
	for name, test := range map[string]struct {
		repository core.OCIRepository
		want       int
	}{
		"ref":              {core.OCIRepository{Ref: text("a/b:c")}, 0},
		"tag":              {core.OCIRepository{Repository: text("a/b"), Tag: text("c")}, 0},
		"digest":           {core.OCIRepository{Repository: text("a/b"), Digest: digest}, 0},
		"digest and tag":   {core.OCIRepository{Repository: text("a/b"), Tag: text("c"), Digest: digest}, 0},
		"nothing":          {core.OCIRepository{}, 1},
		"empty ref":        {core.OCIRepository{Ref: text("")}, 1},
		"empty tag":        {core.OCIRepository{Repository: text("a/b"), Tag: text("")}, 1},
		"no tag":           {core.OCIRepository{Repository: text("a/b")}, 1},
		"ref and the rest": {core.OCIRepository{Ref: text("a/b:c"), Repository: text("a/b"), Tag: text("c"), Digest: digest}, 3},
	} {
		if errs := extensions.ValidateRepository(field.NewPath("r"), &test.repository); len(errs) != test.want {
			t.Errorf("%s: got %v, want %d", name, errs, test.want)
		}
	}
}
