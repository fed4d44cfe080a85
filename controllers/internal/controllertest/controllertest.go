// Package controllertest runs controllers in tests: beside a real garden, with a
// real cache, and with writes that fail when a test wants them to.
//
// Tests of controllers call it; nothing else may. It must not know what they
// test.
package controllertest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/memory"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

const (
	// patience bounds waits; pause is between two looks; stop is what a manager may
	// take to end, which on a busy host is what its last requests take.
	patience = 30 * time.Second
	pause    = 20 * time.Millisecond
	stop     = time.Minute
)

// Adder is a controller that has not been added yet.
type Adder interface{ AddToManager(manager.Manager) error }

// Func is an Adder.
type Func func(manager.Manager) error

// AddToManager implements Adder.
func (f Func) AddToManager(mgr manager.Manager) error { return f(mgr) }

// Run runs controllers on the shared garden of this test binary, with the
// indexes that app registers, until the test ends or the function that it
// returns is called.
func Run(tb testing.TB, controllers ...Adder) (end func()) {
	tb.Helper()
	return run(tb, options(tb), controllers...)
}

func run(tb testing.TB, options manager.Options, controllers ...Adder) (end func()) {
	tb.Helper()
	mgr, err := manager.New(memory.Compact(gardentest.Start(tb).RESTConfig()), options)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := index.Register(ctx, mgr.GetFieldIndexer()); err != nil {
		tb.Fatal(err)
	}
	for _, controller := range controllers {
		if err := controller.AddToManager(mgr); err != nil {
			tb.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("running the controllers: %v", err)
		}
	})
	tb.Cleanup(end)
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		tb.Fatal("the controllers' cache is not complete")
	}
	return end
}

func options(tb testing.TB) manager.Options {
	logger := logr.Discard()
	if testing.Verbose() {
		logger = untilTheEnd(tb)
	}
	return manager.Options{
		Scheme: scheme.Client(), Logger: logger,
		Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Cache:                   cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
		Client:                  client.Options{Cache: &client.CacheOptions{DisableFor: memory.Uncached()}},
		NewClient:               memory.NewClient,
		GracefulShutdownTimeout: ptr.To(stop),
		// Names are unique within a process; tests run several managers in one. The
		// priority queue of controller-runtime 0.24.1 hangs when it is shut down while an
		// item is handed out (kubernetes-sigs/controller-runtime#3538): processes wait for
		// it as long as they are told, here it would fail tests.
		Controller: config.Controller{SkipNameValidation: ptr.To(true), UsePriorityQueue: ptr.To(false)},
	}
}

// untilTheEnd logs to a test until it ends, and drops what comes later: a
// manager that has stopped still says so from goroutines that nobody waits
// for, and a line for a test that is over ends the whole process.
func untilTheEnd(tb testing.TB) logr.Logger {
	var mu sync.Mutex
	ended := false
	tb.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
	})
	return funcr.New(func(prefix, args string) {
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			tb.Log(prefix, args)
		}
	}, funcr.Options{})
}

// Eventually waits until a condition holds; what it returns last is in the
// failure. Nil means that it holds.
func Eventually(tb testing.TB, condition func() error) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("not after %s: %v", patience, err)
		}
		time.Sleep(pause)
	}
}

// ErrInjected is what a write fails with that a test wants to fail.
var ErrInjected = errors.New("this write fails in this test")

// Writes counts the writes of a client and lets one of them fail, as a process
// that is killed there would. Statuses and subresources count as well.
type Writes struct {
	count, fail atomic.Int64
}

// Count is how many writes were tried.
func (w *Writes) Count() int { return int(w.count.Load()) }

// Fail makes the n-th write from now on, counted from 1, and all after it fail
// before they reach the garden; 0 lets all pass again.
func (w *Writes) Fail(n int) {
	w.count.Store(0)
	w.fail.Store(int64(n))
}

func (w *Writes) next() error {
	count, fail := w.count.Add(1), w.fail.Load()
	if fail > 0 && count >= fail {
		return ErrInjected
	}
	return nil
}

// Client returns a client with all rights that reads without a cache, and the
// count of its writes.
func Client(tb testing.TB) (client.WithWatch, *Writes) {
	tb.Helper()
	c, err := client.NewWithWatch(gardentest.Start(tb).RESTConfig(), client.Options{Scheme: scheme.Client()})
	if err != nil {
		tb.Fatal(err)
	}
	writes := &Writes{}
	return Watched(c, writes), writes
}

// Watched puts a count around a client's writes.
func Watched(inner client.WithWatch, w *Writes) client.WithWatch {
	return interceptor.NewClient(inner, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return w.then(func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return w.then(func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return w.then(func() error { return c.Patch(ctx, o, p, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return w.then(func() error { return c.Delete(ctx, o, opts...) })
		},
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteAllOfOption) error {
			return w.then(func() error { return c.DeleteAllOf(ctx, o, opts...) })
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, name string, o, sub client.Object, opts ...client.SubResourceCreateOption) error {
			return w.then(func() error { return c.SubResource(name).Create(ctx, o, sub, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, name string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return w.then(func() error { return c.SubResource(name).Update(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return w.then(func() error { return c.SubResource(name).Patch(ctx, o, p, opts...) })
		},
	})
}

func (w *Writes) then(write func() error) error {
	if err := w.next(); err != nil {
		return err
	}
	return write()
}

// Interrupted calls run once for every write that it makes: each time another
// one fails, and all after it, after which run is called again with nothing
// failing, as after a restart. check has to find the same end each time. fresh
// makes what run works on.
func Interrupted(t *testing.T, writes *Writes, fresh func(t *testing.T), run func() error, check func(t *testing.T)) {
	t.Helper()
	for n := 1; ; n++ {
		writes.Fail(0)
		fresh(t)
		writes.Fail(n)
		err := run()
		reached := writes.Count() >= n
		writes.Fail(0)
		if !reached {
			if err != nil {
				t.Fatalf("without a failure: %v", err)
			}
			check(t)
			return
		}
		if err := run(); err != nil {
			t.Fatalf("after write %d failed: %v", n, err)
		}
		check(t)
	}
}
