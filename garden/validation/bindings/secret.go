package bindings

import (
	"fmt"
	"maps"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// ValidateInternalSecret returns every problem of an InternalSecret; old is nil
// on create. It never shows data.
func ValidateInternalSecret(secret, old *core.InternalSecret) field.ErrorList {
	data := field.NewPath("data")
	var errs field.ErrorList
	size := 0
	for _, key := range slices.Sorted(maps.Keys(secret.Data)) {
		for _, problem := range validation.IsConfigMapKey(key) {
			errs = append(errs, field.Invalid(data.Key(key), key, problem))
		}
		size += len(secret.Data[key])
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.Forbidden(data, fmt.Sprintf("must have at most %d bytes, not %d", corev1.MaxSecretSize, size)))
	}
	if old == nil {
		return errs
	}
	errs = append(errs, check.Immutable(field.NewPath("type"), string(secret.Type), string(old.Type))...)
	if old.Immutable == nil || !*old.Immutable {
		return errs
	}
	if secret.Immutable == nil || !*secret.Immutable {
		errs = append(errs, field.Forbidden(field.NewPath("immutable"), "cannot be taken back"))
	}
	if !maps.EqualFunc(secret.Data, old.Data, slices.Equal) {
		errs = append(errs, field.Forbidden(data, "cannot be changed while the secret is immutable"))
	}
	return errs
}
