// Package strategy serves any kind that a short description is given for: what
// is wiped, kept, filled in, counted and refused when an object is written,
// which fields select it, what a table shows of it, and where it is stored.
//
// Package kinds describes, the garden's API server installs. It must not know
// any kind.
package strategy

import (
	"context"
	"reflect"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Group is one API group: its kinds, stored in one folder of etcd per resource.
type Group struct {
	Name string
	// Version is served and, unless a kind says otherwise, stored.
	Version string
	// WithoutProtobuf groups have types with no protobuf encoding: they are JSON,
	// in etcd and on the wire.
	WithoutProtobuf bool
	// Categories are names under which "kubectl get" finds all kinds at once.
	Categories []string
	Kinds      []Kind
}

// Definition describes the kind whose internal type is T.
type Definition[T any] struct {
	// Resource and Singular are its names in paths and on the command line.
	Resource, Singular string
	ShortNames         []string
	// ClusterScoped kinds have no namespace.
	ClusterScoped bool
	// OtherVersions are served beside the group's version.
	OtherVersions []string
	// StorageVersion is used in etcd instead of the group's version.
	StorageVersion string
	// WithoutGeneration kinds do not count changes in metadata.generation.
	WithoutGeneration bool
	// Columns follow the name in tables; the age is always last.
	Columns []Column[T]
	// Fields are the selectable fields beside name and namespace. Every field
	// has to be there for every object, empty or not.
	Fields func(*T) fields.Set
	// Index names the selectable fields by which lists are looked up instead of
	// scanned.
	Index []string
	// PrepareForCreate fills in what the user may leave out.
	PrepareForCreate func(ctx context.Context, obj *T)
	// PrepareForUpdate does so on an update.
	PrepareForUpdate func(ctx context.Context, obj, old *T)
	// NewGeneration tells whether an update counts as a new generation, and may
	// take from obj what asked for one. changed says whether anything but
	// metadata and status differs; without the function that alone decides.
	NewGeneration func(obj, old *T, changed bool) bool
	// ValidateName checks metadata.name beyond what etcd needs; the default wants
	// a DNS subdomain.
	ValidateName func(name string, prefix bool) []string
	// Validate returns every problem of obj; old is nil on create.
	Validate func(ctx context.Context, obj, old *T) field.ErrorList
	// ValidateStatus returns every problem of a change of obj's status.
	ValidateStatus func(ctx context.Context, obj, old *T) field.ErrorList
	// Warnings are told to the user beside a write that is accepted; old is nil
	// on create.
	Warnings func(ctx context.Context, obj, old *T) []string
	// ValidateDelete returns an API status error when obj must not be deleted by
	// this request. It is not asked again while finalizers hold obj.
	ValidateDelete func(ctx context.Context, obj *T) error
	// Subresources are served beside status, by the name in their paths. Each
	// gets the storage of the kind.
	Subresources map[string]func(*registry.Store) rest.Storage
}

// Column is one column of a kind's table.
type Column[T any] struct {
	Name, Description string
	// Wide columns are shown with "-o wide" only.
	Wide bool
	// Number columns have integers in their cells.
	Number bool
	// Cell must be a string, or an integer where the column is one of numbers.
	Cell func(*T) any
}

// Kind is a Definition whose type is no longer visible. Define makes it.
type Kind struct {
	resource, singular string
	shortNames         []string
	namespaced         bool
	otherVersions      []string
	storageVersion     string
	withoutGeneration  bool
	hasStatus          bool
	index              []string
	columns            []columnHead
	validateName       func(name string, prefix bool) []string

	newObject, newList func() runtime.Object
	cells              func(runtime.Object) []any
	fields             func(runtime.Object) fields.Set
	prepareForCreate   func(context.Context, runtime.Object)
	prepareForUpdate   func(ctx context.Context, obj, old runtime.Object)
	newGeneration      func(obj, old runtime.Object, changed bool) bool
	validate           func(ctx context.Context, obj, old runtime.Object) field.ErrorList
	validateStatus     func(ctx context.Context, obj, old runtime.Object) field.ErrorList
	warnings           func(ctx context.Context, obj, old runtime.Object) []string
	validateDelete     func(ctx context.Context, obj runtime.Object) error
	subresources       map[string]func(*registry.Store) rest.Storage
}

type columnHead struct {
	name, description string
	wide, number      bool
}

// object is a pointer to T that is an API object.
type object[T any] interface {
	*T
	runtime.Object
}

// Define makes a Kind of a description. T is the internal type, L its list.
func Define[T, L any, P object[T], PL object[L]](definition Definition[T]) Kind {
	kind := Kind{
		resource:          definition.Resource,
		singular:          definition.Singular,
		shortNames:        definition.ShortNames,
		namespaced:        !definition.ClusterScoped,
		otherVersions:     definition.OtherVersions,
		storageVersion:    definition.StorageVersion,
		withoutGeneration: definition.WithoutGeneration,
		index:             definition.Index,
		validateName:      definition.ValidateName,
		newObject:         func() runtime.Object { return P(new(T)) },
		newList:           func() runtime.Object { return PL(new(L)) },
		fields:            func(runtime.Object) fields.Set { return nil },
		prepareForCreate:  func(context.Context, runtime.Object) {},
		prepareForUpdate:  func(context.Context, runtime.Object, runtime.Object) {},
		newGeneration:     func(_, _ runtime.Object, changed bool) bool { return changed },
		validate:          func(context.Context, runtime.Object, runtime.Object) field.ErrorList { return nil },
		validateStatus:    func(context.Context, runtime.Object, runtime.Object) field.ErrorList { return nil },
		warnings:          func(context.Context, runtime.Object, runtime.Object) []string { return nil },
		validateDelete:    func(context.Context, runtime.Object) error { return nil },
		subresources:      definition.Subresources,
	}
	_, kind.hasStatus = reflect.TypeFor[T]().FieldByName(statusField)
	of := func(obj runtime.Object) *T { return obj.(P) }

	for _, column := range definition.Columns {
		kind.columns = append(kind.columns, columnHead{column.Name, column.Description, column.Wide, column.Number})
	}
	kind.cells = func(obj runtime.Object) []any {
		cells := make([]any, len(definition.Columns))
		for i, column := range definition.Columns {
			cells[i] = column.Cell(of(obj))
		}
		return cells
	}
	if definition.Fields != nil {
		kind.fields = func(obj runtime.Object) fields.Set { return definition.Fields(of(obj)) }
	}
	if definition.PrepareForCreate != nil {
		kind.prepareForCreate = func(ctx context.Context, obj runtime.Object) { definition.PrepareForCreate(ctx, of(obj)) }
	}
	if definition.PrepareForUpdate != nil {
		kind.prepareForUpdate = func(ctx context.Context, obj, old runtime.Object) {
			definition.PrepareForUpdate(ctx, of(obj), of(old))
		}
	}
	if definition.NewGeneration != nil {
		kind.newGeneration = func(obj, old runtime.Object, changed bool) bool {
			return definition.NewGeneration(of(obj), of(old), changed)
		}
	}
	if definition.Validate != nil {
		kind.validate = func(ctx context.Context, obj, old runtime.Object) field.ErrorList {
			if old == nil {
				return definition.Validate(ctx, of(obj), nil)
			}
			return definition.Validate(ctx, of(obj), of(old))
		}
	}
	if definition.ValidateStatus != nil {
		kind.validateStatus = func(ctx context.Context, obj, old runtime.Object) field.ErrorList {
			return definition.ValidateStatus(ctx, of(obj), of(old))
		}
	}
	if definition.Warnings != nil {
		kind.warnings = func(ctx context.Context, obj, old runtime.Object) []string {
			if old == nil {
				return definition.Warnings(ctx, of(obj), nil)
			}
			return definition.Warnings(ctx, of(obj), of(old))
		}
	}
	if definition.ValidateDelete != nil {
		kind.validateDelete = func(ctx context.Context, obj runtime.Object) error { return definition.ValidateDelete(ctx, of(obj)) }
	}
	return kind
}
