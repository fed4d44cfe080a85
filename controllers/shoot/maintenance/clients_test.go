package maintenance_test

import (
	"context"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// refusing is a client of an API that refuses every dry run.
type refusing struct{ client.WithWatch }

func (r refusing) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	o := &client.PatchOptions{}
	o.ApplyOptions(options)
	if len(o.DryRun) > 0 {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Shoot"}, object.GetName(), nil)
	}
	return r.WithWatch.Patch(ctx, object, patch, options...)
}

// without is a client of an API that has no cloud profiles.
type without struct{ client.WithWatch }

func (w without) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if _, is := object.(*gardencorev1beta1.CloudProfile); is {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "cloudprofiles"}, key.Name)
	}
	return w.WithWatch.Get(ctx, key, object, options...)
}
