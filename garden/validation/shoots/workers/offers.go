package workers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// ValidateOffers checks what the pools name against what the cloud profile
// offers, but only what differs from old, which is nil when all is new.
func ValidateOffers(shoot, old *core.Shoot, path *field.Path, profile *core.CloudProfileSpec, now time.Time) field.ErrorList {
	o := offered{shoot, old, profile, now}
	var errs field.ErrorList
	for i := range shoot.Spec.Provider.Workers {
		worker := &shoot.Spec.Provider.Workers[i]
		errs = append(errs, o.worker(worker, before(old, worker.Name), path.Index(i))...)
	}
	return append(errs, o.nodes(path)...)
}

// before is the pool of a name in a Shoot; nil if there is none.
func before(old *core.Shoot, name string) *core.Worker {
	if old == nil {
		return nil
	}
	if i := slices.IndexFunc(old.Spec.Provider.Workers, func(w core.Worker) bool { return w.Name == name }); i >= 0 {
		return &old.Spec.Provider.Workers[i]
	}
	return nil
}

type offered struct {
	shoot, old *core.Shoot
	profile    *core.CloudProfileSpec
	now        time.Time
}

func (o offered) worker(worker, old *core.Worker, path *field.Path) field.ErrorList {
	errs := o.machineType(worker, old, path.Child("machine"))
	errs = append(errs, o.architecture(worker, old, path.Child("machine", "architecture"))...)
	errs = append(errs, o.image(worker, old, path.Child("machine", "image"))...)
	errs = append(errs, o.kubelet(worker, old, path.Child("kubernetes", "version"))...)
	errs = append(errs, o.zones(worker, old, path.Child("zones"))...)
	return append(errs, o.volumes(worker, old, path)...)
}

func (o offered) machineType(worker, old *core.Worker, path *field.Path) field.ErrorList {
	name := worker.Machine.Type
	if name == "" || old != nil && old.Machine.Type == name {
		return nil
	}
	at := path.Child("type")
	machine := offers.MachineType(o.profile, name)
	if machine == nil || !offers.IsUsable(machine.Usable) {
		var usable []string
		for _, t := range o.profile.MachineTypes {
			if offers.IsUsable(t.Usable) {
				usable = append(usable, t.Name)
			}
		}
		return field.ErrorList{check.Offered(at, name, usable)}
	}
	errs := o.localMachine(worker, machine, at)
	return append(errs, o.availability(worker.Zones, at, name, func(z core.AvailabilityZone) []string { return z.UnavailableMachineTypes })...)
}

// availability checks that a type is there in each zone of a pool.
func (o offered) availability(zones []string, path *field.Path, name string, missing func(core.AvailabilityZone) []string) field.ErrorList {
	region := offers.Region(o.profile, o.shoot.Spec.Region)
	if region == nil {
		return nil
	}
	var without []string
	for _, zone := range region.Zones {
		if slices.Contains(zones, zone.Name) && slices.Contains(missing(zone), name) {
			without = append(without, zone.Name)
		}
	}
	if len(without) == 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, name, "is not there in zone "+strings.Join(without, ", "))}
}

func (o offered) architecture(worker, old *core.Worker, path *field.Path) field.ErrorList {
	wanted := worker.Machine.Architecture
	if wanted == nil || old != nil && apiequality.Semantic.DeepEqual(old.Machine.Architecture, wanted) && old.Machine.Type == worker.Machine.Type {
		return nil
	}
	if !slices.Contains([]string{v1beta1constants.ArchitectureAMD64, v1beta1constants.ArchitectureARM64}, *wanted) {
		return field.ErrorList{field.NotSupported(path, *wanted, []string{v1beta1constants.ArchitectureAMD64, v1beta1constants.ArchitectureARM64})}
	}
	machine := offers.MachineType(o.profile, worker.Machine.Type)
	if machine == nil {
		return nil
	}
	if has := offers.Architecture(o.profile, machine); has != *wanted {
		return field.ErrorList{field.Invalid(path, *wanted, fmt.Sprintf("must be %s, as machine type %q is", has, machine.Name))}
	}
	return nil
}

func (o offered) image(worker, old *core.Worker, path *field.Path) field.ErrorList {
	image := worker.Machine.Image
	if image == nil {
		if len(o.profile.MachineImages) == 0 || offers.MachineType(o.profile, worker.Machine.Type) == nil || old != nil {
			return nil
		}
		return field.ErrorList{field.Required(path, "the cloud profile has no image that fits the pool: name one")}
	}
	if image.Name == "" || old != nil && !o.imageMatters(worker, old) {
		return nil
	}
	known := offers.Image(o.profile, image.Name)
	if known == nil {
		var names []string
		for _, i := range o.profile.MachineImages {
			names = append(names, i.Name)
		}
		return field.ErrorList{check.Offered(path.Child("name"), image.Name, names)}
	}
	at := path.Child("version")
	need := offers.NeedOf(o.shoot, worker, o.profile)
	version := offers.ImageVersion(known, image.Version)
	sameImage := old != nil && old.Machine.Image != nil && old.Machine.Image.Name == image.Name && old.Machine.Image.Version == image.Version
	if version == nil && sameImage {
		return nil
	}
	if version == nil || !sameImage && !offers.Usable(version.ExpirableVersion, o.now) {
		return field.ErrorList{field.Invalid(at, image.Version, o.otherVersions(known, need))}
	}
	if misfit := offers.Misfit(o.profile, version, need); misfit != "" {
		return field.ErrorList{field.Invalid(at, image.Version, fmt.Sprintf("image %s %s; %s", image.Name, misfit, o.otherVersions(known, need)))}
	}
	return validateInPlaceImage(worker, old, version, at)
}

// imageMatters tells whether something changed that the image has to fit.
func (o offered) imageMatters(worker, old *core.Worker) bool {
	return !apiequality.Semantic.DeepEqual(worker.Machine, old.Machine) || !apiequality.Semantic.DeepEqual(worker.CRI, old.CRI) ||
		offers.NeedOf(o.shoot, worker, o.profile).Kubelet != offers.NeedOf(o.old, old, o.profile).Kubelet
}

func (o offered) otherVersions(image *core.MachineImage, need offers.Need) string {
	var fitting []string
	for i := range image.Versions {
		version := &image.Versions[i]
		if offers.Usable(version.ExpirableVersion, o.now) && offers.Misfit(o.profile, version, need) == "" {
			fitting = append(fitting, version.Version)
		}
	}
	if len(fitting) == 0 {
		return fmt.Sprintf("no version of image %s fits the pool", image.Name)
	}
	return fmt.Sprintf("versions of image %s that fit the pool are %s", image.Name, strings.Join(fitting, ", "))
}

func (o offered) kubelet(worker, old *core.Worker, path *field.Path) field.ErrorList {
	if worker.Kubernetes == nil || worker.Kubernetes.Version == nil {
		return nil
	}
	version := *worker.Kubernetes.Version
	had := old != nil && old.Kubernetes != nil && old.Kubernetes.Version != nil && *old.Kubernetes.Version == version
	// The control plane's own version is its rule's to judge, and what a pool had
	// because the cluster had it is not new either.
	inherited := o.old != nil && old != nil && o.old.Spec.Kubernetes.Version == version
	if had || inherited || version == o.shoot.Spec.Kubernetes.Version {
		return nil
	}
	usable := offers.UsableNames(o.profile.Kubernetes.Versions, o.now)
	if slices.Contains(usable, version) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, version, "the cloud profile offers "+strings.Join(usable, ", "))}
}

func (o offered) zones(worker, old *core.Worker, path *field.Path) field.ErrorList {
	region := offers.Region(o.profile, o.shoot.Spec.Region)
	if region == nil {
		return nil
	}
	var names []string
	for _, zone := range region.Zones {
		names = append(names, zone.Name)
	}
	var errs field.ErrorList
	for i, zone := range worker.Zones {
		if !slices.Contains(names, zone) && (old == nil || !slices.Contains(old.Zones, zone)) {
			errs = append(errs, check.Offered(path.Index(i), zone, names))
		}
	}
	return errs
}

func (o offered) volumes(worker, old *core.Worker, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	machine := offers.MachineType(o.profile, worker.Machine.Type)
	if volume := worker.Volume; volume != nil && (old == nil || !apiequality.Semantic.DeepEqual(volume, old.Volume) || worker.Machine.Type != old.Machine.Type) {
		errs = append(errs, o.volume(worker, machine, volume.Type, volume.VolumeSize, path.Child("volume"))...)
	}
	for i, volume := range worker.DataVolumes {
		if old != nil && slices.ContainsFunc(old.DataVolumes, func(v core.DataVolume) bool { return apiequality.Semantic.DeepEqual(v, volume) }) {
			continue
		}
		errs = append(errs, o.volume(worker, nil, volume.Type, volume.VolumeSize, path.Child("dataVolumes").Index(i))...)
	}
	return errs
}

func (o offered) volume(worker *core.Worker, machine *core.MachineType, volumeType *string, size string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var known *core.VolumeType
	if volumeType != nil {
		known = offers.VolumeType(o.profile, *volumeType)
		if known == nil || !offers.IsUsable(known.Usable) {
			var usable []string
			for _, t := range o.profile.VolumeTypes {
				if offers.IsUsable(t.Usable) {
					usable = append(usable, t.Name)
				}
			}
			return field.ErrorList{check.Offered(path.Child("type"), *volumeType, usable)}
		}
		errs = append(errs, o.availability(worker.Zones, path.Child("type"), *volumeType, func(z core.AvailabilityZone) []string { return z.UnavailableVolumeTypes })...)
	}
	least := minimumSize(machine, known)
	if quantity, err := resource.ParseQuantity(size); err == nil && least != nil && quantity.Cmp(*least) < 0 {
		errs = append(errs, field.Invalid(path.Child("size"), size, fmt.Sprintf("must be at least %s", least.String())))
	}
	return errs
}

// nodes checks the profile's limit of nodes, which no pool alone and no sum of
// minima may pass.
func (o offered) nodes(path *field.Path) field.ErrorList {
	if o.profile.Limits == nil || o.profile.Limits.MaxNodesTotal == nil {
		return nil
	}
	limit, sum, was := int64(*o.profile.Limits.MaxNodesTotal), int64(0), int64(0)
	var errs field.ErrorList
	for i := range o.shoot.Spec.Provider.Workers {
		worker := &o.shoot.Spec.Provider.Workers[i]
		sum += int64(worker.Minimum)
		old := before(o.old, worker.Name)
		if old != nil {
			was += int64(old.Minimum)
		}
		if int64(worker.Maximum) > limit && (old == nil || worker.Maximum > old.Maximum) {
			errs = append(errs, field.Invalid(path.Index(i).Child("maximum"), worker.Maximum, fmt.Sprintf("must be at most %d, the cloud profile's limit of nodes", limit)))
		}
	}
	if sum > limit && sum > was {
		errs = append(errs, field.Forbidden(path, fmt.Sprintf("the minima of all pools are %d nodes, and the cloud profile's limit is %d", sum, limit)))
	}
	return errs
}
