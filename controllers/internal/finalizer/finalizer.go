// Package finalizer puts finalizers on objects and takes them off, without
// losing what somebody else writes at the same time.
//
// Controllers call it. It must not know what a finalizer is for.
package finalizer

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// Add puts finalizers on an object that lacks them, and writes nothing if it has
// them all. The object is what it was read as, whole or its metadata, and is
// afterwards what the server holds. A conflict means that it was not the newest.
func Add(ctx context.Context, c client.Client, object client.Object, names ...string) error {
	return change(ctx, c, object, controllerutil.AddFinalizer, names)
}

// Remove takes finalizers off an object, and writes nothing if it has none of
// them. An object that is gone has none.
func Remove(ctx context.Context, c client.Client, object client.Object, names ...string) error {
	return client.IgnoreNotFound(change(ctx, c, object, controllerutil.RemoveFinalizer, names))
}

func change(ctx context.Context, c client.Client, object client.Object, change func(client.Object, string) bool, names []string) error {
	changed := false
	for _, name := range names {
		changed = change(object, name) || changed
	}
	if !changed {
		return nil
	}
	// A merge patch writes the whole list, therefore only over the one it was made
	// from. It is written down here, since comparing two whole objects would cost more
	// than all else: every object of a fleet gets one.
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"finalizers": object.GetFinalizers(), "resourceVersion": object.GetResourceVersion(),
	}})
	if err != nil {
		return fmt.Errorf("writing down the finalizers of %T %q: %w", object, object.GetName(), err)
	}
	if err := c.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("writing the finalizers of %T %q: %w", object, object.GetName(), err)
	}
	return nil
}
