package controllertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Guarded wants a controller that runs to hold an object by a finalizer, to say
// in an event who it is referred to by, and to let it go as soon as that is gone.
// Both objects are there already, and deleted here.
func Guarded(t *testing.T, c client.Client, recorder *events.FakeRecorder, object, referrer client.Object, finalizer, eventType string) {
	t.Helper()
	ctx := t.Context()
	find := func() error { return c.Get(ctx, client.ObjectKeyFromObject(object), object) }
	Eventually(t, func() error {
		if err := find(); err != nil {
			return err
		}
		if !slices.Contains(object.GetFinalizers(), finalizer) {
			return fmt.Errorf("finalizers are %v", object.GetFinalizers())
		}
		return nil
	})
	if err := c.Delete(ctx, object); err != nil {
		t.Fatal(err)
	}
	name := cache.NewObjectName(referrer.GetNamespace(), referrer.GetName()).String()
	for said := ""; !strings.Contains(said, name); said = <-recorder.Events {
		if said != "" && !strings.HasPrefix(said, eventType+" ResourceReferenced ") {
			t.Errorf("an event is %q", said)
		}
	}
	if err := find(); err != nil {
		t.Errorf("with a referrer: %v", err)
	}
	if err := c.Delete(ctx, referrer); err != nil {
		t.Fatal(err)
	}
	Gone(t, c, object)
}

// Gone waits for an object to be.
func Gone(tb testing.TB, c client.Client, object client.Object) {
	tb.Helper()
	Eventually(tb, func() error {
		err := c.Get(tb.Context(), client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("%T %q is still there: %w", object, object.GetName(), err)
	})
}
