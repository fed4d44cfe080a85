package extensions

import (
	"regexp"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// digest is what an artifact is addressed by: the only algorithm in use.
var digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// ValidateDeployment returns every problem of a ControllerDeployment.
func ValidateDeployment(deployment *core.ControllerDeployment) field.ErrorList {
	errs := check.NamedResources(field.NewPath("resources"), deployment.Resources, check.ChartResourceKinds())
	helm := field.NewPath("helm")
	switch {
	case deployment.Type != "" && deployment.Helm != nil:
		errs = append(errs, field.Forbidden(helm, "cannot be set beside a type of its own"))
	case deployment.Type != "":
		// What a custom type needs only its deployer knows.
	case deployment.Helm == nil:
		errs = append(errs, field.Required(helm, "says how the extension is deployed"))
	default:
		errs = append(errs, helmChart(helm, deployment.Helm)...)
	}
	return errs
}

func helmChart(path *field.Path, helm *core.HelmControllerDeployment) field.ErrorList {
	switch {
	case len(helm.RawChart) == 0 && helm.OCIRepository == nil:
		return field.ErrorList{field.Required(path, "has the chart as rawChart, or says in ociRepository where it is")}
	case len(helm.RawChart) > 0 && helm.OCIRepository != nil:
		return field.ErrorList{field.Forbidden(path.Child("ociRepository"), "cannot be set beside rawChart")}
	case helm.OCIRepository != nil:
		return ValidateRepository(path.Child("ociRepository"), helm.OCIRepository)
	}
	return nil
}

// ValidateRepository returns every problem of the address of an artifact.
func ValidateRepository(path *field.Path, repository *core.OCIRepository) field.ErrorList {
	var errs field.ErrorList
	switch {
	case repository.Ref != nil:
		errs = append(errs, check.Required(path.Child("ref"), *repository.Ref, "is the whole address of the artifact")...)
		for _, part := range []struct {
			name string
			set  bool
		}{{"repository", repository.Repository != nil}, {"tag", repository.Tag != nil}, {"digest", repository.Digest != nil}} {
			if part.set {
				errs = append(errs, field.Forbidden(path.Child(part.name), "cannot be set beside ref, which is the whole address"))
			}
		}
	case repository.Repository == nil || *repository.Repository == "":
		errs = append(errs, field.Required(path.Child("repository"), "says where the artifact is, if ref does not"))
	case repository.Tag == nil && repository.Digest == nil:
		errs = append(errs, field.Required(path.Child("tag"), "says which artifact it is, if digest does not"))
	}
	if repository.Ref == nil {
		if repository.Tag != nil {
			errs = append(errs, check.Required(path.Child("tag"), *repository.Tag, "says which artifact it is, or is left out")...)
		}
		if repository.Digest != nil && !digest.MatchString(*repository.Digest) {
			errs = append(errs, field.Invalid(path.Child("digest"), *repository.Digest, "must be sha256: and 64 hexadecimal digits"))
		}
	}
	errs = append(errs, localReference(path.Child("pullSecretRef"), repository.PullSecretRef)...)
	return append(errs, localReference(path.Child("caBundleSecretRef"), repository.CABundleSecretRef)...)
}

func localReference(path *field.Path, ref *corev1.LocalObjectReference) field.ErrorList {
	if ref == nil {
		return nil
	}
	if ref.Name == "" {
		return field.ErrorList{field.Required(path.Child("name"), "names a secret in namespace garden")}
	}
	return check.DNSSubdomain(path.Child("name"), ref.Name)
}
