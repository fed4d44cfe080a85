package kinds

import (
	"context"
	"strings"

	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/strategy"
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

// again runs rules that look at other objects: from memory first, because nearly
// every write is right, and once more from the store if something is wrong, for
// what an object names may have been made just now.
func again(rules func(strategy.Freshness) field.ErrorList) field.ErrorList {
	if errs := rules(strategy.Cached); len(errs) == 0 {
		return nil
	}
	return rules(strategy.Current)
}

// confirmed refuses a deletion that the user has not confirmed beforehand.
func confirmed[T metav1.Object](resource schema.GroupResource) func(context.Context, T) error {
	return func(_ context.Context, obj T) error {
		if strings.EqualFold(obj.GetAnnotations()[v1beta1constants.ConfirmationDeletion], "true") {
			return nil
		}
		return apierrors.NewForbidden(resource, obj.GetName(), notConfirmed{})
	}
}

type notConfirmed struct{}

func (notConfirmed) Error() string {
	return "it has to be confirmed first, by the annotation " + v1beta1constants.ConfirmationDeletion + "=true"
}
