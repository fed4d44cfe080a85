// Package extensionclusterrole gives the service accounts of extensions the
// rights of cluster roles that are meant for them. controllerregistration adds
// it.
//
//	ClusterRole, with a label and a selector -> ClusterRoleBinding of its name
//	  subjects: the accounts in the namespaces of seeds that the selector finds,
//	            and those of extensions in clusters that look after themselves
//
// It must not judge the rights in a role.
package extensionclusterrole

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/fault"
)

// Name is the controller's name.
const Name = "extensionclusterrole"

const (
	seedNamespacePrefix    = "seed-"
	projectNamespacePrefix = "garden-"
)

// Reconciler binds the roles of extensions.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
}

// Declare tells what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads: []declaration.Read{
			{Resource: "clusterroles.rbac.authorization.k8s.io", MetadataOnly: true}, {Resource: "serviceaccounts", MetadataOnly: true},
			{Resource: "clusterrolebindings.rbac.authorization.k8s.io"},
		},
		Writes: []declaration.Write{
			{Resource: "clusterrolebindings.rbac.authorization.k8s.io", Verbs: []string{"create", "patch", "delete"}, Fields: []string{"subjects"}},
			// Without that verb only rights could be given that the controller has.
			{Resource: "clusterroles.rbac.authorization.k8s.io", Verbs: []string{"bind"}},
			declaration.Events(),
		},
	}
}

// Reconcile binds one role.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	role := newMetadata("ClusterRole")
	if err := r.Client.Get(ctx, request.NamespacedName, role); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if role.DeletionTimestamp != nil {
		return reconcile.Result{}, nil // its binding goes with it
	}
	if !isMarked(role) {
		return policy.Result(r.unbind(ctx, role))
	}
	selector, err := selectorOf(role)
	if err != nil {
		log.FromContext(ctx).Info("A cluster role of extensions cannot be bound", "problem", err.Error())
		r.Recorder.Eventf(role, nil, corev1.EventTypeWarning, "SelectorInvalid", "Reconcile", "%s", err)
		return policy.Result(err)
	}
	accounts := &metav1.PartialObjectMetadataList{}
	accounts.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ServiceAccountList"))
	if err := r.Client.List(ctx, accounts, client.MatchingLabelsSelector{Selector: selector}, client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing service accounts: %w", err)
	}
	return policy.Result(r.bind(ctx, role, subjects(accounts.Items)))
}

func newMetadata(kind string) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind(kind))
	return object
}

// isMarked tells whether a role is meant for extensions.
func isMarked(role client.Object) bool {
	return role.GetLabels()[v1beta1constants.LabelAuthorizationCustomExtensionsPermissions] == "true"
}

// selectorOf reads which accounts a role is for. Faults: Invalid.
func selectorOf(role client.Object) (labels.Selector, error) {
	const key = v1beta1constants.LabelAuthorizationExtensionsServiceAccountSelector
	text, found := role.GetAnnotations()[key]
	if !found {
		return nil, fault.New(fault.Invalid, "annotation %s is missing: it holds a label selector in JSON", key)
	}
	var parsed metav1.LabelSelector
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		return nil, fault.New(fault.Invalid, "annotation %s: %s must be a label selector in JSON: %w", key, text, err)
	}
	selector, err := metav1.LabelSelectorAsSelector(&parsed)
	if err != nil {
		return nil, fault.New(fault.Invalid, "annotation %s: %s: %w", key, text, err)
	}
	return selector, nil
}

// counts tells whether an account may be an extension's: in the namespace of a
// seed, or by its name in one where clusters are.
func counts(namespace, name string) bool {
	return strings.HasPrefix(namespace, seedNamespacePrefix) ||
		strings.HasPrefix(name, v1beta1constants.ExtensionShootServiceAccountPrefix) &&
			(namespace == v1beta1constants.GardenNamespace || strings.HasPrefix(namespace, projectNamespacePrefix))
}

// subjects are the accounts that count, by namespace and name.
func subjects(accounts []metav1.PartialObjectMetadata) []rbacv1.Subject {
	var found []rbacv1.Subject
	for i := range accounts {
		if counts(accounts[i].Namespace, accounts[i].Name) {
			found = append(found, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: accounts[i].Namespace, Name: accounts[i].Name})
		}
	}
	slices.SortFunc(found, func(a, b rbacv1.Subject) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return found
}

// bind writes the binding. Faults: Invalid if one of that name is somebody else's.
func (r *Reconciler) bind(ctx context.Context, role *metav1.PartialObjectMetadata, subjects []rbacv1.Subject) error {
	wanted := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}, Subjects: subjects,
	}
	owner := *metav1.NewControllerRef(role, rbacv1.SchemeGroupVersion.WithKind("ClusterRole"))
	owner.BlockOwnerDeletion = ptr.To(false)
	wanted.OwnerReferences = []metav1.OwnerReference{owner}

	have := &rbacv1.ClusterRoleBinding{}
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(wanted), have)
	if apierrors.IsNotFound(err) {
		if err := r.Client.Create(ctx, wanted); err != nil {
			return fmt.Errorf("binding cluster role %q: %w", role.Name, err)
		}
		log.FromContext(ctx).Info("Bound a cluster role to extensions", "accounts", len(subjects))
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading cluster role binding %q: %w", role.Name, err)
	}
	if other := metav1.GetControllerOf(have); other != nil && other.UID != role.UID {
		return fault.New(fault.Invalid, "cluster role binding %q belongs to %s %q", have.Name, other.Kind, other.Name)
	}
	if have.RoleRef != wanted.RoleRef {
		// It cannot be changed; the end of this one wakes the next look.
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, have)); err != nil {
			return fmt.Errorf("replacing cluster role binding %q: %w", have.Name, err)
		}
		if err := r.Client.Create(ctx, wanted); err != nil {
			return fmt.Errorf("binding cluster role %q: %w", role.Name, err)
		}
		return nil
	}
	base := have.DeepCopy()
	have.Subjects = subjects
	if !metav1.IsControlledBy(have, role) {
		have.OwnerReferences = append(have.OwnerReferences, owner)
	}
	if equality.Semantic.DeepEqual(base, have) {
		return nil
	}
	if err := r.Client.Patch(ctx, have, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("changing cluster role binding %q: %w", have.Name, err)
	}
	log.FromContext(ctx).Info("Changed who has a cluster role of extensions", "accounts", len(subjects))
	return nil
}

// unbind withdraws a role that is no longer meant for extensions.
func (r *Reconciler) unbind(ctx context.Context, role *metav1.PartialObjectMetadata) error {
	have := &rbacv1.ClusterRoleBinding{}
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(role), have); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !metav1.IsControlledBy(have, role) {
		return nil
	}
	if err := client.IgnoreNotFound(r.Client.Delete(ctx, have)); err != nil {
		return fmt.Errorf("removing cluster role binding %q: %w", have.Name, err)
	}
	log.FromContext(ctx).Info("Withdrew a cluster role from extensions")
	return nil
}
