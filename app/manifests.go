package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/shoots/manifest"
)

// fieldOwner names loam up as the manager of the fields of its manifests.
const fieldOwner = "loam-up"

// applyAll applies manifests to the garden, server-side, so that a second start
// with the same files changes nothing.
func applyAll(ctx context.Context, cfg *rest.Config, paths []string, logger logr.Logger) error {
	if len(paths) == 0 {
		return nil
	}
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		return fmt.Errorf("connecting to the garden: %w", err)
	}
	for _, path := range paths {
		objects, err := readManifest(path)
		if err != nil {
			return fault.New(fault.Invalid, "manifest %s: %w", path, err)
		}
		for _, o := range objects {
			if err := apply(ctx, c, o); err != nil {
				return fault.New(fault.Invalid, "manifest %s: applying %s %q: %w", path, o.GetKind(), o.GetName(), err)
			}
			logger.Info("Applied", "manifest", path, "kind", o.GetKind(), "name", o.GetName())
		}
	}
	return nil
}

// apply waits some seconds for a kind that an earlier object defines.
func apply(ctx context.Context, c client.Client, o *unstructured.Unstructured) error {
	var problem error
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		problem = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(fieldOwner), client.ForceOwnership)
		if meta.IsNoMatchError(problem) {
			return false, nil
		}
		return true, problem
	})
	if problem != nil {
		return problem
	}
	return err
}

func readManifest(path string) ([]*unstructured.Unstructured, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return manifest.Decode(f)
}
