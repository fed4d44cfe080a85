package references

import (
	"context"
	"errors"
	"fmt"
	"slices"

	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/finalizer"
	"github.com/loam-cloud/loam/fault"
)

// finalizerName is on objects that refer to others, and on those.
const finalizerName = v1beta1constants.ReferenceProtectionFinalizerName

// Reconciler protects what the objects of one kind refer to.
type Reconciler[T client.Object] struct {
	Client client.Client
	// GardenNamespace is where Seeds and ControllerDeployments refer to.
	GardenNamespace string
	// New returns an empty object to read into, NewList a list of such.
	New     func() T
	NewList func() client.ObjectList
	// Of lists what an object refers to.
	Of func(T) []Reference
}

// Reconcile protects what one object refers to, and releases what it left behind.
func (r *Reconciler[T]) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	object := r.New()
	if err := r.Client.Get(ctx, request.NamespacedName, object); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	var own []Reference
	if refers(object) {
		own = r.Of(object)
	}
	if !controllerutil.ContainsFinalizer(object, finalizerName) && len(own) == 0 {
		return reconcile.Result{}, nil // it left nothing behind, or else it would have the finalizer
	}
	if err := r.release(ctx, r.namespace(object), own); err != nil {
		return reconcile.Result{}, err
	}
	if len(own) == 0 {
		log.FromContext(ctx).Info("The object refers to nothing any more")
		return reconcile.Result{}, finalizer.Remove(ctx, r.Client, object, finalizerName)
	}
	// First on the object: it may be gone when the process comes back, and nobody
	// would know what it referred to.
	if object.GetDeletionTimestamp() == nil {
		if err := finalizer.Add(ctx, r.Client, object, finalizerName); err != nil {
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{}, r.protect(ctx, own)
}

func (r *Reconciler[T]) namespace(object client.Object) string {
	if namespace := object.GetNamespace(); namespace != "" {
		return namespace
	}
	return r.GardenNamespace
}

// protect puts the finalizer on what is referred to. One that is not there keeps
// none of the others from it.
func (r *Reconciler[T]) protect(ctx context.Context, own []Reference) error {
	var errs []error
	for _, ref := range own {
		object := metadata(ref.Kind)
		err := r.Client.Get(ctx, ref.NamespacedName, object)
		if err == nil && !controllerutil.ContainsFinalizer(object, finalizerName) {
			if object.DeletionTimestamp != nil {
				err = apierrors.NewNotFound(schema.GroupResource{Group: ref.Kind.Group, Resource: ref.Kind.Kind}, ref.Name) // too late to hold it
			} else {
				log.FromContext(ctx).Info("Protecting what is referred to", "reference", ref.String())
				err = finalizer.Add(ctx, r.Client, object, finalizerName)
			}
		}
		switch {
		case apierrors.IsNotFound(err):
			errs = append(errs, fault.New(fault.Missing, "%s, which is referred to, is not there", ref))
		case err != nil:
			errs = append(errs, fmt.Errorf("protecting %s: %w", ref, err))
		}
	}
	return errors.Join(errs...)
}

// release takes the finalizer off everything in a namespace that has it and that
// nobody refers to. own is known to be referred to.
func (r *Reconciler[T]) release(ctx context.Context, namespace string, own []Reference) error {
	var left []Reference
	for _, kind := range kinds() {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		if err := r.Client.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{protected: yes}, client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("listing what is protected: %w", err)
		}
		for i := range list.Items {
			if ref := (Reference{kind, client.ObjectKeyFromObject(&list.Items[i])}); !slices.Contains(own, ref) {
				left = append(left, ref)
			}
		}
	}
	if len(left) == 0 {
		return nil
	}
	used, err := r.used(ctx, namespace)
	if err != nil {
		return err
	}
	for _, ref := range left {
		if used[ref] {
			continue
		}
		object := metadata(ref.Kind)
		if err := r.Client.Get(ctx, ref.NamespacedName, object); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return fmt.Errorf("reading %s: %w", ref, err)
		}
		log.FromContext(ctx).Info("Releasing what nobody refers to any more", "reference", ref.String())
		if err := finalizer.Remove(ctx, r.Client, object, finalizerName); err != nil {
			return err
		}
	}
	return nil
}

// used is everything in a namespace that an object of any kind refers to.
func (r *Reconciler[T]) used(ctx context.Context, namespace string) (map[Reference]bool, error) {
	used := map[Reference]bool{}
	mark := func(object client.Object, refs []Reference) {
		if refers(object) {
			for _, ref := range refs {
				used[ref] = true
			}
		}
	}
	shoots := &gardencorev1beta1.ShootList{}
	if err := r.Client.List(ctx, shoots, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing who refers to it: %w", err)
	}
	for i := range shoots.Items {
		mark(&shoots.Items[i], OfShoot(&shoots.Items[i]))
	}
	if namespace != r.GardenNamespace {
		return used, nil
	}
	seeds := &gardencorev1beta1.SeedList{}
	if err := r.Client.List(ctx, seeds, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing who refers to it: %w", err)
	}
	for i := range seeds.Items {
		mark(&seeds.Items[i], OfSeed(&seeds.Items[i], namespace))
	}
	deployments := &gardencorev1.ControllerDeploymentList{}
	if err := r.Client.List(ctx, deployments, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing who refers to it: %w", err)
	}
	for i := range deployments.Items {
		mark(&deployments.Items[i], OfDeployment(&deployments.Items[i], namespace))
	}
	return used, nil
}
