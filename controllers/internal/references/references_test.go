package references_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	deploymentreference "github.com/loam-cloud/loam/controllers/controllerdeployment/reference"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/internal/references"
	seedreference "github.com/loam-cloud/loam/controllers/seed/reference"
	shootreference "github.com/loam-cloud/loam/controllers/shoot/reference"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

const finalizer = "gardener.cloud/reference-protection"

// run runs the controllers of all three kinds.
func run(t *testing.T) (end func()) {
	return controllertest.Run(t,
		controllertest.Func(func(mgr manager.Manager) error {
			return shootreference.AddToManager(mgr, controllermanagerconfigv1alpha1.ShootReferenceControllerConfiguration{})
		}),
		controllertest.Func(func(mgr manager.Manager) error {
			return seedreference.AddToManager(mgr, "garden", controllermanagerconfigv1alpha1.SeedReferenceControllerConfiguration{})
		}),
		controllertest.Func(func(mgr manager.Manager) error {
			return deploymentreference.AddToManager(mgr, "garden", controllermanagerconfigv1alpha1.ControllerDeploymentReferenceControllerConfiguration{})
		}))
}

func protected(t *testing.T, want bool, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		controllertest.Eventually(t, func() error {
			if got := slices.Contains(controllertest.Refresh(t, object).GetFinalizers(), finalizer); got != want {
				return fmt.Errorf("%T %s: protected is %v", object, object.GetName(), got)
			}
			return nil
		})
	}
}

func newSecret(t *testing.T, c client.Client, namespace string) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "s" + rand.String(6)}}
	controllertest.Create(t, c, secret)
	return secret
}

func to(kind string, object client.Object) autoscalingv1.CrossVersionObjectReference {
	version := "v1"
	if kind == "WorkloadIdentity" {
		version = "security.gardener.cloud/v1alpha1"
	}
	return autoscalingv1.CrossVersionObjectReference{APIVersion: version, Kind: kind, Name: object.GetName()}
}

func named(refs ...autoscalingv1.CrossVersionObjectReference) (all []gardencorev1beta1.NamedResourceReference) {
	for i, ref := range refs {
		all = append(all, gardencorev1beta1.NamedResourceReference{Name: fmt.Sprint("r", i), ResourceRef: ref})
	}
	return all
}

func remove(t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	if err := c.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// TestShoots has two Shoots refer to one Secret, one turn to others, and both go.
func TestShoots(t *testing.T) {
	c, _ := controllertest.Client(t)
	run(t)
	namespace := gardentest.Namespace(t)
	shared, own := newSecret(t, c, namespace), newSecret(t, c, namespace)
	policy := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "policy"}}
	identity := &securityv1alpha1.WorkloadIdentity{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "identity"},
		Spec:       securityv1alpha1.WorkloadIdentitySpec{Audiences: []string{"somebody"}, TargetSystem: securityv1alpha1.TargetSystem{Type: "local"}},
	}
	controllertest.Create(t, c, policy, identity)
	first := controllertest.NewShoot(t, namespace, func(s *gardencorev1beta1.Shoot) {
		s.Spec.Resources = named(to("Secret", shared), to("Secret", own), to("ConfigMap", policy), to("WorkloadIdentity", identity))
	})
	second := controllertest.NewShoot(t, namespace, func(s *gardencorev1beta1.Shoot) { s.Spec.Resources = named(to("Secret", shared)) })
	protected(t, true, shared, own, policy, identity, first, second)

	controllertest.Change(t, c, first, func(s *gardencorev1beta1.Shoot) { s.Spec.Resources = named(to("Secret", shared)) })
	protected(t, false, own, policy, identity)
	protected(t, true, shared, first)
	controllertest.Change(t, c, first, func(s *gardencorev1beta1.Shoot) { s.Spec.Resources = nil })
	protected(t, false, first)
	protected(t, true, shared, second)

	controllertest.Change(t, c, second, func(s *gardencorev1beta1.Shoot) { s.Finalizers = append(s.Finalizers, "gardener") })
	remove(t, c, second)
	remove(t, c, shared)
	controllertest.Change(t, c, first, func(s *gardencorev1beta1.Shoot) { s.Spec.Resources = named(to("Secret", own)) })
	protected(t, true, first, own) // by now the deletion has been looked at as well
	protected(t, true, shared, second)
	controllertest.Change(t, c, second, func(s *gardencorev1beta1.Shoot) {
		s.Finalizers = slices.DeleteFunc(s.Finalizers, func(name string) bool { return name == "gardener" })
	})
	controllertest.Gone(t, c, second)
	controllertest.Gone(t, c, shared)
}

// TestKindsShareASecret: whoever goes first, it stays protected until the last of
// any kind has gone.
func TestKindsShareASecret(t *testing.T) {
	c, _ := controllertest.Client(t)
	controllertest.GardenProject(t)
	run(t)
	kinds := map[string]func(*corev1.Secret) client.Object{
		"a seed": func(s *corev1.Secret) client.Object {
			return controllertest.NewSeed(t, func(seed *gardencorev1beta1.Seed) { seed.Spec.Resources = named(to("Secret", s)) })
		},
		"a deployment": func(s *corev1.Secret) client.Object {
			deployment := &gardencorev1.ControllerDeployment{
				ObjectMeta: metav1.ObjectMeta{Name: "d" + rand.String(5)},
				Helm: &gardencorev1.HelmControllerDeployment{OCIRepository: &gardencorev1.OCIRepository{
					Ref: new(string), PullSecretRef: &corev1.LocalObjectReference{Name: s.Name},
				}},
			}
			*deployment.Helm.OCIRepository.Ref = "registry.example.org/chart:1"
			controllertest.Create(t, c, deployment)
			return deployment
		},
		"a shoot": func(s *corev1.Secret) client.Object {
			return controllertest.NewShoot(t, "garden", func(shoot *gardencorev1beta1.Shoot) { shoot.Spec.Resources = named(to("Secret", s)) })
		},
	}
	for first, newFirst := range kinds {
		for second, newSecond := range kinds {
			if first == second {
				continue
			}
			t.Run(first+" before "+second, func(t *testing.T) {
				secret := newSecret(t, c, "garden")
				goes, stays := newFirst(secret), newSecond(secret)
				protected(t, true, secret, goes, stays)
				remove(t, c, goes)
				controllertest.Gone(t, c, goes)
				protected(t, true, secret)
				remove(t, c, stays)
				controllertest.Gone(t, c, stays)
				protected(t, false, secret)
			})
		}
	}
}

// TestWhatComesLaterIsProtectedAtOnce, and what lost the finalizer as well.
func TestWhatComesLaterIsProtectedAtOnce(t *testing.T) {
	c, _ := controllertest.Client(t)
	run(t)
	controllertest.GardenProject(t)
	for name, newReferrer := range map[string]func(*corev1.Secret) client.Object{
		"a seed": func(s *corev1.Secret) client.Object {
			return controllertest.NewSeed(t, func(seed *gardencorev1beta1.Seed) { seed.Spec.Resources = named(to("Secret", s)) })
		},
		"a shoot": func(s *corev1.Secret) client.Object {
			shoot := controllertest.NewShoot(t, s.Namespace, func(shoot *gardencorev1beta1.Shoot) { shoot.Spec.Resources = named(to("Secret", s)) })
			return shoot
		},
	} {
		t.Run(name, func(t *testing.T) {
			secret := newSecret(t, c, "garden")
			referrer := newReferrer(secret)
			protected(t, true, secret, referrer)
			controllertest.Change(t, c, secret, func(s *corev1.Secret) { s.Finalizers = nil })
			protected(t, true, secret)
			remove(t, c, secret)
			controllertest.Change(t, c, secret, func(s *corev1.Secret) { s.Finalizers = nil })
			controllertest.Gone(t, c, secret)
			again := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name}}
			controllertest.Create(t, c, again)
			protected(t, true, again)
		})
	}
}

// TestChangesWhileNobodyLooked leave nothing behind.
func TestChangesWhileNobodyLooked(t *testing.T) {
	c, _ := controllertest.Client(t)
	end := run(t)
	namespace := gardentest.Namespace(t)
	former, latter := newSecret(t, c, namespace), newSecret(t, c, namespace)
	shoot := controllertest.NewShoot(t, namespace, func(s *gardencorev1beta1.Shoot) { s.Spec.Resources = named(to("Secret", former)) })
	protected(t, true, former, shoot)
	end()
	controllertest.Change(t, c, shoot, func(s *gardencorev1beta1.Shoot) { s.Spec.Resources = named(to("Secret", latter)) })
	run(t)
	protected(t, true, latter, shoot)
	protected(t, false, former)
}

// newReconciler is that of Shoots, without a cache.
func newReconciler(t *testing.T) (client.Client, *controllertest.Writes, *references.Reconciler[*gardencorev1beta1.Shoot]) {
	c, writes := controllertest.Indexed(t, references.EnsureIndexes)
	return c, writes, &references.Reconciler[*gardencorev1beta1.Shoot]{
		Client: c, GardenNamespace: "garden", New: func() *gardencorev1beta1.Shoot { return &gardencorev1beta1.Shoot{} }, Of: references.OfShoot,
	}
}

// TestAMissingObjectIsAnError, which keeps the others from nothing.
func TestAMissingObjectIsAnError(t *testing.T) {
	c, _, r := newReconciler(t)
	namespace := gardentest.Namespace(t)
	lost, there := newSecret(t, c, namespace), newSecret(t, c, namespace)
	shoot := controllertest.NewShoot(t, namespace, func(s *gardencorev1beta1.Shoot) {
		s.Spec.Resources = named(to("Secret", lost), to("Secret", there))
	})
	remove(t, c, lost)
	_, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(shoot)})
	if err == nil || !strings.Contains(err.Error(), "Secret "+namespace+"/"+lost.Name+", which is referred to, is not there") {
		t.Errorf("got %v", err)
	}
	protected(t, true, there, shoot)
}

// TestRestart kills the controller before each of its writes: when references
// come, change and go.
func TestRestart(t *testing.T) {
	c, writes, r := newReconciler(t)
	var shoot *gardencorev1beta1.Shoot
	var former, latter *corev1.Secret
	reconcileNow := func() error {
		_, err := r.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(shoot)})
		return err
	}
	fresh := func(t *testing.T) {
		namespace := gardentest.Namespace(t)
		former, latter = newSecret(t, c, namespace), newSecret(t, c, namespace)
		shoot = controllertest.NewShoot(t, namespace, func(s *gardencorev1beta1.Shoot) { s.Spec.Resources = named(to("Secret", former)) })
	}
	after := func(change func(t *testing.T)) func(t *testing.T) {
		return func(t *testing.T) {
			fresh(t)
			if err := reconcileNow(); err != nil {
				t.Fatal(err)
			}
			change(t)
		}
	}
	for name, test := range map[string]struct{ fresh, check func(t *testing.T) }{
		"come": {fresh, func(t *testing.T) {
			protected(t, true, shoot, former)
			writes.Fail(0)
			if err := reconcileNow(); err != nil || writes.Count() > 0 {
				t.Errorf("a second look: %v, %d writes", err, writes.Count())
			}
		}},
		"change": {after(func(t *testing.T) {
			controllertest.Change(t, c, shoot, func(s *gardencorev1beta1.Shoot) { s.Spec.Resources = named(to("Secret", latter)) })
		}), func(t *testing.T) {
			protected(t, true, shoot, latter)
			protected(t, false, former)
		}},
		"go": {after(func(t *testing.T) { remove(t, c, shoot) }), func(t *testing.T) {
			controllertest.Gone(t, c, shoot)
			protected(t, false, former)
		}},
	} {
		t.Run(name, func(t *testing.T) { controllertest.Interrupted(t, writes, test.fresh, reconcileNow, test.check) })
	}
}
