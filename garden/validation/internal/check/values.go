// Package check has the small tests that rules of several kinds are made of.
//
// The packages of garden/validation call it. Everything here is pure: a path and
// a value in, problems out. It must not know any kind, only fields that several
// kinds have.
package check

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/cache"
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

// Offered is the problem of a value that is not among what a cloud profile
// offers, which may be nothing at all.
func Offered[T ~string](path *field.Path, value T, offered []T) *field.Error {
	if len(offered) == 0 {
		return field.Invalid(path, value, "the cloud profile offers none")
	}
	return field.NotSupported(path, value, offered)
}

// Immutable wants a field to stay as it is, and says what that is where it is a
// single value. Nil and empty slices and maps are the same.
func Immutable[T any](path *field.Path, value, old T) field.ErrorList {
	if apiequality.Semantic.DeepEqual(value, old) {
		return nil
	}
	before, simple := single(old)
	if !simple {
		return field.ErrorList{field.Forbidden(path, "cannot be changed")}
	}
	after, _ := single(value)
	if text, ok := before.(string); ok {
		before = strconv.Quote(text)
	}
	return field.ErrorList{field.Invalid(path, after, fmt.Sprintf("cannot be changed, it is %v", before))}
}

// ImmutableOnceSet wants a field that has a value to keep it.
func ImmutableOnceSet[T any](path *field.Path, value, old *T) field.ErrorList {
	if old == nil {
		return nil
	}
	return Immutable(path, value, old)
}

// single returns a string, number or bool, or what a pointer to one leads to,
// and tells whether value is one or can be written in one line: references,
// selectors and lists of strings can. A nil pointer is the empty string.
func single(value any) (any, bool) {
	v := reflect.ValueOf(value)
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "", true
		}
		v = v.Elem()
	}
	switch v := v.Interface().(type) {
	case corev1.SecretReference:
		return cache.NewObjectName(v.Namespace, v.Name).String(), true
	case corev1.ObjectReference:
		return strings.TrimSpace(v.Kind + " " + cache.NewObjectName(v.Namespace, v.Name).String()), true
	case []corev1.ObjectReference:
		names := make([]string, len(v))
		for i, ref := range v {
			names[i] = cache.NewObjectName(ref.Namespace, ref.Name).String()
		}
		return strings.Join(names, ", "), true
	case metav1.LabelSelector:
		return metav1.FormatLabelSelector(&v), true
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), true
	case reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64:
		return v.Interface(), true
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.String {
			return nil, false
		}
		texts := make([]string, v.Len())
		for i := range texts {
			texts[i] = v.Index(i).String()
		}
		return strings.Join(texts, ", "), true
	default:
		return nil, false
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
