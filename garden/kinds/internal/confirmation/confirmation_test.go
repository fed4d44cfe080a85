package confirmation_test

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/loam-cloud/loam/garden/kinds/internal/confirmation"
)

func TestRequired(t *testing.T) {
	for _, test := range []struct {
		namespace, value string
		want             string // nothing when the object may go
	}{
		{value: "true"},
		{value: "True"},
		{want: "kubectl annotate things it confirmation.gardener.cloud/deletion=true"},
		{value: "false", want: "has to be confirmed first"},
		{value: "yes", namespace: "garden-dev", want: "kubectl -n garden-dev annotate things it confirmation.gardener.cloud/deletion=true"},
	} {
		obj := &metav1.ObjectMeta{Namespace: test.namespace, Name: "it", Annotations: map[string]string{"confirmation.gardener.cloud/deletion": test.value}}
		err := confirmation.Required(schema.GroupResource{Resource: "things"}, obj)
		if confirmed := test.want == ""; confirmation.Given(obj) != confirmed || (err == nil) != confirmed {
			t.Errorf("%q: Given %t, Required: %v", test.value, !confirmed, err)
			continue
		}
		if err != nil && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q: %v, want forbidden with %q", test.value, err, test.want)
		}
	}
}
