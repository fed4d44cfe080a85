package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/shoots"
)

func TestCreate(t *testing.T) {
	h := newHarness(t)
	shoot := h.settle(h.create(1, nil))
	h.wantOperation(shoot, "Create Succeeded 100")
	h.wantMachines("control-plane-0 Running", "worker-0 Running")

	project := strings.TrimPrefix(h.namespace, "garden-")
	s := shoot.Status
	if s.TechnicalID != "shoot--"+project+"--demo" || s.UID != shoot.UID || *s.SeedName != "local" || s.Gardener.Name != "agent" || s.ObservedGeneration != shoot.Generation || s.IsHibernated {
		t.Errorf("status is %+v", s)
	}
	if !slices.Contains(shoot.Finalizers, "gardener") {
		t.Errorf("finalizers are %q", shoot.Finalizers)
	}
	kubeconfig, keys := h.secrets()
	owned := []metav1.Object{kubeconfig, keys}
	all := h.published()
	for i := range all {
		owned = append(owned, &all[i])
	}
	for _, o := range owned {
		if !metav1.IsControlledBy(o, shoot) {
			t.Errorf("%q is not the shoot's: %v", o.GetName(), o.GetOwnerReferences())
		}
	}
	if len(all) != 2 || all[0].Name != "demo-control-plane-0" || all[1].Name != "demo-worker-0" {
		t.Fatalf("machines are %+v", all)
	}
	if m := all[1]; m.Spec.Pool != "worker" || m.Spec.Role != "Worker" || m.Spec.ProviderType != "local" || m.Spec.Image != "node:v1.36.3" || m.Status.State != "Running" || len(m.Status.Addresses) != 1 {
		t.Errorf("the worker is %+v, %+v", m.Spec, m.Status)
	}
	if err := shoots.Authorities(keys.Data).Validate(); err != nil {
		t.Error(err)
	}
	h.wantAccess(shoot, keys)
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig.Data["kubeconfig"])
	if err != nil || config.Host != "https://127.0.0.1:20000" || !bytes.Equal(config.CAData, keys.Data["ca.crt"]) {
		t.Errorf("kubeconfig %+v, %v", config, err)
	}
	told := h.recorded()
	for _, want := range []string{"Normal JoiningWorkers joining workers took 0.0s", "Normal Reconciled The cluster is ready."} {
		if !strings.Contains(told, want) {
			t.Errorf("events do not tell %q:\n%s", want, told)
		}
	}
	if strings.Contains(told, "Warning") {
		t.Errorf("events warn:\n%s", told)
	}
}

func TestNothingIsDoneTwice(t *testing.T) {
	h := newHarness(t)
	shoot := h.settle(h.create(1, nil))
	calls := len(h.machines.Calls())
	again := h.settle(shoot)
	if again.ResourceVersion != shoot.ResourceVersion {
		t.Errorf("the shoot was written again: %+v", again.Status.LastOperation)
	}
	if after := h.machines.Calls(); len(after) != calls {
		t.Errorf("the driver was called: %v", after[calls:])
	}
}

func TestAUserMendsAMistake(t *testing.T) {
	h := newHarness(t)
	h.reconciler.Image = imageOf("v1.36.3")
	shoot := h.create(1, func(s *gardencorev1beta1.Shoot) { s.Spec.Kubernetes.Version = "1.35.4" })
	failed := h.settle(shoot)
	h.wantOperation(failed, "Create Failed 0")
	h.wantMachines()
	if !strings.Contains(failed.Status.LastOperation.Description, "spec.kubernetes.version") {
		t.Errorf("%q does not name the field", failed.Status.LastOperation.Description)
	}
	if e := failed.Status.LastErrors; len(e) != 1 || !slices.Equal(e[0].Codes, []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorConfigurationProblem}) {
		t.Errorf("last errors are %+v", e)
	}
	if again := h.settle(shoot); again.ResourceVersion != failed.ResourceVersion {
		t.Error("what only the user can mend was tried again")
	}
	h.change(shoot, func(s *gardencorev1beta1.Shoot) { s.Spec.Kubernetes.Version = "1.36.3" })
	mended := h.settle(shoot)
	h.wantOperation(mended, "Create Succeeded 100")
	if mended.Status.LastErrors != nil || mended.Status.ObservedGeneration != mended.Generation {
		t.Errorf("status is %+v", mended.Status)
	}
}

// imageOf finds the node image of one version, as on a host that has no other.
func imageOf(version string) func(context.Context, string) (string, error) {
	return func(_ context.Context, wanted string) (string, error) {
		if wanted != version {
			return "", fault.New(fault.Invalid, "spec.kubernetes.version: %q has no node image", wanted)
		}
		return "node:" + wanted, nil
	}
}

// TestATellingFailsFirst loses the status of a Shoot that only its user can
// mend: it is to be told again.
func TestATellingFailsFirst(t *testing.T) {
	h := newHarness(t)
	shoot := h.create(0, nil)
	h.reconciler.Image = func(context.Context, string) (string, error) {
		// From here on, once: what comes before is written.
		h.reconciler.Client = interceptor.NewClient(h.garden, interceptor.Funcs{
			SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
				return errors.New("the connection was cut")
			},
		})
		return "", fault.New(fault.Invalid, "no image")
	}
	if _, err := h.reconcile(shoot); err == nil {
		t.Error("nobody tries again to tell what is wrong")
	}
	h.reconciler.Client = h.garden
	h.reconciler.Image = func(context.Context, string) (string, error) { return "", fault.New(fault.Invalid, "no image") }
	h.wantOperation(h.settle(shoot), "Create Failed 0")
}

func TestTroubleThatPasses(t *testing.T) {
	for name, tc := range map[string]struct {
		problem error
		want    string
		codes   []gardencorev1beta1.ErrorCode
		after   time.Duration
		error   bool
		quiet   bool
	}{
		"a hiccup":           {problem: fault.New(fault.Transient, "no"), want: "Create Error", codes: []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorRetryableInfraDependencies}, error: true},
		"a defect":           {problem: errors.New("no"), want: "Create Error", error: true},
		"no room":            {problem: fault.New(fault.Exhausted, "no"), want: "Create Error", codes: []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorInfraResourcesDepleted}, after: time.Minute},
		"something to come":  {problem: fault.New(fault.Waiting, "no"), want: "Create Processing", after: 5 * time.Second, quiet: true},
		"nothing came":       {problem: fault.New(fault.Transient, "after 5m still: %w", fault.New(fault.Waiting, "no")), want: "Create Error", codes: []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorRetryableInfraDependencies}, error: true},
		"one of two matters": {problem: errors.Join(fault.New(fault.Transient, "no"), fault.New(fault.Waiting, "wait")), want: "Create Error", codes: []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorRetryableInfraDependencies}, error: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			shoot := h.create(0, nil)
			h.failOnce(fake.Start, tc.problem)
			result, err := h.reconcile(shoot)
			if result.RequeueAfter != tc.after || (err != nil) != tc.error {
				t.Errorf("got %+v, %v", result, err)
			}
			failed := h.get(shoot)
			last := failed.Status.LastOperation
			if got := fmt.Sprintf("%s %s", last.Type, last.State); got != tc.want || !strings.Contains(last.Description, "booting control plane: ") {
				t.Errorf("the last operation is %+v", last)
			}
			switch e := failed.Status.LastErrors; {
			case tc.quiet:
				if len(e) != 0 {
					t.Errorf("last errors are %+v", e)
				}
			case len(e) != 1 || e[0].Description != last.Description || !slices.Equal(e[0].Codes, tc.codes):
				t.Errorf("last errors are %+v", e)
			}
			healed := h.settle(shoot)
			h.wantOperation(healed, "Create Succeeded 100")
			if healed.Status.LastErrors != nil {
				t.Errorf("last errors stay: %+v", healed.Status.LastErrors)
			}
		})
	}
}

func TestNoRoom(t *testing.T) {
	h := newHarness(t)
	h.reconciler.Room = func(_ context.Context, c shoots.Cluster) error {
		return fault.New(fault.Exhausted, "%d pools are too many", len(c.Pools))
	}
	shoot := h.create(1, nil)
	if result, err := h.reconcile(shoot); err != nil || result.RequeueAfter != time.Minute {
		t.Errorf("got %+v, %v", result, err)
	}
	h.wantMachines()
	if got := h.get(shoot).Status.LastOperation.Description; got != "2 pools are too many" {
		t.Errorf("the user reads %q", got)
	}
}

// hang makes the flow stand still inside a machine until it is ended; begun
// tells that it does.
func (h *harness) hang() (begun chan bool) {
	begun = make(chan bool, 10)
	h.machines.Script = func(ctx context.Context, _ fake.Guest, _ machines.Command) error {
		begun <- true
		<-ctx.Done()
		return ctx.Err()
	}
	return begun
}

type outcome struct {
	result reconcile.Result
	err    error
}

func (h *harness) inBackground(ctx context.Context, shoot *gardencorev1beta1.Shoot) chan outcome {
	done := make(chan outcome, 1)
	go func() {
		result, err := h.reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(shoot)})
		done <- outcome{result, err}
	}()
	return done
}

func TestAFlowThatHangsEndsWhenTheShootChanges(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*harness, *gardencorev1beta1.Shoot)
		check  func(*harness, *gardencorev1beta1.Shoot)
	}{
		"its spec": {
			func(h *harness, shoot *gardencorev1beta1.Shoot) {
				h.change(shoot, func(s *gardencorev1beta1.Shoot) { setWorkers(s, 2) })
			},
			func(h *harness, shoot *gardencorev1beta1.Shoot) {
				h.wantOperation(h.settle(shoot), "Create Succeeded 100")
				h.wantMachines("control-plane-0 Running", "worker-0 Running", "worker-1 Running")
			},
		},
		"its end": {
			func(h *harness, shoot *gardencorev1beta1.Shoot) { h.delete(shoot) },
			func(h *harness, shoot *gardencorev1beta1.Shoot) {
				if _, err := h.reconcile(shoot); err != nil {
					h.Error(err)
				}
				h.wantMachines()
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			shoot := h.create(1, nil)
			begun := h.hang()
			done := h.inBackground(t.Context(), shoot)
			<-begun
			tc.change(h, shoot)
			var got outcome
			h.eventually("the flow has ended", func() bool {
				h.clock.Step(time.Second)
				select {
				case got = <-done:
					return true
				default:
					return false
				}
			})
			if got.err != nil || got.result.RequeueAfter <= 0 || got.result.RequeueAfter > time.Second {
				t.Errorf("got %+v, %v: want to look again at once", got.result, got.err)
			}
			if s := h.get(shoot).Status; s.LastOperation.State != gardencorev1beta1.LastOperationStateProcessing || s.LastErrors != nil {
				t.Errorf("the user reads %+v, %+v", s.LastOperation, s.LastErrors)
			}
			if told := h.recorded(); strings.Contains(told, "Warning") {
				t.Errorf("events warn of what the user asked for:\n%s", told)
			}
			h.machines.Script = booted
			tc.check(h, shoot)
		})
	}
}

// TestAChangeInTheLastMoment alters the Shoot while its flow runs, unseen: the
// operation must not count as having done it.
func TestAChangeInTheLastMoment(t *testing.T) {
	for name, end := range map[string]error{"success": nil, "failure": fault.New(fault.Invalid, "no")} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			shoot := h.create(1, nil)
			changed := false
			h.machines.Fail = func(c fake.Call) error {
				if c.Method != fake.Start || changed {
					return nil
				}
				changed = true
				h.change(shoot, func(s *gardencorev1beta1.Shoot) {
					setWorkers(s, 2)
					s.Spec.Hibernation = &gardencorev1beta1.Hibernation{Enabled: ptr.To(true)}
				})
				return end
			}
			first := h.settle(shoot)
			if first.Status.ObservedGeneration != 1 || first.Generation != 2 || first.Status.IsHibernated {
				t.Errorf("generation %d of %d counts as done, hibernated: %v", first.Status.ObservedGeneration, first.Generation, first.Status.IsHibernated)
			}
			second := h.settle(shoot)
			if second.Status.ObservedGeneration != 2 || !second.Status.IsHibernated {
				t.Errorf("the change was not acted on: %+v", second.Status)
			}
		})
	}
}

func TestAProcessThatEnds(t *testing.T) {
	h := newHarness(t)
	shoot := h.create(1, nil)
	begun := h.hang()
	ctx, cancel := context.WithCancel(t.Context())
	done := h.inBackground(ctx, shoot)
	<-begun
	cancel()
	if got := <-done; got.err != nil || !got.result.IsZero() {
		t.Errorf("got %+v, %v", got.result, got.err)
	}
	left := h.get(shoot)
	if s := left.Status; s.LastOperation.State != gardencorev1beta1.LastOperationStateProcessing || s.LastErrors != nil || strings.Contains(s.LastOperation.Description, "cancel") {
		t.Errorf("the user reads %+v, %+v", s.LastOperation, s.LastErrors)
	}
	if told := h.recorded(); strings.Contains(told, "Warning") {
		t.Errorf("events warn:\n%s", told)
	}
	h.machines.Script = booted
	h.wantOperation(h.settle(shoot), "Create Succeeded 100")
}

func TestHibernation(t *testing.T) {
	h := newHarness(t)
	shoot := h.settle(h.create(1, nil))
	for _, asleep := range []bool{true, false} {
		h.change(shoot, func(s *gardencorev1beta1.Shoot) {
			s.Spec.Hibernation = &gardencorev1beta1.Hibernation{Enabled: &asleep}
		})
		shoot = h.settle(shoot)
		h.wantOperation(shoot, "Reconcile Succeeded 100")
		if shoot.Status.IsHibernated != asleep {
			t.Errorf("hibernated: %v", shoot.Status.IsHibernated)
		}
		state := "Running"
		if asleep {
			state = "Stopped"
		}
		h.wantMachines("control-plane-0 "+state, "worker-0 "+state)
		for _, m := range h.published() {
			if m.Status.State != state {
				t.Errorf("machine %q is shown as %s", m.Name, m.Status.State)
			}
		}
	}
}

// TestMachinesThatAreOff are started when the process begins, and left alone while
// it runs: somebody may have stopped one to see what happens.
func TestMachinesThatAreOff(t *testing.T) {
	h := newHarness(t)
	shoot := h.settle(h.create(1, nil))
	stop := func() {
		if err := h.machines.Stop(t.Context(), shoot.Status.TechnicalID, "worker-0", 0); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	h.wantOperation(h.settle(shoot), "Create Succeeded 100")
	h.wantMachines("control-plane-0 Running", "worker-0 Stopped")
	h.restart()
	shoot = h.settle(shoot)
	h.wantOperation(shoot, "Reconcile Succeeded 100")
	h.wantMachines("control-plane-0 Running", "worker-0 Running")

	asleep := true
	h.change(shoot, func(s *gardencorev1beta1.Shoot) {
		s.Spec.Hibernation = &gardencorev1beta1.Hibernation{Enabled: &asleep}
	})
	shoot = h.settle(shoot)
	h.restart()
	h.settle(shoot)
	h.wantMachines("control-plane-0 Stopped", "worker-0 Stopped")
}

func TestFewerWorkers(t *testing.T) {
	h := newHarness(t)
	shoot := h.settle(h.create(2, nil))
	// A machine that is off needs no drain, which is not what is tested here.
	if err := h.machines.Stop(t.Context(), shoot.Status.TechnicalID, "worker-1", 0); err != nil {
		t.Fatal(err)
	}
	h.change(shoot, func(s *gardencorev1beta1.Shoot) { setWorkers(s, 1) })
	h.wantOperation(h.settle(shoot), "Reconcile Succeeded 100")
	h.wantMachines("control-plane-0 Running", "worker-0 Running")
	if all := h.published(); len(all) != 2 {
		t.Errorf("%d machines are shown", len(all))
	}
}

func TestDelete(t *testing.T) {
	h := newHarness(t)
	shoot := h.settle(h.create(1, nil))
	_, former := h.secrets()
	h.delete(shoot)
	h.failOnce(fake.Delete, fault.New(fault.Transient, "a hiccup"))
	if _, err := h.reconcile(shoot); err == nil {
		t.Error("a machine that cannot be removed was passed over")
	}
	left := h.get(shoot)
	if left.Status.LastOperation.Type != gardencorev1beta1.LastOperationTypeDelete || left.Status.LastOperation.State != gardencorev1beta1.LastOperationStateError {
		t.Errorf("the last operation is %+v", left.Status.LastOperation)
	}
	if result, err := h.reconcile(shoot); err != nil || !result.IsZero() {
		t.Errorf("got %+v, %v", result, err)
	}
	h.wantMachines()
	if err := h.garden.Get(t.Context(), client.ObjectKeyFromObject(shoot), &gardencorev1beta1.Shoot{}); !apierrors.IsNotFound(err) {
		t.Errorf("the shoot is still there: %v", err)
	}
	if all := h.published(); len(all) != 0 {
		t.Errorf("%d machines are shown", len(all))
	}
	if _, err := h.reconcile(shoot); err != nil {
		t.Errorf("a shoot that is gone: %v", err)
	}

	// A new cluster of the name has nothing of the former one.
	h.settle(h.create(1, nil))
	kubeconfig, keys := h.secrets()
	if bytes.Equal(keys.Data["ca.key"], former.Data["ca.key"]) || !bytes.Equal(kubeconfig.Data["ca.crt"], keys.Data["ca.crt"]) {
		t.Error("the new cluster has the keys of the former one")
	}
}

func TestDeleteOfAClusterThatCouldNotBeMade(t *testing.T) {
	h := newHarness(t)
	h.reconciler.Image = imageOf("v1.35.4")
	shoot := h.create(0, nil)
	h.wantOperation(h.settle(shoot), "Create Failed 0")
	h.delete(shoot)
	if _, err := h.reconcile(shoot); err != nil {
		t.Error(err)
	}
	if err := h.garden.Get(t.Context(), client.ObjectKeyFromObject(shoot), &gardencorev1beta1.Shoot{}); !apierrors.IsNotFound(err) {
		t.Errorf("the shoot is still there: %v", err)
	}
}

func TestShootsOfOthers(t *testing.T) {
	h := newHarness(t)
	for name, seed := range map[string]*string{"another seed's": ptr.To("local"), "nobody's": nil} {
		t.Run(name, func(t *testing.T) {
			h.reconciler.Config.SeedName = "another"
			shoot := h.create(1, func(s *gardencorev1beta1.Shoot) {
				s.Name, s.Spec.SeedName = "s"+fmt.Sprint(len(name)), seed
			})
			if after := h.settle(shoot); after.ResourceVersion != shoot.ResourceVersion {
				t.Errorf("it was written: %+v", after.Status)
			}
			h.wantMachines()
		})
	}
}

// TestConditionsStay has conditions written while the flow runs, as care does.
func TestConditionsStay(t *testing.T) {
	h := newHarness(t)
	shoot := h.create(0, nil)
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	condition := gardencorev1beta1.Condition{Type: gardencorev1beta1.ShootAPIServerAvailable, Status: gardencorev1beta1.ConditionTrue, Reason: "R", Message: "m", LastTransitionTime: now, LastUpdateTime: now}
	written := false
	h.machines.Fail = func(c fake.Call) error {
		if c.Method != fake.Start || written {
			return nil
		}
		written = true
		fresh := h.get(shoot)
		base := fresh.DeepCopy()
		fresh.Status.Conditions = []gardencorev1beta1.Condition{condition}
		return h.garden.Status().Patch(context.Background(), fresh, client.MergeFrom(base))
	}
	after := h.settle(shoot)
	h.wantOperation(after, "Create Succeeded 100")
	if len(after.Status.Conditions) != 1 || after.Status.Conditions[0].Type != condition.Type {
		t.Errorf("conditions are %+v", after.Status.Conditions)
	}
}

func TestKubeconfigIsRenewedInTime(t *testing.T) {
	h := newHarness(t)
	shoot := h.settle(h.create(0, nil))
	first, _ := h.secrets()
	for _, tc := range []struct {
		later time.Duration
		same  bool
	}{{270 * 24 * time.Hour, true}, {10 * 24 * time.Hour, false}} {
		h.clock.Step(tc.later)
		result, err := h.reconcile(shoot)
		if err != nil || result.RequeueAfter <= 0 || result.RequeueAfter > 48*time.Hour {
			t.Errorf("got %+v, %v: want to look again within days", result, err)
		}
		now, _ := h.secrets()
		if got := bytes.Equal(first.Data["kubeconfig"], now.Data["kubeconfig"]); got != tc.same {
			t.Errorf("after further %s the kubeconfig is the same: %v", tc.later, got)
		}
	}
	if after := h.get(shoot); after.ResourceVersion != shoot.ResourceVersion {
		t.Error("a new kubeconfig is no operation on the shoot")
	}
}

func TestAClusterThatBeginsAsleep(t *testing.T) {
	h := newHarness(t)
	shoot := h.settle(h.create(1, func(s *gardencorev1beta1.Shoot) {
		s.Spec.Hibernation = &gardencorev1beta1.Hibernation{Enabled: ptr.To(true)}
	}))
	h.wantOperation(shoot, "Create Succeeded 100")
	h.wantMachines()
	h.change(shoot, func(s *gardencorev1beta1.Shoot) { s.Spec.Hibernation.Enabled = ptr.To(false) })
	h.wantOperation(h.settle(shoot), "Reconcile Succeeded 100")
	h.wantMachines("control-plane-0 Running", "worker-0 Running")
}

// TestALostControlPlane must not become an empty cluster, however often it is
// tried.
func TestALostControlPlane(t *testing.T) {
	h := newHarness(t)
	shoot := h.settle(h.create(1, nil))
	if err := h.machines.Delete(t.Context(), shoot.Status.TechnicalID, "control-plane-0"); err != nil {
		t.Fatal(err)
	}
	for n := range int32(2) {
		h.change(shoot, func(s *gardencorev1beta1.Shoot) { setWorkers(s, n+2) })
		failed := h.settle(shoot)
		if last := failed.Status.LastOperation; last.State != gardencorev1beta1.LastOperationStateFailed || !strings.Contains(last.Description, "control plane is gone") {
			t.Errorf("the last operation is %+v", last)
		}
	}
	if _, err := h.machines.Get(t.Context(), shoot.Status.TechnicalID, "control-plane-0"); !errors.Is(err, fault.Missing) {
		t.Errorf("the control plane was made anew: %v", err)
	}
}

// wantAccess wants what the garden makes kubeconfigs from, and the rights of
// their users in the cluster.
func (h *harness) wantAccess(shoot *gardencorev1beta1.Shoot, keys *gardencorev1beta1.InternalSecret) {
	h.Helper()
	signing, cluster := &gardencorev1beta1.InternalSecret{}, &corev1.ConfigMap{}
	for name, object := range map[string]client.Object{"demo.ca-client": signing, "demo.ca-cluster": cluster} {
		if err := h.garden.Get(h.Context(), client.ObjectKey{Namespace: h.namespace, Name: name}, object); err != nil {
			h.Fatal(err)
		}
		if !metav1.IsControlledBy(object, shoot) || object.GetLabels()["shoot.gardener.cloud/name"] != "demo" {
			h.Errorf("%s is not the shoot's: %v, %v", name, object.GetOwnerReferences(), object.GetLabels())
		}
	}
	if !bytes.Equal(signing.Data["ca.key"], keys.Data["ca.key"]) || !bytes.Equal(signing.Data["ca.crt"], keys.Data["ca.crt"]) || cluster.Data["ca.crt"] != string(keys.Data["ca.crt"]) {
		h.Error("the published authorities are not the cluster's")
	}
	if a := shoot.Status.AdvertisedAddresses; len(a) != 1 || a[0].Name != "external" || a[0].URL != "https://127.0.0.1:20000" {
		h.Errorf("addresses are %+v", a)
	}
	api, err := h.reconciler.Connect(nil)
	if err != nil {
		h.Fatal(err)
	}
	for group, role := range map[string]string{
		"gardener.cloud:project:admins": "cluster-admin", "gardener.cloud:system:admins": "cluster-admin",
		"gardener.cloud:project:viewers": "gardener.cloud:system:read-only", "gardener.cloud:system:viewers": "gardener.cloud:system:read-only",
	} {
		binding := &rbacv1.ClusterRoleBinding{}
		if err := api.Get(h.Context(), client.ObjectKey{Name: group}, binding); err != nil || binding.RoleRef.Name != role || binding.Subjects[0].Name != group {
			h.Errorf("%s: %+v, %v", group, binding, err)
		}
	}
	readOnly := &rbacv1.ClusterRole{}
	if err := api.Get(h.Context(), client.ObjectKey{Name: "gardener.cloud:system:read-only"}, readOnly); err != nil {
		h.Fatal(err)
	}
	for _, rule := range readOnly.Rules {
		core := slices.Contains(rule.APIGroups, "") || slices.Contains(rule.APIGroups, "*")
		if core && (slices.Contains(rule.Resources, "secrets") || slices.Contains(rule.Resources, "*")) || slices.Contains(rule.Verbs, "create") || slices.Contains(rule.Verbs, "*") {
			h.Errorf("viewers may %+v", rule)
		}
	}
}
