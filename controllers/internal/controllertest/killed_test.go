package controllertest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	operationsv1alpha1 "github.com/gardener/gardener/pkg/apis/operations/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/loam-cloud/loam/controllers/bastion"
	"github.com/loam-cloud/loam/controllers/condition"
	"github.com/loam-cloud/loam/controllers/controllerdeployment/controllerdeployment"
	"github.com/loam-cloud/loam/controllers/controllerregistration/clusterfinalizer"
	"github.com/loam-cloud/loam/controllers/controllerregistration/controllerregistrationfinalizer"
	"github.com/loam-cloud/loam/controllers/controllerregistration/extensionclusterrole"
	"github.com/loam-cloud/loam/controllers/event"
	"github.com/loam-cloud/loam/controllers/exposureclass"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/project/activity"
	"github.com/loam-cloud/loam/controllers/project/resourcequota"
	"github.com/loam-cloud/loam/controllers/quota"
	"github.com/loam-cloud/loam/controllers/seed/backupbucketscheck"
	"github.com/loam-cloud/loam/controllers/seed/extensionscheck"
	"github.com/loam-cloud/loam/controllers/shoot/conditions"
	"github.com/loam-cloud/loam/controllers/shoot/migration"
	"github.com/loam-cloud/loam/controllers/shoot/retry"
	"github.com/loam-cloud/loam/controllers/shoot/statuslabel"
	"github.com/loam-cloud/loam/controllers/shootstate"
	"github.com/loam-cloud/loam/garden/gardentest"
)

const sshKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhd5RtHUmVoMAsqUZdL8OtcGJGUgvPUL1SyOZyPFcNe test"

// TestKilled kills the controllers that write one thing at a time in the middle of
// that, and wants the same end after the next start. Those that write more have
// tests of their own beside them.
func TestKilled(t *testing.T) {
	c := gardentest.Client(t)
	later := clocktesting.NewFakeClock(time.Now().Add(48 * time.Hour))
	for name, row := range map[string]struct {
		controller func() controllertest.Adder
		// prepare makes what the controller works on, and returns it with what it is
		// to become; without that it is to be gone.
		prepare func(t *testing.T) (client.Object, func() error)
	}{
		"bastion": {func() controllertest.Adder { return &bastion.Reconciler{Clock: later} }, func(t *testing.T) (client.Object, func() error) {
			namespace := gardentest.Namespace(t)
			seed, shoot := controllertest.Movable("seed-"+namespace), controllertest.Shoot(namespace, "demo")
			shoot.Spec.SeedName = &seed.Name
			b := &operationsv1alpha1.Bastion{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "b"}, Spec: operationsv1alpha1.BastionSpec{
				ShootRef: corev1.LocalObjectReference{Name: shoot.Name}, SSHPublicKey: sshKey,
				Ingress: []operationsv1alpha1.BastionIngressPolicy{{IPBlock: networkingv1.IPBlock{CIDR: "127.0.0.0/8"}}},
			}}
			controllertest.Create(t, c, seed, shoot, b)
			return b, nil
		}},
		"exposureclass": {func() controllertest.Adder { return &exposureclass.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			class := &gardencorev1beta1.ExposureClass{ObjectMeta: metav1.ObjectMeta{Name: "e" + rand.String(5)}, Handler: "internet"}
			controllertest.Create(t, c, class)
			return class, holds(t, class, "gardener")
		}},
		"exposureclass, deleted": {func() controllertest.Adder { return &exposureclass.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			return deleted(t, c, &gardencorev1beta1.ExposureClass{ObjectMeta: metav1.ObjectMeta{Name: "e" + rand.String(5), Finalizers: []string{"gardener"}}, Handler: "internet"}), nil
		}},
		"controllerdeployment": {func() controllertest.Adder { return &controllerdeployment.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			return deleted(t, c, &gardencorev1.ControllerDeployment{
				ObjectMeta: metav1.ObjectMeta{Name: "d" + rand.String(5), Finalizers: []string{controllerdeployment.FinalizerName}},
				Helm:       &gardencorev1.HelmControllerDeployment{RawChart: []byte("chart")},
			}), nil
		}},
		"quota": {func() controllertest.Adder { return &quota.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			return deleted(t, c, &gardencorev1beta1.Quota{
				ObjectMeta: metav1.ObjectMeta{Namespace: gardentest.Namespace(t), Name: "q", Finalizers: []string{"gardener"}},
				Spec:       gardencorev1beta1.QuotaSpec{Scope: corev1.ObjectReference{APIVersion: "core.gardener.cloud/v1beta1", Kind: "Project"}},
			}), nil
		}},
		"controllerregistrationfinalizer": {func() controllertest.Adder { return &controllerregistrationfinalizer.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			return deleted(t, c, &gardencorev1beta1.ControllerRegistration{ObjectMeta: metav1.ObjectMeta{
				Name: "r" + rand.String(5), Finalizers: []string{"core.gardener.cloud/controllerregistration"},
			}}), nil
		}},
		"clusterfinalizer": {func() controllertest.Adder { return &clusterfinalizer.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			seed := controllertest.NewSeed(t)
			return seed, holds(t, seed, "core.gardener.cloud/controllerregistration")
		}},
		"shootstate": {func() controllertest.Adder { return &shootstate.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			shoot := controllertest.NewShoot(t, gardentest.Namespace(t))
			controllertest.SetStatus(t, c, shoot, func(s *gardencorev1beta1.ShootStatus) {
				s.LastOperation = controllertest.LastOperation("Migrate", "Processing", time.Now())
			})
			state := &gardencorev1beta1.ShootState{ObjectMeta: metav1.ObjectMeta{Namespace: shoot.Namespace, Name: shoot.Name}}
			controllertest.Create(t, c, state)
			return state, holds(t, state, shootstate.FinalizerName)
		}},
		"event": {func() controllertest.Adder { return &event.Reconciler{Clock: later} }, func(t *testing.T) (client.Object, func() error) {
			namespace := gardentest.Namespace(t)
			e := &eventsv1.Event{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "e" + rand.String(8)}, EventTime: metav1.NowMicro(),
				Regarding: corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: namespace, Name: "x"},
				Type:      "Normal", Reason: "R", Action: "A", ReportingController: "test", ReportingInstance: "test",
			}
			controllertest.Create(t, c, e)
			return e, nil
		}},
		"extensionclusterrole": {func() controllertest.Adder { return &extensionclusterrole.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			name := "r" + rand.String(6)
			role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{
				Name: name, Labels: map[string]string{"authorization.gardener.cloud/custom-extensions-permissions": "true"},
				Annotations: map[string]string{"authorization.gardener.cloud/extensions-serviceaccount-selector": `{"matchLabels":{"app":"x"}}`},
			}}
			controllertest.Create(t, c, role)
			return role, func() error {
				return c.Get(context.Background(), client.ObjectKey{Name: name}, &rbacv1.ClusterRoleBinding{})
			}
		}},
		"project.activity": {func() controllertest.Adder { return &activity.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			namespace := gardentest.Namespace(t)
			project := &gardencorev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: strings.TrimPrefix(namespace, "garden-")}}
			controllertest.NewShoot(t, namespace)
			return project, becomes(t, project, func() bool { return project.Status.LastActivityTimestamp != nil })
		}},
		"project.resourcequota": {func() controllertest.Adder {
			return controllertest.Func(func(mgr manager.Manager) error {
				return (&resourcequota.Reconciler{}).AddToManager(context.Background(), mgr)
			})
		}, func(t *testing.T) (client.Object, func() error) {
			namespace := gardentest.Namespace(t)
			controllertest.NewShoot(t, namespace)
			limits := &corev1.ResourceQuota{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "limits"},
				Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("1")}},
			}
			controllertest.Create(t, c, limits)
			return limits, becomes(t, limits, func() bool {
				hard := limits.Spec.Hard["count/secrets"]
				return hard.String() == "4" && limits.Annotations["quota.gardener.cloud/secrets-per-shoot"] == "4"
			})
		}},
		"seed.backupbucketscheck": {func() controllertest.Adder { return &backupbucketscheck.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			seed := controllertest.NewSeed(t)
			controllertest.Create(t, c, &gardencorev1beta1.BackupBucket{ObjectMeta: metav1.ObjectMeta{Name: "b" + rand.String(6)}, Spec: gardencorev1beta1.BackupBucketSpec{
				Provider: gardencorev1beta1.BackupBucketProvider{Type: "local", Region: "local"}, SeedName: &seed.Name,
				CredentialsRef: &corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: "garden", Name: "backup"},
			}})
			return seed, becomes(t, seed, func() bool {
				return len(seed.Status.Conditions) == 1 && seed.Status.Conditions[0].Reason == "BackupBucketsAvailable"
			})
		}},
		"seed.extensionscheck": {func() controllertest.Adder { return &extensionscheck.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			seed := controllertest.NewSeed(t)
			registration := &gardencorev1beta1.ControllerRegistration{ObjectMeta: metav1.ObjectMeta{Name: "r" + rand.String(6)}}
			controllertest.Create(t, c, registration, &gardencorev1beta1.ControllerInstallation{ObjectMeta: metav1.ObjectMeta{Name: "i" + rand.String(6)}, Spec: gardencorev1beta1.ControllerInstallationSpec{
				RegistrationRef: corev1.ObjectReference{Name: registration.Name}, SeedRef: &corev1.ObjectReference{Name: seed.Name},
			}})
			return seed, becomes(t, seed, func() bool {
				return len(seed.Status.Conditions) == 1 && seed.Status.Conditions[0].Reason == "NotAllExtensionsInstalled"
			})
		}},
		"shoot.conditions": {func() controllertest.Adder { return &conditions.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			controllertest.GardenProject(t)
			shoot := controllertest.NewShoot(t, "garden")
			controllertest.SetStatus(t, c, shoot, func(s *gardencorev1beta1.ShootStatus) {
				s.Conditions = condition.Merge(nil, time.Now(), condition.New("Former", "True", "R", "M"))
			})
			return shoot, becomes(t, shoot, func() bool { return len(shoot.Status.Conditions) == 0 })
		}},
		"shoot.migration": {func() controllertest.Adder { return &migration.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			namespace := gardentest.Namespace(t)
			from, to := controllertest.Movable("from-"+namespace), controllertest.Movable("to-"+namespace)
			shoot := controllertest.Shoot(namespace, "demo")
			shoot.Spec.SeedName = &from.Name
			controllertest.Create(t, c, from, to, shoot)
			controllertest.SetStatus(t, c, shoot, func(s *gardencorev1beta1.ShootStatus) { s.SeedName = &from.Name })
			controllertest.Bind(t, c, shoot, to.Name)
			return shoot, becomes(t, shoot, func() bool {
				return len(shoot.Status.Constraints) == 1 && shoot.Status.Constraints[0].Reason == "DestinationSeedUnready"
			})
		}},
		"shoot.retry": {func() controllertest.Adder {
			// Without a jitter, for what fell due before a start is spread over it.
			return &retry.Reconciler{Clock: later, Config: controllermanagerconfigv1alpha1.ShootRetryControllerConfiguration{RetryJitterPeriod: &metav1.Duration{}}}
		}, func(t *testing.T) (client.Object, func() error) {
			shoot := controllertest.NewShoot(t, gardentest.Namespace(t))
			generation := shoot.Generation
			controllertest.SetStatus(t, c, shoot, func(s *gardencorev1beta1.ShootStatus) {
				s.LastOperation = controllertest.LastOperation("Reconcile", "Failed", time.Now())
				s.LastErrors = []gardencorev1beta1.LastError{{Description: "slow down", Codes: []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorInfraRateLimitsExceeded}}}
				s.ObservedGeneration = generation
			})
			// The API server takes the operation and raises the generation.
			return shoot, becomes(t, shoot, func() bool { return shoot.Generation == generation+1 })
		}},
		"shoot.statuslabel": {func() controllertest.Adder { return &statuslabel.Reconciler{} }, func(t *testing.T) (client.Object, func() error) {
			shoot := controllertest.NewShoot(t, gardentest.Namespace(t))
			return shoot, becomes(t, shoot, func() bool { return shoot.Labels["shoot.gardener.cloud/status"] == "healthy" })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			controllertest.Killed(t, row.controller, func(t *testing.T) (done func() error) {
				object, done := row.prepare(t)
				if done == nil {
					done = gone(c, object)
				}
				return done
			})
		})
	}
}

// deleted makes an object and deletes it; its finalizer keeps it.
func deleted(t *testing.T, c client.Client, object client.Object) client.Object {
	t.Helper()
	controllertest.Create(t, c, object)
	if err := c.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	return object
}

func gone(c client.Client, object client.Object) func() error {
	return func() error {
		if err := c.Get(context.Background(), client.ObjectKeyFromObject(object), object); !apierrors.IsNotFound(err) {
			return fmt.Errorf("%T %q is still there: %w", object, object.GetName(), err)
		}
		return nil
	}
}

func holds(t *testing.T, object client.Object, finalizer string) func() error {
	return becomes(t, object, func() bool { return controllerutil.ContainsFinalizer(object, finalizer) })
}

// becomes reads an object again before it is looked at.
func becomes(t *testing.T, object client.Object, is func() bool) func() error {
	return func() error {
		if controllertest.Refresh(t, object); !is() {
			return errors.New("it is not as it is to be")
		}
		return nil
	}
}
