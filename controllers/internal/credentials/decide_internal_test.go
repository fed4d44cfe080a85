package credentials

import (
	"maps"
	"slices"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// TestApply reads labels and finalizers before and after.
func TestApply(t *testing.T) {
	own := mark{"mine", "by-me"}
	of := func(types string) binding {
		return binding{object: &gardencorev1beta1.SecretBinding{}, types: providerTypes(types)}
	}
	const former = "gardener.cloud/gardener"
	for _, test := range []struct {
		name                  string
		kind                  string
		labels, finalizers    string
		deleting              bool
		users                 users
		wantLabels, wantFinal string
	}{
		{"a first binding", secret, "x", "", false, users{mine: []binding{of("aws")}}, "by-me provider.shoot.gardener.cloud/aws x", "mine"},
		{"as it should be", secret, "by-me provider.shoot.gardener.cloud/aws", "mine", false, users{mine: []binding{of("aws")}}, "by-me provider.shoot.gardener.cloud/aws", "mine"},
		{"several types in one", secret, "", "", false, users{mine: []binding{of("aws, gcp,local")}}, "by-me provider.shoot.gardener.cloud/aws provider.shoot.gardener.cloud/gcp provider.shoot.gardener.cloud/local", "mine"},
		{"the last one goes with all its types", secret, "by-me provider.shoot.gardener.cloud/aws provider.shoot.gardener.cloud/gcp x", "mine theirs", false, users{}, "x", "theirs"},
		{"one of two goes with its type", secret, "by-me provider.shoot.gardener.cloud/aws provider.shoot.gardener.cloud/gcp", "mine", false, users{mine: []binding{of("gcp")}}, "by-me provider.shoot.gardener.cloud/gcp", "mine"},
		{"the other kind stays with its type", secret, "by-me by-them provider.shoot.gardener.cloud/aws provider.shoot.gardener.cloud/gcp", "mine theirs", false, users{others: []binding{of("gcp")}}, "by-them provider.shoot.gardener.cloud/gcp", "theirs"},
		{"both kinds", secret, "", "", false, users{mine: []binding{of("aws")}, others: []binding{of("gcp")}}, "by-me provider.shoot.gardener.cloud/aws provider.shoot.gardener.cloud/gcp", "mine"},
		{"the former finalizer goes with the new one there", secret, "by-me", "x " + former, false, users{mine: []binding{of("")}}, "by-me", "x mine"},
		{"the former finalizer goes with the last binding", secret, "by-me", former + " mine", false, users{}, "", ""},
		{"the former finalizer stays for the other kind", secret, "by-me", former + " mine", false, users{others: []binding{of("")}}, "", former},
		{"in deletion nothing can be added", secret, "", former, true, users{mine: []binding{of("aws")}}, "by-me provider.shoot.gardener.cloud/aws", former},
		{"in deletion with the finalizer", secret, "", former + " mine", true, users{mine: []binding{of("aws")}}, "by-me provider.shoot.gardener.cloud/aws", "mine"},
		{"an internal secret", internalSecret, "", "", false, users{mine: []binding{of("aws")}}, "by-me provider.shoot.gardener.cloud/aws", "mine"},
		{"a workload identity loses its type", workloadIdentity, "provider.shoot.gardener.cloud/aws x", "", false, users{mine: []binding{of("aws")}}, "by-me x", "mine"},
		{"nobody and nothing", secret, "", "", false, users{}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			object := metadata(test.kind)
			object.Finalizers = strings.Fields(test.finalizers)
			object.Labels = map[string]string{}
			for _, label := range strings.Fields(test.labels) {
				object.Labels[label] = "true"
			}
			if test.deleting {
				object.DeletionTimestamp = ptr.To(metav1.Now())
			}
			base := object.DeepCopy()
			apply(object, own, test.users)
			labels := strings.Join(slices.Sorted(maps.Keys(object.Labels)), " ")
			if finalizers := strings.Join(object.Finalizers, " "); labels != test.wantLabels || finalizers != test.wantFinal {
				t.Errorf("labels %q, finalizers %q, want %q and %q", labels, finalizers, test.wantLabels, test.wantFinal)
			}
			again := object.DeepCopy()
			apply(again, own, test.users)
			if !same(object, again) {
				t.Errorf("applied twice: %v %v", again.Labels, again.Finalizers)
			}
			if changed := !same(base, object); changed != (strings.Join(strings.Fields(test.labels), " ") != labels || test.finalizers != strings.Join(object.Finalizers, " ")) {
				t.Errorf("changed is %v", changed)
			}
		})
	}
}

// TestRead refuses what is no binding.
func TestRead(t *testing.T) {
	if _, err := read(&corev1.Secret{}); err == nil {
		t.Error("a Secret is taken for a binding")
	}
	if metadata("ConfigMap") != nil {
		t.Error("a ConfigMap is taken for credentials")
	}
}

// TestAChangedReferenceWakesTheFormerCredentials, whatever the API allows today.
func TestAChangedReferenceWakesTheFormerCredentials(t *testing.T) {
	to := func(kind, name string) *securityv1alpha1.CredentialsBinding {
		return &securityv1alpha1.CredentialsBinding{CredentialsRef: corev1.ObjectReference{Kind: kind, Namespace: "n", Name: name}}
	}
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[Reference]())
	defer queue.ShutDown()
	for _, test := range []struct {
		happen func()
		want   string
	}{
		{func() {
			forsaken().Update(t.Context(), event.UpdateEvent{ObjectOld: to(secret, "a"), ObjectNew: to(secret, "b")}, queue)
		}, "Secret n/a"},
		{func() {
			forsaken().Update(t.Context(), event.UpdateEvent{ObjectOld: to(workloadIdentity, "a"), ObjectNew: to(secret, "a")}, queue)
		}, "WorkloadIdentity n/a"},
		{func() {
			forsaken().Update(t.Context(), event.UpdateEvent{ObjectOld: to(secret, "a"), ObjectNew: to(secret, "a")}, queue)
		}, ""},
		{func() { forsaken().Create(t.Context(), event.CreateEvent{Object: to(secret, "a")}, queue) }, ""},
		{func() { forsaken().Delete(t.Context(), event.DeleteEvent{Object: to(secret, "c")}, queue) }, "Secret n/c"},
		{func() { forsaken().Delete(t.Context(), event.DeleteEvent{Object: to("ConfigMap", "c")}, queue) }, ""},
	} {
		test.happen()
		got := ""
		for queue.Len() > 0 {
			ref, _ := queue.Get()
			queue.Done(ref)
			got += ref.String()
		}
		if got != test.want {
			t.Errorf("woken is %q, want %q", got, test.want)
		}
	}
}
