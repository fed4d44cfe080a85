package kinds

import (
	"context"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/kinds/internal/confirmation"
)

// whenChanged keeps rules from what a write leaves as it is: labels and
// finalizers can be changed whatever became of the rules that an object once
// met. Content returns what the rules are about.
func whenChanged[T any](content func(*T) any, rules func(ctx context.Context, obj, old *T) field.ErrorList) func(ctx context.Context, obj, old *T) field.ErrorList {
	return func(ctx context.Context, obj, old *T) field.ErrorList {
		if old != nil && apiequality.Semantic.DeepEqual(content(obj), content(old)) {
			return nil
		}
		return rules(ctx, obj, old)
	}
}

// alone makes rules that look at nothing but the object fit a Definition.
func alone[T any](rules func(obj, old *T) field.ErrorList) func(context.Context, *T, *T) field.ErrorList {
	return func(_ context.Context, obj, old *T) field.ErrorList { return rules(obj, old) }
}

// confirmed refuses a deletion that the user has not confirmed beforehand.
func confirmed[T metav1.Object](resource schema.GroupResource) func(context.Context, T) error {
	return func(_ context.Context, obj T) error { return confirmation.Required(resource, obj) }
}
