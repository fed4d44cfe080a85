package strategy

import (
	"context"
	"fmt"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// objectStorage serves a kind's collection and objects.
type objectStorage struct {
	*registry.Store
	kind       Kind
	categories []string
}

var (
	_ rest.StandardStorage    = (*objectStorage)(nil)
	_ rest.ShortNamesProvider = (*objectStorage)(nil)
	_ rest.CategoriesProvider = (*objectStorage)(nil)
)

// ShortNames implements rest.ShortNamesProvider.
func (s *objectStorage) ShortNames() []string { return s.kind.shortNames }

// Categories implements rest.CategoriesProvider.
func (s *objectStorage) Categories() []string { return s.categories }

// Delete implements rest.GracefulDeleter.
func (s *objectStorage) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	return s.Store.Delete(ctx, name, s.deletable(validate), options)
}

// DeleteCollection implements rest.CollectionDeleter.
func (s *objectStorage) DeleteCollection(ctx context.Context, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions, list *metainternalversion.ListOptions) (runtime.Object, error) {
	return s.Store.DeleteCollection(ctx, s.deletable(validate), options, list)
}

// deletable adds the kind's own check to that of the server's admission.
func (s *objectStorage) deletable(validate rest.ValidateObjectFunc) rest.ValidateObjectFunc {
	return func(ctx context.Context, obj runtime.Object) error {
		if objectMeta(obj).GetDeletionTimestamp() == nil {
			if err := s.kind.validateDelete(ctx, obj); err != nil {
				return err
			}
		}
		if validate == nil {
			return nil
		}
		return validate(ctx, obj)
	}
}

// statusStorage serves the status subresource of a kind.
type statusStorage struct {
	store *registry.Store
}

var (
	_ rest.Patcher             = (*statusStorage)(nil)
	_ rest.ResetFieldsStrategy = (*statusStorage)(nil)
)

// New implements rest.Storage.
func (s *statusStorage) New() runtime.Object { return s.store.New() }

// Destroy does nothing: the object's storage owns what both use.
func (s *statusStorage) Destroy() {}

// Get implements rest.Getter.
func (s *statusStorage) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return s.store.Get(ctx, name, options)
}

// Update implements rest.Updater; it never creates.
func (s *statusStorage) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc, updateValidation rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return s.store.Update(ctx, name, info, createValidation, updateValidation, false, options)
}

// GetResetFields implements rest.ResetFieldsStrategy.
func (s *statusStorage) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return s.store.GetResetFields()
}

// ConvertToTable implements rest.TableConvertor.
func (s *statusStorage) ConvertToTable(ctx context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	return s.store.ConvertToTable(ctx, obj, options)
}

// newStore opens the storage of a kind in etcd.
func newStore(scheme *runtime.Scheme, group Group, kind Kind, getter generic.RESTOptionsGetter) (*objectStorage, *statusStorage, error) {
	var apiVersions []string
	for _, version := range kind.versions(group) {
		apiVersions = append(apiVersions, schema.GroupVersion{Group: group.Name, Version: version}.String())
	}
	main := newStrategy(scheme, kind, apiVersions)
	store := &registry.Store{
		NewFunc:                   kind.newObject,
		NewListFunc:               kind.newList,
		PredicateFunc:             kind.predicate,
		DefaultQualifiedResource:  schema.GroupResource{Group: group.Name, Resource: kind.resource},
		SingularQualifiedResource: schema.GroupResource{Group: group.Name, Resource: kind.singular},
		CreateStrategy:            main,
		UpdateStrategy:            main,
		DeleteStrategy:            main,
		ResetFieldsStrategy:       main,
		TableConvertor:            table{kind},
	}
	options := &generic.StoreOptions{RESTOptions: getter, AttrFunc: kind.attributes}
	if len(kind.index) > 0 {
		options.TriggerFunc = storage.IndexerFuncs{kind.index[0]: kind.value(kind.index[0])}
		options.Indexers = kind.indexers()
	}
	if err := store.CompleteWithOptions(options); err != nil {
		return nil, nil, fmt.Errorf("opening storage of %s: %w", store.DefaultQualifiedResource, err)
	}
	objects := &objectStorage{store, kind, group.Categories}
	if !kind.hasStatus {
		return objects, nil, nil
	}
	statusStore := *store
	status := newStatusStrategy(main, apiVersions)
	statusStore.UpdateStrategy, statusStore.ResetFieldsStrategy = status, status
	return objects, &statusStorage{&statusStore}, nil
}

// versions are those in which a kind is served.
func (k Kind) versions(group Group) []string {
	return append([]string{group.Version}, k.otherVersions...)
}

// attributes are what selectors match on.
func (k Kind) attributes(obj runtime.Object) (labels.Set, fields.Set, error) {
	accessor := objectMeta(obj)
	set := fields.Set{"metadata.name": accessor.GetName()}
	if k.namespaced {
		set["metadata.namespace"] = accessor.GetNamespace()
	}
	for name, value := range k.fields(obj) {
		set[name] = value
	}
	return accessor.GetLabels(), set, nil
}

func (k Kind) predicate(label labels.Selector, field fields.Selector) storage.SelectionPredicate {
	return storage.SelectionPredicate{Label: label, Field: field, GetAttrs: k.attributes, IndexFields: k.index}
}

func (k Kind) value(name string) storage.IndexerFunc {
	return func(obj runtime.Object) string { return k.fields(obj)[name] }
}

func (k Kind) indexers() *cache.Indexers {
	indexers := cache.Indexers{}
	for _, name := range k.index {
		value := k.value(name)
		indexers[storage.FieldIndex(name)] = func(obj any) ([]string, error) {
			return []string{value(obj.(runtime.Object))}, nil
		}
	}
	return &indexers
}
