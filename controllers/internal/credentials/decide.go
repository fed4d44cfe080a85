package credentials

import (
	"maps"
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	yes = "true"
	// formerFinalizer held Secrets for everybody before each kind of binding had
	// its own.
	formerFinalizer = gardencorev1beta1.ExternalGardenerName
)

// mark is what credentials carry because of bindings of one kind.
type mark struct{ finalizer, label string }

// users are the bindings that count for credentials: those of the kind whose mark
// is looked after, and those of the other.
type users struct{ mine, others []binding }

// apply brings the finalizers and labels of credentials to what their users need.
// What the other kind of binding needs stays.
func apply(object *metav1.PartialObjectMetadata, own mark, u users) {
	labels := maps.Clone(object.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	if len(u.mine) > 0 {
		labels[own.label] = yes
	} else {
		delete(labels, own.label)
	}
	wanted := map[string]bool{}
	if object.Kind != workloadIdentity { // a WorkloadIdentity says itself what it is for
		for _, b := range slices.Concat(u.mine, u.others) {
			for _, provider := range b.types {
				wanted[v1beta1constants.LabelShootProviderPrefix+provider] = true
			}
		}
	}
	maps.DeleteFunc(labels, func(label, _ string) bool {
		return strings.HasPrefix(label, v1beta1constants.LabelShootProviderPrefix) && !wanted[label]
	})
	for label := range wanted {
		labels[label] = yes
	}
	if !maps.Equal(labels, object.Labels) {
		object.Labels = labels
	}
	applyFinalizers(object, own, u)
}

func applyFinalizers(object *metav1.PartialObjectMetadata, own mark, u users) {
	has := slices.Contains(object.Finalizers, own.finalizer)
	drop := func(name string) {
		object.Finalizers = slices.DeleteFunc(slices.Clone(object.Finalizers), func(f string) bool { return f == name })
	}
	switch {
	case len(u.mine) == 0 && has:
		drop(own.finalizer)
	case len(u.mine) > 0 && !has && object.DeletionTimestamp == nil: // Kubernetes takes no new ones in deletion
		object.Finalizers = append(slices.Clone(object.Finalizers), own.finalizer)
		has = true
	}
	// Others who use the credentials may hold them by nothing else yet.
	if slices.Contains(object.Finalizers, formerFinalizer) && (len(u.mine) > 0 && has || len(u.mine)+len(u.others) == 0) {
		drop(formerFinalizer)
	}
}
