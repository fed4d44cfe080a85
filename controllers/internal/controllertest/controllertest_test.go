package controllertest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// TestInterrupted wants each write of a run to fail once, and what follows a
// failed one to fail too.
func TestInterrupted(t *testing.T) {
	c, writes := controllertest.Client(t)
	ctx, namespace := context.Background(), gardentest.Namespace(t)
	var prefix string
	var runs, failures int
	run := func() error {
		runs++
		for i := range 3 {
			object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprint(prefix, i)}}
			if err := client.IgnoreAlreadyExists(c.Create(ctx, object)); err != nil {
				if !errors.Is(err, controllertest.ErrInjected) {
					t.Fatal(err)
				}
				failures++
				return err
			}
		}
		return nil
	}
	controllertest.Interrupted(t, writes, func(*testing.T) { prefix = rand.String(6) + "-" }, run, func(t *testing.T) {
		for i := range 3 {
			if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: fmt.Sprint(prefix, i)}, &corev1.ConfigMap{}); err != nil {
				t.Error(err)
			}
		}
	})
	if runs != 7 || failures != 3 {
		t.Errorf("%d runs with %d failures, want 7 and 3", runs, failures)
	}
}
