package workers

import (
	"fmt"
	"slices"

	"github.com/Masterminds/semver/v3"
	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/validation/shoots/operations"
)

// implicitControlPlane is the pool that holds the control plane of a cluster
// whose own pools do not.
const implicitControlPlane = "control-plane"

// ValidateUpdate compares pools with what they were.
func ValidateUpdate(shoot, old *core.Shoot, path *field.Path) field.ErrorList {
	errs := validateControlPlaneStays(shoot, old, path)
	for i := range shoot.Spec.Provider.Workers {
		worker := &shoot.Spec.Provider.Workers[i]
		was := before(old, worker.Name)
		if was == nil {
			continue
		}
		at := path.Index(i)
		errs = append(errs, validateKubeletUpdate(shoot, old, worker, was, at.Child("kubernetes", "version"))...)
		errs = append(errs, validateImageUpdate(worker, was, at.Child("machine", "image", "version"))...)
		errs = append(errs, validateStrategyUpdate(shoot, worker, was, at)...)
	}
	return errs
}

// controlPlanePool is the name of the pool that holds the control plane.
func controlPlanePool(shoot *core.Shoot) string {
	for _, worker := range shoot.Spec.Provider.Workers {
		if worker.ControlPlane != nil {
			return worker.Name
		}
	}
	return implicitControlPlane
}

// validateControlPlaneStays keeps the control plane in its pool: its machines
// hold the cluster's state.
func validateControlPlaneStays(shoot, old *core.Shoot, path *field.Path) field.ErrorList {
	now, was := controlPlanePool(shoot), controlPlanePool(old)
	if now == was {
		return nil
	}
	for i, worker := range shoot.Spec.Provider.Workers {
		if worker.ControlPlane != nil {
			return field.ErrorList{field.Forbidden(path.Index(i).Child("controlPlane"), fmt.Sprintf("a control plane stays in its pool, which is %q", was))}
		}
	}
	return field.ErrorList{field.Forbidden(path, fmt.Sprintf("pool %q holds the control plane and has to stay", was))}
}

// kubelet is the version that a pool's nodes have.
func kubelet(shoot *core.Shoot, worker *core.Worker) string {
	if worker.Kubernetes != nil && worker.Kubernetes.Version != nil {
		return *worker.Kubernetes.Version
	}
	return shoot.Spec.Kubernetes.Version
}

// validateKubeletUpdate allows a pool newer versions only, and, unlike a control
// plane, several minor versions at once: its nodes are replaced.
func validateKubeletUpdate(shoot, old *core.Shoot, worker, was *core.Worker, path *field.Path) field.ErrorList {
	now, err := semver.StrictNewVersion(kubelet(shoot, worker))
	former, formerErr := semver.StrictNewVersion(kubelet(old, was))
	if err != nil || formerErr != nil || !now.LessThan(former) {
		return nil
	}
	if worker.Kubernetes == nil || worker.Kubernetes.Version == nil {
		return nil // the control plane's own downgrade is named already
	}
	return field.ErrorList{field.Forbidden(path, fmt.Sprintf("cannot be lowered from %s to %s", former, now))}
}

// validateImageUpdate allows newer versions of one image only. Another image is
// another system, whose versions say nothing about these.
func validateImageUpdate(worker, was *core.Worker, path *field.Path) field.ErrorList {
	image, former := worker.Machine.Image, was.Machine.Image
	if image == nil || former == nil || image.Version == former.Version {
		return nil
	}
	if image.Name != former.Name {
		if inPlace(worker) {
			return field.ErrorList{field.Forbidden(path, fmt.Sprintf("machines that are updated in place keep image %s", former.Name))}
		}
		return nil
	}
	now, err := semver.NewVersion(image.Version)
	before, beforeErr := semver.NewVersion(former.Version)
	if err == nil && beforeErr == nil && now.LessThan(before) {
		return field.ErrorList{field.Forbidden(path, fmt.Sprintf("cannot be lowered from %s to %s", former.Version, image.Version))}
	}
	return nil
}

// validateStrategyUpdate keeps how a pool is updated, and what updates in place
// cannot change.
func validateStrategyUpdate(shoot *core.Shoot, worker, was *core.Worker, path *field.Path) field.ErrorList {
	if inPlace(worker) != inPlace(was) {
		return field.ErrorList{field.Forbidden(path.Child("updateStrategy"), "cannot be changed between updates in place and by replacement: add another pool")}
	}
	if !inPlace(worker) {
		return nil
	}
	var errs field.ErrorList
	for _, part := range []struct {
		name     string
		now, was any
	}{
		{"machine.type", worker.Machine.Type, was.Machine.Type},
		{"machine.architecture", worker.Machine.Architecture, was.Machine.Architecture},
		{"volume", worker.Volume, was.Volume},
		{"dataVolumes", worker.DataVolumes, was.DataVolumes},
		{"kubeletDataVolumeName", worker.KubeletDataVolumeName, was.KubeletDataVolumeName},
		{"cri", worker.CRI, was.CRI},
	} {
		if !apiequality.Semantic.DeepEqual(part.now, part.was) {
			errs = append(errs, field.Forbidden(path.Child(part.name), "cannot be changed while machines are updated in place"))
		}
	}
	if pending(shoot, worker.Name) && !operations.ForcesUpdate(shoot) && rolls(worker, was) {
		errs = append(errs, field.Forbidden(path, fmt.Sprintf("an update of pool %q is under way: wait for it, or force the next with annotation %s=%s",
			worker.Name, v1beta1constants.GardenerOperation, v1beta1constants.ShootOperationForceInPlaceUpdate)))
	}
	return errs
}

func pending(shoot *core.Shoot, pool string) bool {
	status := shoot.Status.InPlaceUpdates
	if status == nil || status.PendingWorkerUpdates == nil {
		return false
	}
	return slices.Contains(status.PendingWorkerUpdates.AutoInPlaceUpdate, pool) || slices.Contains(status.PendingWorkerUpdates.ManualInPlaceUpdate, pool)
}

// rolls tells whether a change reaches the machines of a pool.
func rolls(worker, was *core.Worker) bool {
	return !apiequality.Semantic.DeepEqual(worker.Machine, was.Machine) || !apiequality.Semantic.DeepEqual(worker.Kubernetes, was.Kubernetes)
}

// validateInPlaceImage checks that an image can be reached from the former one
// without replacing the machine.
func validateInPlaceImage(worker, old *core.Worker, version *core.MachineImageVersion, path *field.Path) field.ErrorList {
	if old == nil || old.Machine.Image == nil || !inPlace(worker) || version.InPlaceUpdates == nil || version.InPlaceUpdates.MinVersionForUpdate == nil {
		return nil
	}
	least, err := semver.NewVersion(*version.InPlaceUpdates.MinVersionForUpdate)
	from, fromErr := semver.NewVersion(offers.Plain(old.Machine.Image.Version))
	if err != nil || fromErr != nil || !from.LessThan(least) || old.Machine.Image.Version == version.Version {
		return nil
	}
	return field.ErrorList{field.Invalid(path, version.Version, fmt.Sprintf("can be reached in place from %s on, and the machines have %s", least, from))}
}
