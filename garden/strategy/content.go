package strategy

import (
	"reflect"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
)

const statusField = "Status"

// Every internal type is a struct of TypeMeta, ObjectMeta, its content (mostly
// one Spec, but bindings and secrets have several fields) and perhaps a Status.

func isContent(name string) bool {
	return name != "TypeMeta" && name != "ObjectMeta" && name != statusField
}

// copyContent makes everything of to but metadata and status what it is in from.
func copyContent(to, from runtime.Object) {
	target, source := reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem()
	for i := range target.NumField() {
		if isContent(target.Type().Field(i).Name) {
			target.Field(i).Set(source.Field(i))
		}
	}
}

// sameContent tells whether two objects agree in everything but metadata and
// status.
func sameContent(a, b runtime.Object) bool {
	left, right := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range left.NumField() {
		if isContent(left.Type().Field(i).Name) &&
			!apiequality.Semantic.DeepEqual(left.Field(i).Interface(), right.Field(i).Interface()) {
			return false
		}
	}
	return true
}

// copyStatus makes to's status that of from.
func copyStatus(to, from runtime.Object) {
	reflect.ValueOf(to).Elem().FieldByName(statusField).Set(reflect.ValueOf(from).Elem().FieldByName(statusField))
}

func wipeStatus(obj runtime.Object) {
	reflect.ValueOf(obj).Elem().FieldByName(statusField).SetZero()
}
