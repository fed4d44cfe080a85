// Package workers has the rules for the pools of machines of a cluster.
//
// The rules for Shoots call it. It is pure: what machines are on offer comes in
// as the cloud profile.
package workers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// Validate checks the pools by themselves.
func Validate(shoot *core.Shoot, path *field.Path) field.ErrorList {
	workers := shoot.Spec.Provider.Workers
	errs := check.Unique(path, "name", workers, func(w core.Worker) string { return w.Name })
	controlPlanes := 0
	for i := range workers {
		worker, at := &workers[i], path.Index(i)
		errs = append(errs, validateWorker(shoot, worker, at)...)
		if worker.ControlPlane != nil {
			if controlPlanes++; controlPlanes > 1 {
				errs = append(errs, field.Forbidden(at.Child("controlPlane"), "only one worker pool can hold the control plane"))
			}
		}
	}
	if active := slices.ContainsFunc(workers, isActive); active && !slices.ContainsFunc(workers, hostsSystem) {
		errs = append(errs, field.Forbidden(path, "at least one pool with machines has to allow system components (systemComponents.allow)"))
	}
	return errs
}

func isActive(worker core.Worker) bool { return worker.Maximum > 0 }

func hostsSystem(worker core.Worker) bool {
	return isActive(worker) && (worker.SystemComponents == nil || worker.SystemComponents.Allow)
}

func validateWorker(shoot *core.Shoot, worker *core.Worker, path *field.Path) field.ErrorList {
	errs := check.DNSLabel(path.Child("name"), worker.Name)
	if host := fmt.Sprintf("%s-%s-%d", shoot.Name, worker.Name, max(worker.Maximum, 1)-1); len(errs) == 0 && len(host) > validation.DNS1123LabelMaxLength {
		errs = append(errs, field.Invalid(path.Child("name"), worker.Name, fmt.Sprintf("is too long by %d characters: the name of a node, %q, has to fit into %d",
			len(host)-validation.DNS1123LabelMaxLength, host, validation.DNS1123LabelMaxLength)))
	}
	errs = append(errs, validateMachine(worker, path.Child("machine"))...)
	errs = append(errs, validateSize(worker, path)...)
	errs = append(errs, validateKubelet(shoot, worker, path.Child("kubernetes"))...)
	errs = append(errs, validateNode(worker, path)...)
	errs = append(errs, validateVolumes(worker, path)...)
	errs = append(errs, validateControlPlane(worker, path)...)
	errs = append(errs, validateSettings(worker, path)...)
	return append(errs, check.UniqueStrings(path.Child("zones"), worker.Zones)...)
}

func validateMachine(worker *core.Worker, path *field.Path) field.ErrorList {
	errs := check.Required(path.Child("type"), worker.Machine.Type, "names a machine type of the cloud profile")
	if image := worker.Machine.Image; image != nil {
		errs = append(errs, check.Required(path.Child("image", "name"), image.Name, "names a machine image of the cloud profile")...)
	}
	return errs
}

// validateSize checks how many machines a pool has, also while they are updated.
func validateSize(worker *core.Worker, path *field.Path) field.ErrorList {
	errs := check.AtLeast(path.Child("minimum"), worker.Minimum, 0)
	errs = append(errs, check.AtLeast(path.Child("maximum"), worker.Maximum, 0)...)
	if worker.Maximum < worker.Minimum {
		errs = append(errs, field.Invalid(path.Child("maximum"), worker.Maximum, fmt.Sprintf("must be at least minimum, which is %d", worker.Minimum)))
	}
	surge, surgeErrs := validateShare(path.Child("maxSurge"), worker.MaxSurge, false)
	unavailable, unavailableErrs := validateShare(path.Child("maxUnavailable"), worker.MaxUnavailable, true)
	errs = append(append(errs, surgeErrs...), unavailableErrs...)
	manual := worker.UpdateStrategy != nil && *worker.UpdateStrategy == core.ManualInPlaceUpdate
	if !manual && worker.MaxSurge != nil && worker.MaxUnavailable != nil && surge == 0 && unavailable == 0 && len(surgeErrs)+len(unavailableErrs) == 0 {
		errs = append(errs, field.Invalid(path.Child("maxUnavailable"), worker.MaxUnavailable.String(), "must not be 0 while maxSurge is 0: no machine could be updated"))
	}
	return errs
}

// validateShare takes a number, or a percentage of the pool; limited ones are at
// most 100%.
func validateShare(path *field.Path, value *intstr.IntOrString, limited bool) (int, field.ErrorList) {
	if value == nil {
		return 0, nil
	}
	if value.Type == intstr.Int {
		return int(value.IntVal), check.AtLeast(path, value.IntVal, 0)
	}
	text, found := strings.CutSuffix(value.StrVal, "%")
	percent, err := strconv.ParseUint(text, 10, 16)
	if !found || err != nil {
		return 0, field.ErrorList{field.Invalid(path, value.StrVal, "must be a number, or a percentage such as 25%")}
	}
	if limited && percent > 100 {
		return 0, field.ErrorList{field.Invalid(path, value.StrVal, "must be at most 100%")}
	}
	return int(percent), nil
}

// maxSkew is how many minor versions a kubelet may be behind the API server
// (Kubernetes' version skew policy).
const maxSkew = 3

func validateKubelet(shoot *core.Shoot, worker *core.Worker, path *field.Path) field.ErrorList {
	if worker.Kubernetes == nil || worker.Kubernetes.Version == nil {
		return nil
	}
	at := path.Child("version")
	kubelet, errs := check.ParseVersion(at, *worker.Kubernetes.Version)
	control, problems := check.ParseVersion(at, offers.Plain(shoot.Spec.Kubernetes.Version))
	if len(errs)+len(problems) > 0 {
		return errs
	}
	switch {
	case kubelet.GreaterThan(control):
		return field.ErrorList{field.Invalid(at, kubelet.String(), fmt.Sprintf("must not be newer than the control plane, which has %s", control))}
	case kubelet.Major() != control.Major() || kubelet.Minor()+maxSkew < control.Minor():
		return field.ErrorList{field.Invalid(at, kubelet.String(), fmt.Sprintf("must be at most %d minor versions behind the control plane, which has %s", maxSkew, control))}
	default:
		return nil
	}
}

// validateControlPlane checks a pool that holds the control plane: its machines
// hold etcd, of which a majority must be there.
func validateControlPlane(worker *core.Worker, path *field.Path) field.ErrorList {
	if worker.ControlPlane == nil {
		return nil
	}
	var errs field.ErrorList
	switch {
	case worker.Minimum < 1 || worker.Minimum%2 == 0:
		errs = append(errs, field.Invalid(path.Child("minimum"), worker.Minimum, "a control plane has an odd number of machines, so that a majority can be told"))
	case worker.Maximum > worker.Minimum:
		errs = append(errs, field.Invalid(path.Child("maximum"), worker.Maximum, fmt.Sprintf("must be minimum, which is %d: a control plane does not grow by itself", worker.Minimum)))
	}
	at := path.Child("controlPlane")
	if exposure := worker.ControlPlane.Exposure; exposure != nil && exposure.Extension != nil && exposure.DNS != nil {
		errs = append(errs, field.Forbidden(at.Child("exposure", "dns"), "only one of extension and dns can expose the control plane"))
	}
	if backup := worker.ControlPlane.Backup; backup != nil {
		errs = append(errs, check.Required(at.Child("backup", "provider"), backup.Provider, "says what holds the backups")...)
		if backup.CredentialsRef == nil {
			errs = append(errs, field.Required(at.Child("backup", "credentialsRef"), "names the credentials for the store of backups"))
		}
	}
	return errs
}
