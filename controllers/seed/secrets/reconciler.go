// Package secrets gives each Seed a namespace of its own in the garden, and
// copies into it what the garden shares with its seeds' agents: Secrets with a
// role. app adds it to the fleet's controllers.
//
// It must not read what is in a Secret.
package secrets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/fault"
)

// Name is the controller's name.
const Name = "seed.secrets"

// namespacePrefix begins the name of a Seed's namespace.
const namespacePrefix = "seed-"

// Reconciler keeps the namespace of Seeds and the copies of Secrets in it.
type Reconciler struct {
	// Client reads Secrets without a cache: few events need what is in them.
	Client client.Client
	// GardenNamespace is where the Secrets are copied from; empty means garden.
	GardenNamespace string
}

func (r *Reconciler) garden() string {
	return cmp.Or(r.GardenNamespace, v1beta1constants.GardenNamespace)
}

// Declare tells what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads: []declaration.Read{
			{Resource: "seeds.core.gardener.cloud"}, {Resource: "namespaces"}, {Resource: "secrets"},
		},
		Writes: []declaration.Write{
			{Resource: "namespaces", Verbs: []string{"create", "patch"}},
			{Resource: "secrets", Verbs: []string{"create", "patch", "delete"}},
			// A Seed waits for its namespace, which servers may guard.
			{Resource: "seeds.core.gardener.cloud/finalizers", Verbs: []string{"update"}},
		},
	}
}

// Reconcile brings one Seed's namespace to what the garden shares.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	seed := &gardencorev1beta1.Seed{}
	if err := r.Client.Get(ctx, request.NamespacedName, seed); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	namespace := namespacePrefix + seed.Name
	switch err := r.ensureNamespace(ctx, seed, namespace); {
	case errors.Is(err, fault.Waiting):
		return policy.Result(err)
	case err != nil:
		return reconcile.Result{}, err
	}
	selector := client.MatchingLabelsSelector{Selector: shared()}
	var sources, copies corev1.SecretList
	if err := r.Client.List(ctx, &sources, client.InNamespace(r.garden()), selector); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing secrets in namespace %q: %w", r.garden(), err)
	}
	if err := r.Client.List(ctx, &copies, client.InNamespace(namespace), selector); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing secrets in namespace %q: %w", namespace, err)
	}
	return reconcile.Result{}, r.act(ctx, decide(sources.Items, copies.Items, namespace))
}

// shared selects the Secrets that every seed gets: those with a role, but those
// of one cluster's control plane, and those that go where they are referred to.
func shared() labels.Selector {
	private := append(slices.Clone(v1beta1constants.ControlPlaneSecretRoles),
		v1beta1constants.GardenRoleHelmPullSecret, v1beta1constants.GardenRoleOCICABundle, v1beta1constants.GardenRoleResourceReference)
	selector := labels.NewSelector()
	for _, part := range []struct {
		operator selection.Operator
		values   []string
	}{{selection.Exists, nil}, {selection.NotIn, private}} {
		requirement, err := labels.NewRequirement(v1beta1constants.GardenRole, part.operator, part.values)
		if err != nil {
			return labels.Nothing() // the parts are constants, and each is valid
		}
		selector = selector.Add(*requirement)
	}
	return selector
}

// ensureNamespace makes the namespace, or puts its label right. Faults: Waiting
// while it ends, Invalid when it is not the Seed's.
func (r *Reconciler) ensureNamespace(ctx context.Context, seed *gardencorev1beta1.Seed, name string) error {
	namespace := &corev1.Namespace{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, namespace)
	if apierrors.IsNotFound(err) {
		namespace = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{v1beta1constants.GardenRole: v1beta1constants.GardenRoleSeed},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(seed, gardencorev1beta1.SchemeGroupVersion.WithKind("Seed"))},
		}}
		if err := r.Client.Create(ctx, namespace); err != nil {
			return fmt.Errorf("creating namespace %q: %w", name, err)
		}
		log.FromContext(ctx).Info("Made the namespace of a seed", "namespace", name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading namespace %q: %w", name, err)
	}
	if namespace.DeletionTimestamp != nil {
		return fault.New(fault.Waiting, "namespace %q ends", name)
	}
	if !metav1.IsControlledBy(namespace, seed) {
		return fault.New(fault.Invalid, "namespace %q is there and is not controlled by seed %q with uid %s", name, seed.Name, seed.UID)
	}
	if namespace.Labels[v1beta1constants.GardenRole] == v1beta1constants.GardenRoleSeed {
		return nil
	}
	base := namespace.DeepCopy()
	metav1.SetMetaDataLabel(&namespace.ObjectMeta, v1beta1constants.GardenRole, v1beta1constants.GardenRoleSeed)
	if err := r.Client.Patch(ctx, namespace, client.MergeFrom(base)); err != nil {
		return fmt.Errorf("labelling namespace %q: %w", name, err)
	}
	return nil
}

// plan is what has to be written.
type plan struct {
	create []*corev1.Secret
	// change are pairs of what is there and what is wanted.
	change [][2]*corev1.Secret
	remove []*corev1.Secret
}

// decide compares the garden's Secrets with a namespace's copies.
func decide(sources, copies []corev1.Secret, namespace string) plan {
	have := map[string]*corev1.Secret{}
	for i := range copies {
		have[copies[i].Name] = &copies[i]
	}
	var p plan
	for i := range sources {
		source := &sources[i]
		wanted := func(base metav1.ObjectMeta) *corev1.Secret {
			base.Labels, base.Annotations = maps.Clone(source.Labels), maps.Clone(source.Annotations)
			return &corev1.Secret{ObjectMeta: base, Type: source.Type, Data: source.Data, Immutable: source.Immutable}
		}
		found := have[source.Name]
		delete(have, source.Name)
		switch {
		case found == nil:
			p.create = append(p.create, wanted(metav1.ObjectMeta{Namespace: namespace, Name: source.Name}))
		case found.Type != source.Type || fixed(found) && !equality.Semantic.DeepEqual(found.Data, source.Data):
			// Neither can be changed: the next look, which the deletion wakes, makes it.
			p.remove = append(p.remove, found)
			p.create = append(p.create, wanted(metav1.ObjectMeta{Namespace: namespace, Name: source.Name}))
		default:
			if w := wanted(found.ObjectMeta); !equality.Semantic.DeepEqual(w, found) {
				p.change = append(p.change, [2]*corev1.Secret{found, w})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		p.remove = append(p.remove, have[name])
	}
	return p
}

func fixed(secret *corev1.Secret) bool { return secret.Immutable != nil && *secret.Immutable }

// act removes before it makes, so that what cannot be changed is replaced. One
// Secret that fails leaves the others alone.
func (r *Reconciler) act(ctx context.Context, p plan) error {
	var errs []error
	done := func(action string, secret *corev1.Secret, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s secret %s: %w", action, client.ObjectKeyFromObject(secret), err))
			return
		}
		log.FromContext(ctx).Info("Brought a seed's secret up to date", "action", action, "namespace", secret.Namespace, "secret", secret.Name)
	}
	for _, secret := range p.remove {
		done("removing", secret, client.IgnoreNotFound(r.Client.Delete(ctx, secret)))
	}
	for _, pair := range p.change {
		done("changing", pair[1], r.Client.Patch(ctx, pair[1], client.MergeFrom(pair[0])))
	}
	for _, secret := range p.create {
		// One without a role is somebody's own, and not found by its label.
		err := r.Client.Create(ctx, secret)
		if apierrors.IsAlreadyExists(err) {
			err = r.adopt(ctx, secret)
		}
		done("making", secret, err)
	}
	return errors.Join(errs...)
}

// adopt writes over a Secret of the same name that has lost its labels.
func (r *Reconciler) adopt(ctx context.Context, wanted *corev1.Secret) error {
	found := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: wanted.Namespace, Name: wanted.Name}}
	_, err := controllerutil.CreateOrPatch(ctx, r.Client, found, func() error {
		found.Labels, found.Annotations, found.Data = wanted.Labels, wanted.Annotations, wanted.Data
		if found.Type == "" {
			found.Type = wanted.Type
		}
		return nil
	})
	return err
}
