package project

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/finalizer"
	"github.com/loam-cloud/loam/controllers/internal/guard"
	"github.com/loam-cloud/loam/fault"
)

const (
	// namespacePrefix begins the names of all projects' namespaces.
	namespacePrefix = "garden-"

	// deletionInterval is how often a namespace that empties itself is looked at.
	deletionInterval = time.Minute
)

// namespaceOf is the name that a Project asks for, or one that follows from the
// Project alone, so that a crash before it is written down never makes two.
func namespaceOf(project *gardencorev1beta1.Project) string {
	if project.Spec.Namespace != nil {
		return *project.Spec.Namespace
	}
	sum := sha256.Sum256([]byte(project.UID))
	return namespacePrefix + project.Name + "-" + hex.EncodeToString(sum[:])[:5]
}

// ensureNamespace makes the namespace, or adopts one that is meant for the
// Project. Faults: Invalid when it is another's.
func (r *Reconciler) ensureNamespace(ctx context.Context, project *gardencorev1beta1.Project) (*corev1.Namespace, error) {
	name := namespaceOf(project)
	namespace := &corev1.Namespace{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, namespace)
	if apierrors.IsNotFound(err) {
		namespace = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		mark(namespace, project)
		metav1.SetMetaDataAnnotation(&namespace.ObjectMeta, v1beta1constants.NamespaceCreatedByProjectController, "true")
		if err := r.own(project, namespace); err != nil {
			return nil, err
		}
		if err := r.Client.Create(ctx, namespace); err != nil {
			return nil, fmt.Errorf("creating namespace %q: %w", name, err)
		}
		return namespace, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading namespace %q: %w", name, err)
	}
	if problem := adoptable(namespace, project); problem != "" {
		return nil, fault.New(fault.Invalid, "namespace %q cannot be the project's: %s", name, problem)
	}
	base := namespace.DeepCopy()
	mark(namespace, project)
	if namespace.Annotations[v1beta1constants.NamespaceCreatedByProjectController] != "true" {
		metav1.SetMetaDataAnnotation(&namespace.ObjectMeta, v1beta1constants.NamespaceKeepAfterProjectDeletion, "true")
	}
	if err := r.own(project, namespace); err != nil {
		return nil, err
	}
	if equality.Semantic.DeepEqual(base.ObjectMeta, namespace.ObjectMeta) {
		return namespace, nil
	}
	if err := r.Client.Patch(ctx, namespace, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return nil, fmt.Errorf("changing namespace %q: %w", name, err)
	}
	return namespace, nil
}

func mark(namespace *corev1.Namespace, project *gardencorev1beta1.Project) {
	metav1.SetMetaDataLabel(&namespace.ObjectMeta, v1beta1constants.GardenRole, v1beta1constants.GardenRoleProject)
	metav1.SetMetaDataLabel(&namespace.ObjectMeta, v1beta1constants.ProjectName, project.Name)
	metav1.SetMetaDataAnnotation(&namespace.ObjectMeta, v1beta1constants.NamespaceProject, string(project.UID))
}

// isMarked tells whether a namespace has the labels of a Project's.
func isMarked(namespace *corev1.Namespace, project *gardencorev1beta1.Project) bool {
	return namespace.Labels[v1beta1constants.GardenRole] == v1beta1constants.GardenRoleProject &&
		namespace.Labels[v1beta1constants.ProjectName] == project.Name
}

// adoptable says why a namespace that is there must not become the Project's;
// empty when it may.
func adoptable(namespace *corev1.Namespace, project *gardencorev1beta1.Project) string {
	owner := namespace.Annotations[v1beta1constants.NamespaceProject]
	switch {
	case namespace.DeletionTimestamp != nil:
		return "it is being deleted"
	case !isMarked(namespace, project):
		return fmt.Sprintf("it needs the labels %s=%s and %s=%s", v1beta1constants.GardenRole, v1beta1constants.GardenRoleProject, v1beta1constants.ProjectName, project.Name)
	case owner != "" && owner != string(project.UID):
		return fmt.Sprintf("it belongs to a project with uid %q", owner)
	}
	return ""
}

// own makes the Project the controller of an object, whose end it waits for.
func (r *Reconciler) own(project *gardencorev1beta1.Project, object client.Object) error {
	if err := controllerutil.SetControllerReference(project, object, r.Client.Scheme()); err != nil {
		return fault.New(fault.Invalid, "%T %q cannot be the project's: %w", object, object.GetName(), err)
	}
	return nil
}

// delete lets a Project go that has no Shoots any more, and its namespace with
// it.
func (r *Reconciler) delete(ctx context.Context, project *gardencorev1beta1.Project) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(project, gardencorev1beta1.GardenerName) {
		return reconcile.Result{}, nil
	}
	if err := r.report(ctx, project, gardencorev1beta1.ProjectTerminating); err != nil {
		return reconcile.Result{}, err
	}
	left, err := r.release(ctx, project)
	if err != nil {
		r.event(project, corev1.EventTypeWarning, gardencorev1beta1.ProjectEventNamespaceDeletionFailed, "Delete", "%s", err)
		return reconcile.Result{}, err
	}
	switch left {
	case shootsLeft:
		return reconcile.Result{}, nil // the last one that goes wakes this up
	case namespaceLeft:
		return reconcile.Result{RequeueAfter: deletionInterval}, nil
	}
	return reconcile.Result{}, finalizer.Remove(ctx, r.Client, project, gardencorev1beta1.GardenerName)
}

// leftover is what a Project in deletion waits for.
type leftover int

const (
	nothingLeft leftover = iota
	shootsLeft
	namespaceLeft
)

// release ends what binds the namespace to the Project.
func (r *Reconciler) release(ctx context.Context, project *gardencorev1beta1.Project) (leftover, error) {
	namespace := &corev1.Namespace{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: namespaceOf(project)}, namespace); err != nil {
		if apierrors.IsNotFound(err) {
			return nothingLeft, nil
		}
		return nothingLeft, fmt.Errorf("reading namespace %q: %w", namespaceOf(project), err)
	}
	owner := namespace.Annotations[v1beta1constants.NamespaceProject]
	if !isMarked(namespace, project) || owner != "" && owner != string(project.UID) {
		return nothingLeft, nil // it never was the project's, or is no longer
	}
	shoots, err := guard.List(ctx, r.Client, "Shoot", &gardencorev1beta1.ShootList{}, client.InNamespace(namespace.Name))
	if err != nil {
		return nothingLeft, fmt.Errorf("looking for clusters in namespace %q: %w", namespace.Name, err)
	}
	if len(shoots.Names) > 0 {
		r.event(project, corev1.EventTypeWarning, gardencorev1beta1.ProjectEventNamespaceNotEmpty, "Delete", "Namespace %q is not empty, delete first what is in it: %s", namespace.Name, shoots)
		return shootsLeft, nil
	}
	if namespace.Annotations[v1beta1constants.NamespaceKeepAfterProjectDeletion] == "true" {
		return nothingLeft, r.letGo(ctx, project, namespace)
	}
	if namespace.DeletionTimestamp != nil {
		return namespaceLeft, nil
	}
	if err := client.IgnoreNotFound(r.Client.Delete(ctx, namespace, client.Preconditions{UID: &namespace.UID})); err != nil {
		return nothingLeft, fmt.Errorf("deleting namespace %q: %w", namespace.Name, err)
	}
	r.event(project, corev1.EventTypeNormal, gardencorev1beta1.ProjectEventNamespaceMarkedForDeletion, "Delete", "Namespace %q is being deleted", namespace.Name)
	return namespaceLeft, nil
}

// letGo leaves a namespace that was there before the Project as it was.
func (r *Reconciler) letGo(ctx context.Context, project *gardencorev1beta1.Project, namespace *corev1.Namespace) error {
	base := namespace.DeepCopy()
	delete(namespace.Labels, v1beta1constants.GardenRole)
	delete(namespace.Labels, v1beta1constants.ProjectName)
	for key := range namespace.Annotations {
		if slices.Contains([]string{v1beta1constants.NamespaceProject, v1beta1constants.NamespaceKeepAfterProjectDeletion, v1beta1constants.NamespaceCreatedByProjectController}, key) {
			delete(namespace.Annotations, key)
		}
	}
	var owners []metav1.OwnerReference
	for _, owner := range namespace.OwnerReferences {
		if owner.UID != project.UID {
			owners = append(owners, owner)
		}
	}
	namespace.OwnerReferences = owners
	if err := client.IgnoreNotFound(r.Client.Patch(ctx, namespace, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))); err != nil {
		return fmt.Errorf("releasing namespace %q: %w", namespace.Name, err)
	}
	return nil
}
