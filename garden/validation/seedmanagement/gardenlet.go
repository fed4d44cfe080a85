package seedmanagement

import (
	"github.com/gardener/gardener/pkg/apis/seedmanagement"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/garden/validation/extensions"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// ValidateGardenlet returns every problem of a Gardenlet; old is nil on create.
func ValidateGardenlet(gardenlet, old *seedmanagement.Gardenlet) field.ErrorList {
	path, spec := field.NewPath("spec"), &gardenlet.Spec
	errs := inGarden(gardenlet.Namespace)
	at := path.Child("deployment")
	errs = append(errs, deployment(at, &spec.Deployment.GardenletDeployment)...)
	errs = append(errs, extensions.ValidateRepository(at.Child("helm", "ociRepository"), &spec.Deployment.Helm.OCIRepository)...)
	errs = append(errs, imageVector(at.Child("imageVectorOverwrite"), spec.Deployment.ImageVectorOverwrite)...)
	errs = append(errs, imageVector(at.Child("componentImageVectorOverwrite"), spec.Deployment.ComponentImageVectorOverwrite)...)
	if ref := spec.KubeconfigSecretRef; ref != nil {
		errs = append(errs, check.Required(path.Child("kubeconfigSecretRef", "name"), ref.Name, "names the secret with the kubeconfig, or is left out")...)
	}
	var before runtime.Object
	if old != nil {
		before = old.Spec.Config
	}
	return append(errs, configuration(path.Child("config"), spec.Config, before)...)
}

// imageVector wants a document in YAML.
func imageVector(path *field.Path, text *string) field.ErrorList {
	if text == nil {
		return nil
	}
	var document map[string]any
	if err := yaml.Unmarshal([]byte(*text), &document); err != nil {
		return field.ErrorList{field.Invalid(path, *text, "must be an image vector in YAML: "+err.Error())}
	}
	return nil
}

func deployment(path *field.Path, deployment *seedmanagement.GardenletDeployment) field.ErrorList {
	var errs field.ErrorList
	if replicas := deployment.ReplicaCount; replicas != nil {
		errs = append(errs, check.AtLeast(path.Child("replicaCount"), *replicas, 0)...)
	}
	if limit := deployment.RevisionHistoryLimit; limit != nil {
		errs = append(errs, check.AtLeast(path.Child("revisionHistoryLimit"), *limit, 0)...)
	}
	if account := deployment.ServiceAccountName; account != nil {
		errs = append(errs, check.DNSSubdomain(path.Child("serviceAccountName"), *account)...)
	}
	if deployment.Image != nil {
		errs = append(errs, image(path.Child("image"), deployment.Image)...)
	}
	errs = append(errs, check.Labels(path.Child("podLabels"), deployment.PodLabels)...)
	return append(errs, apivalidation.ValidateAnnotations(deployment.PodAnnotations, path.Child("podAnnotations"))...)
}

func image(path *field.Path, image *seedmanagement.Image) field.ErrorList {
	var errs field.ErrorList
	if image.Ref != nil {
		errs = append(errs, check.Required(path.Child("ref"), *image.Ref, "is the whole address of the image, or is left out")...)
	}
	for _, part := range []struct {
		name  string
		value *string
	}{{"repository", image.Repository}, {"tag", image.Tag}} {
		switch {
		case part.value != nil && image.Ref != nil:
			errs = append(errs, field.Forbidden(path.Child(part.name), "cannot be set beside ref, which is the whole address"))
		case part.value != nil:
			errs = append(errs, check.Required(path.Child(part.name), *part.value, "is a part of the image's address, or is left out")...)
		}
	}
	if image.PullPolicy != nil {
		errs = append(errs, check.OneOf(path.Child("pullPolicy"), *image.PullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	}
	return errs
}
