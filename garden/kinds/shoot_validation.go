package kinds

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/loam-cloud/loam/garden/strategy"
)

const (
	// technicalIDLimit is what namespaces, host names and label values take.
	technicalIDLimit = validation.DNS1123LabelMaxLength
	// providerLocal is the machine driver whose node images are built here.
	providerLocal = "local"
)

// technicalID is the name of everything that belongs to one cluster.
func technicalID(project, shoot string) string { return "shoot--" + project + "--" + shoot }

func shootName(name string, prefix bool) []string {
	errs := dnsLabel(name, prefix)
	if strings.Contains(name, "--") {
		errs = append(errs, `must not contain "--", which separates the parts of names derived from it`)
	}
	return errs
}

// validate checks a Shoot alone and then what it refers to.
func (r shootRules) validate(ctx context.Context, shoot, old *core.Shoot) field.ErrorList {
	errs := validateShootSpec(shoot)
	if shoot.DeletionTimestamp != nil {
		// A cluster must be removable whatever became of what it refers to.
		return errs
	}
	// From memory first, because nearly every write is right; only what is found
	// wrong is looked at again in the store, as it may have been made just now.
	problems := r.validateReferences(ctx, shoot, old, strategy.Cached)
	if len(problems) > 0 {
		problems = r.validateReferences(ctx, shoot, old, strategy.Current)
	}
	return append(errs, problems...)
}

func validateShootSpec(shoot *core.Shoot) field.ErrorList {
	spec, path := shoot.Spec, field.NewPath("spec")
	var errs field.ErrorList
	if profileReference(shoot).Name == "" {
		errs = append(errs, field.Required(path.Child("cloudProfile", "name"), "names the cloud profile that offers machines and versions"))
	} else if kind := spec.CloudProfile.Kind; kind != v1beta1constants.CloudProfileReferenceKindCloudProfile && kind != v1beta1constants.CloudProfileReferenceKindNamespacedCloudProfile {
		errs = append(errs, field.NotSupported(path.Child("cloudProfile", "kind"), kind, []string{v1beta1constants.CloudProfileReferenceKindCloudProfile, v1beta1constants.CloudProfileReferenceKindNamespacedCloudProfile}))
	}
	errs = append(errs, required(path.Child("region"), spec.Region, "names a region of the cloud profile")...)
	errs = append(errs, required(path.Child("provider", "type"), spec.Provider.Type, "says what the machines are, for example local")...)
	versionPath := path.Child("kubernetes", "version")
	if spec.Kubernetes.Version == "" {
		errs = append(errs, field.Required(versionPath, "is a version that the cloud profile offers, for example 1.36.3"))
	} else {
		errs = append(errs, validateVersion(versionPath, spec.Kubernetes.Version)...)
	}
	if name := spec.SeedName; name != nil && *name == "" {
		errs = append(errs, field.Invalid(path.Child("seedName"), "", "must name a seed, or be left out"))
	}
	return append(errs, validateWorkers(path.Child("provider", "workers"), spec.Provider.Workers)...)
}

func validateWorkers(path *field.Path, workers []core.Worker) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	controlPlanes := 0
	for i, worker := range workers {
		path := path.Index(i)
		for _, problem := range dnsLabel(worker.Name, false) {
			errs = append(errs, field.Invalid(path.Child("name"), worker.Name, problem))
		}
		if seen[worker.Name] {
			errs = append(errs, field.Duplicate(path.Child("name"), worker.Name))
		}
		seen[worker.Name] = true
		errs = append(errs, required(path.Child("machine", "type"), worker.Machine.Type, "names a machine type of the cloud profile")...)
		if worker.Minimum < 0 {
			errs = append(errs, field.Invalid(path.Child("minimum"), worker.Minimum, "must be 0 or more"))
		}
		if worker.Maximum < worker.Minimum {
			errs = append(errs, field.Invalid(path.Child("maximum"), worker.Maximum, fmt.Sprintf("must be at least minimum, which is %d", worker.Minimum)))
		}
		if worker.Kubernetes != nil && worker.Kubernetes.Version != nil {
			errs = append(errs, validateVersion(path.Child("kubernetes", "version"), *worker.Kubernetes.Version)...)
		}
		if worker.ControlPlane != nil {
			if controlPlanes++; controlPlanes > 1 {
				errs = append(errs, field.Forbidden(path.Child("controlPlane"), "only one worker pool can hold the control plane"))
			}
		}
	}
	return errs
}

func validateVersion(path *field.Path, text string) field.ErrorList {
	if _, err := version.ParseSemantic(text); err != nil {
		return field.ErrorList{field.Invalid(path, text, "must be a full version, for example 1.36.3")}
	}
	return nil
}

func (r shootRules) validateReferences(ctx context.Context, shoot, old *core.Shoot, freshness strategy.Freshness) field.ErrorList {
	var errs field.ErrorList
	if old == nil {
		errs = append(errs, r.validateProject(ctx, shoot, freshness)...)
	}
	if seed := shoot.Spec.SeedName; seed != nil && *seed != "" && (old == nil || deref(old.Spec.SeedName) != *seed) {
		path := field.NewPath("spec", "seedName")
		switch found, err := r.references.seed(ctx, *seed, freshness); {
		case err != nil:
			errs = append(errs, field.InternalError(path, fmt.Errorf("reading seed %q: %w", *seed, err)))
		case found == nil:
			errs = append(errs, field.NotFound(path, *seed))
		}
	}
	return append(errs, r.validateProfile(ctx, shoot, old, freshness)...)
}

// validateProject checks that the namespace belongs to a project and that the
// name derived from both fits.
func (r shootRules) validateProject(ctx context.Context, shoot *core.Shoot, freshness strategy.Freshness) field.ErrorList {
	project, err := r.references.projectOf(ctx, shoot.Namespace, freshness)
	if err != nil {
		return field.ErrorList{field.InternalError(field.NewPath("metadata", "namespace"), fmt.Errorf("looking for the project of namespace %q: %w", shoot.Namespace, err))}
	}
	if project == nil {
		return field.ErrorList{field.Invalid(field.NewPath("metadata", "namespace"), shoot.Namespace, "belongs to no project: clusters live in the namespace that a Project names in spec.namespace")}
	}
	if id := technicalID(project.Name, shoot.Name); len(id) > technicalIDLimit {
		room := technicalIDLimit - len(technicalID(project.Name, ""))
		return field.ErrorList{field.Invalid(field.NewPath("metadata", "name"), shoot.Name,
			fmt.Sprintf("must have at most %d characters in project %q: %q, the name of what belongs to the cluster, has to fit into %d", room, project.Name, id, technicalIDLimit))}
	}
	return nil
}

// validateProfile checks what changed against the cloud profile: a cluster that
// runs is not refused because the profile moved on.
func (r shootRules) validateProfile(ctx context.Context, shoot, old *core.Shoot, freshness strategy.Freshness) field.ErrorList {
	ref := profileReference(shoot)
	newProfile := old == nil || profileReference(old) != ref
	newVersion := old == nil || old.Spec.Kubernetes.Version != shoot.Spec.Kubernetes.Version
	if ref.Name == "" || !newProfile && !newVersion {
		return nil
	}
	path := field.NewPath("spec", "cloudProfile", "name")
	profile, err := r.references.profile(ctx, shoot.Namespace, ref, freshness)
	if err != nil {
		return field.ErrorList{field.InternalError(path, fmt.Errorf("reading cloud profile %q: %w", ref.Name, err))}
	}
	if profile == nil {
		return field.ErrorList{field.NotFound(path, ref.Name)}
	}
	var errs field.ErrorList
	if kind := shoot.Spec.Provider.Type; newProfile && kind != "" && kind != profile.Type {
		errs = append(errs, field.Invalid(field.NewPath("spec", "provider", "type"), kind, fmt.Sprintf("must be %q, the type of cloud profile %q", profile.Type, ref.Name)))
	}
	version := shoot.Spec.Kubernetes.Version
	offered := offeredVersions(profile.Kubernetes.Versions, r.clock.Now())
	if newVersion && version != "" && !slices.Contains(offered, version) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "kubernetes", "version"), version, notOffered(ref.Name, profile.Type, version, offered)))
	}
	return errs
}

func notOffered(profile, providerType, version string, offered []string) string {
	message := fmt.Sprintf("cloud profile %q offers %s", profile, strings.Join(offered, ", "))
	if len(offered) == 0 {
		message = fmt.Sprintf("cloud profile %q offers no version", profile)
	}
	if providerType == providerLocal {
		message += fmt.Sprintf("; a node image makes a version available: loam image build --kubernetes-version v%s", version)
	}
	return message
}

// offeredVersions are those that a new cluster may have at a time.
func offeredVersions(versions []core.ExpirableVersion, now time.Time) []string {
	var offered []string
	for _, version := range versions {
		if version.ExpirationDate != nil && !now.Before(version.ExpirationDate.Time) {
			continue
		}
		if stage := currentStage(version.Lifecycle, now); stage == core.ClassificationUnavailable || stage == core.ClassificationExpired {
			continue
		}
		offered = append(offered, strings.TrimPrefix(version.Version, "v"))
	}
	return offered
}

// currentStage is the last stage of a lifecycle that has begun; empty when the
// version has no lifecycle, unavailable before the first.
func currentStage(lifecycle []core.LifecycleStage, now time.Time) core.VersionClassification {
	if len(lifecycle) == 0 {
		return ""
	}
	current := core.ClassificationUnavailable
	for _, stage := range lifecycle {
		if stage.StartTime == nil || !now.Before(stage.StartTime.Time) {
			current = stage.Classification
		}
	}
	return current
}
