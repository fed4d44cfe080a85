package controllertest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/memory"
)

// mostWrites is more than any controller needs for what a test gives it.
const mostWrites = 20

// Killed runs a controller that fails at its n-th write and all after it, as one
// does whose process is killed there, and runs it anew; for every n until it needs
// fewer. The controllers take their client from the manager. prepare makes what
// they work on, anew each time; what it returns tells what is missing at the end.
func Killed(t *testing.T, controller func() Adder, prepare func(t *testing.T) (done func() error)) {
	t.Helper()
	writes := &Writes{}
	start := func() (end func()) {
		o := options(t)
		o.NewClient = func(config *rest.Config, clientOptions client.Options) (client.Client, error) {
			c, err := memory.NewClient(config, clientOptions)
			return Watched(watchless{c}, writes), err
		}
		return run(t, o, controller())
	}
	for n := 1; n < mostWrites; n++ {
		writes.Fail(n)
		end := start()
		done := prepare(t)
		Eventually(t, func() error {
			if err := done(); err != nil && writes.Count() < n {
				return fmt.Errorf("after %d writes, of which the %d. is to fail: %w", writes.Count(), n, err)
			}
			return nil
		})
		end()
		failed := writes.Count() >= n
		writes.Fail(0)
		end = start()
		Eventually(t, done)
		end()
		if !failed {
			if n == 1 {
				t.Error("it wrote nothing")
			}
			return
		}
	}
	t.Errorf("it still writes after %d writes", mostWrites)
}

// watchless is a client of which nobody asks to watch.
type watchless struct{ client.Client }

// Watch implements client.WithWatch.
func (watchless) Watch(context.Context, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
	return nil, errors.New("this client cannot watch")
}
