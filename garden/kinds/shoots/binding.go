package shoots

import (
	"context"

	"github.com/gardener/gardener/pkg/apis/core"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// bindingStorage serves the subresource binding: a Shoot is read and written
// there, and of what is written only spec.seedName counts. So a scheduler needs no
// right to change Shoots, and owners of Shoots none to choose where they go.
type bindingStorage struct{ store registry.Store }

var (
	_ rest.Patcher             = (*bindingStorage)(nil)
	_ rest.ResetFieldsStrategy = (*bindingStorage)(nil)
)

func newBinding(store *registry.Store) rest.Storage {
	binding := &bindingStorage{*store}
	binding.store.UpdateStrategy = bindingStrategy{store.UpdateStrategy}
	return binding
}

// New implements rest.Storage.
func (s *bindingStorage) New() runtime.Object { return s.store.New() }

// Destroy does nothing: the storage of Shoots owns what both use.
func (s *bindingStorage) Destroy() {}

// Get implements rest.Getter; a patch begins with it.
func (s *bindingStorage) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return s.store.Get(ctx, name, options)
}

// Update implements rest.Updater; it never creates.
func (s *bindingStorage) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc, updateValidation rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return s.store.Update(context.WithValue(ctx, bindingKey{}, true), name, info, createValidation, updateValidation, false, options)
}

// GetResetFields implements rest.ResetFieldsStrategy.
func (s *bindingStorage) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return s.store.GetResetFields()
}

// ConvertToTable implements rest.TableConvertor.
func (s *bindingStorage) ConvertToTable(ctx context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	return s.store.ConvertToTable(ctx, obj, options)
}

// bindingKey marks the context of a request to the subresource.
type bindingKey struct{}

func bindsSeed(ctx context.Context) bool { return ctx.Value(bindingKey{}) != nil }

// bindingStrategy takes the seed and nothing else from what is written.
type bindingStrategy struct{ rest.RESTUpdateStrategy }

// PrepareForUpdate implements rest.RESTUpdateStrategy.
func (s bindingStrategy) PrepareForUpdate(ctx context.Context, obj, old runtime.Object) {
	shoot, was := obj.(*core.Shoot), old.(*core.Shoot).DeepCopy()
	seed := shoot.Spec.SeedName
	shoot.Spec, shoot.Status = was.Spec, was.Status
	shoot.Spec.SeedName = seed
	shoot.Labels, shoot.Annotations = was.Labels, was.Annotations
	shoot.Finalizers, shoot.OwnerReferences = was.Finalizers, was.OwnerReferences
	s.RESTUpdateStrategy.PrepareForUpdate(ctx, obj, old)
}
