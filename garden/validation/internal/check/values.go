// Package check has the small tests that rules of several kinds are made of.
//
// The packages of garden/validation call it. Everything here is pure: a path and
// a value in, problems out. It must not know any kind, only fields that several
// kinds have.
package check

import (
	"fmt"
	"slices"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Required wants a value; purpose completes "is required: it ...".
func Required(path *field.Path, value, purpose string) field.ErrorList {
	if value != "" {
		return nil
	}
	return field.ErrorList{field.Required(path, purpose)}
}

// OneOf wants one of allowed.
func OneOf[T ~string](path *field.Path, value T, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, allowed)}
}

// Immutable wants a field to stay as it is, and says what it is. Nil and empty
// slices and maps are the same.
func Immutable[T any](path *field.Path, value, old T) field.ErrorList {
	if apiequality.Semantic.DeepEqual(value, old) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, show(value), fmt.Sprintf("cannot be changed, it is %s", quote(old)))}
}

// ImmutableOnceSet wants a field that has a value to keep it.
func ImmutableOnceSet[T any](path *field.Path, value, old *T) field.ErrorList {
	if old == nil {
		return nil
	}
	return Immutable(path, value, old)
}

// show is value, or what it points to.
func show[T any](value T) any {
	switch pointer := any(value).(type) {
	case *string:
		if pointer == nil {
			return ""
		}
		return *pointer
	case *bool:
		if pointer != nil {
			return *pointer
		}
	case *int32:
		if pointer != nil {
			return *pointer
		}
	}
	return value
}

// quote is how an old value appears in a sentence.
func quote[T any](value T) string {
	switch shown := show(value).(type) {
	case string:
		return fmt.Sprintf("%q", shown)
	case fmt.Stringer:
		return shown.String()
	default:
		if text := fmt.Sprintf("%v", shown); len(text) <= 60 && text != "<nil>" {
			return text
		}
		return "immutable"
	}
}

// Unique wants items to differ in their key. Problems are at the child of an
// item's path, or at the item itself if child is empty. Empty strings are not
// counted: that something is missing is another rule's.
func Unique[T any, K comparable](path *field.Path, child string, items []T, key func(T) K) field.ErrorList {
	var errs field.ErrorList
	var zero K
	seen := make(map[K]bool, len(items))
	for i, item := range items {
		k := key(item)
		if k != zero && seen[k] {
			at := path.Index(i)
			if child != "" {
				at = at.Child(child)
			}
			errs = append(errs, field.Duplicate(at, k))
		}
		seen[k] = true
	}
	return errs
}

// UniqueStrings wants no value twice.
func UniqueStrings[T ~string](path *field.Path, values []T) field.ErrorList {
	return Unique(path, "", values, func(v T) T { return v })
}

type number interface{ ~int | ~int32 | ~int64 }

// AtLeast wants a number not below limit.
func AtLeast[T number](path *field.Path, value, limit T) field.ErrorList {
	if value >= limit {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value, fmt.Sprintf("must be %d or more", limit))}
}

// NonNegative wants a quantity of 0 or more.
func NonNegative(path *field.Path, value resource.Quantity) field.ErrorList {
	if value.Sign() >= 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value.String(), "must be 0 or more")}
}

// Positive wants a quantity above 0.
func Positive(path *field.Path, value resource.Quantity) field.ErrorList {
	if value.Sign() > 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value.String(), "must be more than 0")}
}
