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
