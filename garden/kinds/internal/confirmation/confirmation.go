// Package confirmation keeps users from deleting by mistake: they say beforehand,
// in an annotation, that an object may go.
//
// Kinds whose deletion destroys something are its callers. It must not know what
// else has to be true for a deletion.
package confirmation

import (
	"fmt"
	"strings"

	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Given tells whether the deletion of an object is confirmed.
func Given(obj metav1.Object) bool {
	return strings.EqualFold(obj.GetAnnotations()[v1beta1constants.ConfirmationDeletion], "true")
}

// Required refuses a deletion that is not confirmed, with the command that
// confirms it.
func Required(resource schema.GroupResource, obj metav1.Object) error {
	if Given(obj) {
		return nil
	}
	command := "kubectl"
	if namespace := obj.GetNamespace(); namespace != "" {
		command += " -n " + namespace
	}
	return apierrors.NewForbidden(resource, obj.GetName(), fmt.Errorf("the deletion has to be confirmed first: %s annotate %s %s %s=true",
		command, resource.Resource, obj.GetName(), v1beta1constants.ConfirmationDeletion))
}
