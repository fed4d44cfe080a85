package maintenance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Texts of status.lastMaintenance beside those of describe.
const (
	descriptionFailed    = "Maintenance failed"
	descriptionSucceeded = "Maintenance succeeded"
	reasonRefused        = "Updates to the Shoot failed to be applied"
)

// observe reads what a plan depends on. A problem is what a user has to mend.
func (r *Reconciler) observe(ctx context.Context, shoot *gardencorev1beta1.Shoot) (facts, string, error) {
	f := facts{
		restartControlPlane: ptr.Deref(r.Config.EnableShootControlPlaneRestarter, false), restartAddons: ptr.Deref(r.Config.EnableShootCoreAddonRestarter, false),
		disableNginx: r.DisableNginxIngress, now: r.Clock.Now(),
	}
	spec, problem, err := r.profile(ctx, shoot)
	if err != nil || problem != "" {
		return f, problem, err
	}
	f.profile = &core.CloudProfileSpec{}
	// Converted types share memory with what they come from, which is the cache's.
	if err := gardencorev1beta1.Convert_v1beta1_CloudProfileSpec_To_core_CloudProfileSpec(spec.DeepCopy(), f.profile, nil); err != nil {
		return f, "", fmt.Errorf("converting the cloud profile: %w", err)
	}
	if shoot.Spec.SecretBindingName == nil {
		return f, "", nil
	}
	binding := &gardencorev1beta1.SecretBinding{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: shoot.Namespace, Name: *shoot.Spec.SecretBindingName}, binding); err == nil {
		f.secretBinding = binding
	} else if !apierrors.IsNotFound(err) {
		return f, "", fmt.Errorf("reading the secret binding: %w", err)
	}
	list := &securityv1alpha1.CredentialsBindingList{}
	if err := r.Client.List(ctx, list, client.InNamespace(shoot.Namespace)); err != nil {
		return f, "", fmt.Errorf("listing credentials bindings: %w", err)
	}
	f.credentialsBindings = list.Items
	return f, "", nil
}

// profile reads the cloud profile that a Shoot names, in either form.
func (r *Reconciler) profile(ctx context.Context, shoot *gardencorev1beta1.Shoot) (*gardencorev1beta1.CloudProfileSpec, string, error) {
	ref := gardencorev1beta1.CloudProfileReference{Kind: v1beta1constants.CloudProfileReferenceKindCloudProfile, Name: ptr.Deref(shoot.Spec.CloudProfileName, "")}
	if shoot.Spec.CloudProfile != nil {
		ref = *shoot.Spec.CloudProfile
	}
	var err error
	var spec *gardencorev1beta1.CloudProfileSpec
	if ref.Kind == v1beta1constants.CloudProfileReferenceKindNamespacedCloudProfile {
		profile := &gardencorev1beta1.NamespacedCloudProfile{}
		err, spec = r.Client.Get(ctx, client.ObjectKey{Namespace: shoot.Namespace, Name: ref.Name}, profile), &profile.Status.CloudProfileSpec
	} else {
		profile := &gardencorev1beta1.CloudProfile{}
		err, spec = r.Client.Get(ctx, client.ObjectKey{Name: ref.Name}, profile), &profile.Spec
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Sprintf("there is no cloud profile %q", ref.Name), nil
	case err != nil:
		return nil, "", fmt.Errorf("reading cloud profile %q: %w", ref.Name, err)
	}
	return spec, "", nil
}

// apply tries the plan, says that it begins, carries it out, and says how it went.
// Interrupted anywhere it is planned anew, and finds what is left to do.
func (r *Reconciler) apply(ctx context.Context, shoot *gardencorev1beta1.Shoot, p *plan) error {
	if p.binding != nil {
		if err := r.Client.Create(ctx, p.binding); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating credentials binding %q: %w", p.binding.Name, err)
		}
		log.FromContext(ctx).Info("Created a credentials binding in place of the shoot's secret binding", "binding", p.binding.Name)
	}
	trial := p.shoot.DeepCopy()
	if err := r.Client.Patch(ctx, trial, client.MergeFrom(shoot), client.DryRunAll); err != nil {
		if refusal(err) {
			return r.refused(ctx, shoot, err.Error())
		}
		return fmt.Errorf("trying the changes: %w", err)
	}
	if len(p.results) > 0 {
		description, failure := describe(p.results)
		if err := r.report(ctx, shoot, gardencorev1beta1.LastOperationStateProcessing, description, failure); err != nil {
			return err
		}
	}
	generation := shoot.Generation
	// Only as it was read: what a user changed meanwhile is planned with.
	p.shoot.ResourceVersion, p.shoot.Status = shoot.ResourceVersion, *shoot.Status.DeepCopy()
	if err := r.Client.Patch(ctx, p.shoot, client.MergeFromWithOptions(shoot, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("changing the shoot: %w", err)
	}
	if operates(p.shoot, generation) {
		// What is asked for would wait until somebody changes the spec.
		return fmt.Errorf("the API server has not taken up operation %q", p.shoot.Annotations[v1beta1constants.GardenerOperation])
	}
	r.tell(ctx, p.shoot, p.results)
	*shoot = *p.shoot
	return r.finish(ctx, shoot)
}

// operates tells whether an operation still waits that the API server takes
// away, which raises the generation.
func operates(shoot *gardencorev1beta1.Shoot, before int64) bool {
	return shoot.Generation == before && slices.ContainsFunc(asked(shoot), func(operation string) bool {
		return operation == v1beta1constants.GardenerOperationReconcile || operation == v1beta1constants.ShootOperationRetry
	})
}

// refusal tells whether an answer is about the change, and not about the moment.
func refusal(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}

// finish ends what is in progress, and clears a failure that is over.
func (r *Reconciler) finish(ctx context.Context, shoot *gardencorev1beta1.Shoot) error {
	last := shoot.Status.LastMaintenance
	switch {
	case last == nil || last.State == gardencorev1beta1.LastOperationStateSucceeded:
		return nil
	case last.State != gardencorev1beta1.LastOperationStateProcessing:
		return r.report(ctx, shoot, gardencorev1beta1.LastOperationStateSucceeded, descriptionSucceeded, "")
	case ptr.Deref(last.FailureReason, "") != "":
		return r.report(ctx, shoot, gardencorev1beta1.LastOperationStateFailed, last.Description, *last.FailureReason)
	default:
		return r.report(ctx, shoot, gardencorev1beta1.LastOperationStateSucceeded, last.Description, "")
	}
}

// refused notes why nothing was changed, and stops asking: only a change of the
// Shoot or of what it refers to helps.
func (r *Reconciler) refused(ctx context.Context, shoot *gardencorev1beta1.Shoot, problem string) error {
	reason := reasonRefused + ": " + problem
	if err := r.report(ctx, shoot, gardencorev1beta1.LastOperationStateFailed, descriptionFailed, reason); err != nil {
		return err
	}
	r.Recorder.Eventf(shoot, nil, "Warning", gardencorev1beta1.ShootMaintenanceFailed, "Reconcile", "%s", reason)
	log.FromContext(ctx).Info("Cannot maintain the shoot", "problem", problem)
	if !asksToMaintain(shoot) {
		return nil
	}
	base := shoot.DeepCopy()
	rest := slices.DeleteFunc(asked(shoot), func(o string) bool { return o == v1beta1constants.ShootOperationMaintain })
	setList(shoot, v1beta1constants.GardenerOperation, separator, rest)
	if err := r.Client.Patch(ctx, shoot, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("taking back operation %q: %w", strings.Join(asked(base), separator), err)
	}
	return nil
}

// report writes status.lastMaintenance, whose only writer this is. The time is
// that of the beginning.
func (r *Reconciler) report(ctx context.Context, shoot *gardencorev1beta1.Shoot, state gardencorev1beta1.LastOperationState, description, failure string) error {
	base := shoot.DeepCopy()
	now := &gardencorev1beta1.LastMaintenance{Description: description, State: state, TriggeredTime: metav1.NewTime(r.Clock.Now())}
	if failure != "" {
		now.FailureReason = &failure
	}
	if interrupted(base) {
		now.TriggeredTime = base.Status.LastMaintenance.TriggeredTime
	}
	shoot.Status.LastMaintenance = now
	if err := r.Client.Status().Patch(ctx, shoot, client.MergeFrom(base)); err != nil {
		return fmt.Errorf("reporting the maintenance as %s: %w", state, err)
	}
	return nil
}
