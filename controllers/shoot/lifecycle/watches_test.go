package lifecycle_test

import (
	"context"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/machines"
)

// run starts the reconciler in a manager, as app does, for one namespace.
func (h *harness) run() {
	h.Helper()
	mgr, err := manager.New(gardentest.Start(h.T).RESTConfig(), manager.Options{
		Scheme: scheme.Client(),
		Cache:  cache.Options{DefaultNamespaces: map[string]cache.Config{h.namespace: {}}},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{
			&corev1.Secret{}, &gardencorev1beta1.InternalSecret{},
		}}},
		Metrics:                server.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
		Controller:             config.Controller{SkipNameValidation: ptr.To(true)},
	})
	if err != nil {
		h.Fatal(err)
	}
	h.reconciler.Client, h.reconciler.Clock, h.reconciler.Recorder = nil, nil, nil
	if err := h.reconciler.AddToManager(mgr); err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	h.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			h.Errorf("the manager ended with %v", err)
		}
	})
}

func TestWatches(t *testing.T) {
	h := newHarness(t)
	h.run()
	foreign := h.create(0, func(s *gardencorev1beta1.Shoot) { s.Name, s.Spec.SeedName = "foreign", nil })
	shoot := h.create(1, nil)
	done := func() bool {
		s := h.get(shoot)
		last := s.Status.LastOperation
		return last != nil && last.State == gardencorev1beta1.LastOperationStateSucceeded && s.Status.ObservedGeneration == s.Generation
	}
	h.eventually("the cluster is made", done)
	h.wantMachines("control-plane-0 Running", "worker-0 Running")

	h.change(shoot, func(s *gardencorev1beta1.Shoot) { setWorkers(s, 2) })
	h.eventually("the cluster is larger", done)
	h.wantMachines("control-plane-0 Running", "worker-0 Running", "worker-1 Running")

	if got := h.get(foreign); got.Status.LastOperation != nil || len(got.Finalizers) > 0 {
		t.Errorf("a shoot without a seed was acted on: %+v", got.Status)
	}
	h.delete(shoot)
	h.eventually("the shoot is gone", func() bool {
		return h.garden.Get(t.Context(), client.ObjectKeyFromObject(shoot), &gardencorev1beta1.Shoot{}) != nil
	})
	h.wantMachines()
}

func TestRestartOfWhatRunsMachines(t *testing.T) {
	h := newHarness(t)
	restarted := make(chan struct{})
	h.reconciler.Restarted = func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-restarted:
			return nil
		}
	}
	shoot := h.settle(h.create(1, nil))
	h.run()
	for range 2 {
		if err := h.machines.Stop(t.Context(), shoot.Status.TechnicalID, "worker-0", 0); err != nil {
			t.Fatal(err)
		}
		restarted <- struct{}{}
		h.eventually("the machine runs again", func() bool {
			m, err := h.machines.Get(t.Context(), shoot.Status.TechnicalID, "worker-0")
			return err == nil && m.State == machines.StateRunning && h.get(shoot).Status.LastOperation.State == gardencorev1beta1.LastOperationStateSucceeded
		})
	}
}
