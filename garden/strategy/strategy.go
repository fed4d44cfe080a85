package strategy

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// strategy applies a Kind's description to writes of the object itself.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
	kind        Kind
	resetFields map[fieldpath.APIVersion]*fieldpath.Set
}

func newStrategy(scheme *runtime.Scheme, kind Kind, apiVersions []string) *strategy {
	reset := fieldpath.NewSet()
	if kind.hasStatus {
		reset = fieldpath.NewSet(fieldpath.MakePathOrDie("status"))
	}
	return &strategy{scheme, names.SimpleNameGenerator, kind, perVersion(apiVersions, reset)}
}

func perVersion(apiVersions []string, set *fieldpath.Set) map[fieldpath.APIVersion]*fieldpath.Set {
	sets := make(map[fieldpath.APIVersion]*fieldpath.Set, len(apiVersions))
	for _, version := range apiVersions {
		sets[fieldpath.APIVersion(version)] = set
	}
	return sets
}

func (s *strategy) NamespaceScoped() bool { return s.kind.namespaced }

// GetResetFields names what writes of the object itself cannot set, so that
// server-side apply does not record an owner for it.
func (s *strategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set { return s.resetFields }

func (s *strategy) PrepareForCreate(ctx context.Context, obj runtime.Object) {
	if s.kind.hasStatus {
		wipeStatus(obj)
	}
	objectMeta(obj).SetGeneration(s.firstGeneration())
	s.kind.prepareForCreate(ctx, obj)
}

func (s *strategy) firstGeneration() int64 {
	if s.kind.withoutGeneration {
		return 0
	}
	return 1
}

func (s *strategy) PrepareForUpdate(ctx context.Context, obj, old runtime.Object) {
	if s.kind.hasStatus {
		copyStatus(obj, old)
	}
	s.kind.prepareForUpdate(ctx, obj, old)
	if s.kind.withoutGeneration {
		return
	}
	if s.kind.newGeneration(obj, old, !sameContent(obj, old)) {
		objectMeta(obj).SetGeneration(objectMeta(old).GetGeneration() + 1)
	}
}

func (s *strategy) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	nameFn := validation.NameIsDNSSubdomain
	if s.kind.validateName != nil {
		nameFn = s.kind.validateName
	}
	// Here rather than by the caller, who checks metadata only after everything
	// else was right: one answer lists all problems.
	errs := validation.ValidateObjectMetaAccessor(objectMeta(obj), s.kind.namespaced, nameFn, field.NewPath("metadata"))
	return append(errs, s.kind.validate(ctx, obj, nil)...)
}

func (s *strategy) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	errs := validation.ValidateObjectMetaAccessorUpdate(objectMeta(obj), objectMeta(old), field.NewPath("metadata"))
	return append(errs, s.kind.validate(ctx, obj, old)...)
}

func (s *strategy) WarningsOnCreate(ctx context.Context, obj runtime.Object) []string {
	return s.kind.warnings(ctx, obj, nil)
}

func (s *strategy) WarningsOnUpdate(ctx context.Context, obj, old runtime.Object) []string {
	return s.kind.warnings(ctx, obj, old)
}

func (s *strategy) Canonicalize(runtime.Object) {}

// AllowCreateOnUpdate is false: a PUT of an object that is gone is an error.
func (s *strategy) AllowCreateOnUpdate() bool { return false }

// AllowUnconditionalUpdate is true: a PUT without resourceVersion overwrites.
func (s *strategy) AllowUnconditionalUpdate() bool { return true }

// statusStrategy applies to writes of the status subresource.
type statusStrategy struct {
	*strategy
	resetFields map[fieldpath.APIVersion]*fieldpath.Set
}

func newStatusStrategy(main *strategy, apiVersions []string) *statusStrategy {
	return &statusStrategy{main, perVersion(apiVersions, fieldpath.NewSet(fieldpath.MakePathOrDie("spec")))}
}

func (s *statusStrategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return s.resetFields
}

func (s *statusStrategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	copyContent(obj, old)
}

// WarningsOnUpdate has none: what a status says no user can change.
func (s *statusStrategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

func (s *statusStrategy) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	errs := validation.ValidateObjectMetaAccessorUpdate(objectMeta(obj), objectMeta(old), field.NewPath("metadata"))
	return append(errs, s.kind.validateStatus(ctx, obj, old)...)
}

// objectMeta is never called with anything but an object of a Kind, and each of
// them has metadata.
func objectMeta(obj runtime.Object) metav1.Object {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		panic(err)
	}
	return accessor
}
