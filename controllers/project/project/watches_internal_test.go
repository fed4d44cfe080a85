package project

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// TestPredicates: which events of what a Project owns wake it.
func TestPredicates(t *testing.T) {
	binding := func(version, role string, subjects ...string) *rbacv1.RoleBinding {
		b := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}, RoleRef: rbacv1.RoleRef{Name: role}}
		for _, name := range subjects {
			b.Subjects = append(b.Subjects, rbacv1.Subject{Name: name})
		}
		return b
	}
	labelled := binding("2", "a", "anna")
	labelled.Labels = map[string]string{"a": "b"}
	for name, test := range map[string]struct {
		before, after *rbacv1.RoleBinding
		want          bool
	}{
		"another role":   {binding("1", "a", "anna"), binding("2", "b", "anna"), true},
		"other subjects": {binding("1", "a", "anna"), binding("2", "a", "anna", "mallory"), true},
		"a resync":       {binding("1", "a", "anna"), binding("1", "a", "anna"), true},
		"something else": {binding("1", "a", "anna"), labelled, false},
	} {
		if got := changedBindings().Update(event.UpdateEvent{ObjectOld: test.before, ObjectNew: test.after}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if changedBindings().Create(event.CreateEvent{Object: labelled}) || !changedBindings().Delete(event.DeleteEvent{Object: labelled}) {
		t.Error("a binding wakes its project when it goes, not when it comes")
	}
	if p := deletions(); p.Create(event.CreateEvent{Object: labelled}) || p.Update(event.UpdateEvent{ObjectOld: labelled, ObjectNew: labelled}) || !p.Delete(event.DeleteEvent{Object: labelled}) {
		t.Error("a namespace wakes its project when it goes, not before")
	}
}
