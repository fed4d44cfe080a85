package shoots

import (
	"fmt"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// technicalIDLimit is what namespaces, host names and label values take.
const technicalIDLimit = validation.DNS1123LabelMaxLength

// TechnicalID is the name of everything that belongs to one cluster.
func TechnicalID(project, shoot string) string { return "shoot--" + project + "--" + shoot }

// validateProject checks that the namespace of a new Shoot belongs to a project
// and that the name derived from both fits.
func validateProject(shoot *core.Shoot, project *core.Project) field.ErrorList {
	path := field.NewPath("metadata")
	if project == nil {
		return field.ErrorList{field.Invalid(path.Child("namespace"), shoot.Namespace, "belongs to no project: clusters live in the namespace that a Project names in spec.namespace")}
	}
	if project.DeletionTimestamp != nil {
		return field.ErrorList{field.Forbidden(path.Child("namespace"), fmt.Sprintf("project %q is being deleted", project.Name))}
	}
	if id := TechnicalID(project.Name, shoot.Name); len(id) > technicalIDLimit {
		room := technicalIDLimit - len(TechnicalID(project.Name, ""))
		return field.ErrorList{field.Invalid(path.Child("name"), shoot.Name,
			fmt.Sprintf("must have at most %d characters in project %q: %q, the name of what belongs to the cluster, has to fit into %d", room, project.Name, id, technicalIDLimit))}
	}
	return nil
}

// validateTolerated checks that a project allows the tolerations that are new.
func validateTolerated(shoot, old *core.Shoot, path *field.Path, project *core.Project) field.ErrorList {
	if project == nil {
		return nil
	}
	var allowed []core.Toleration
	if tolerations := project.Spec.Tolerations; tolerations != nil {
		allowed = slices.Concat(tolerations.Whitelist, tolerations.Defaults)
	}
	if shoot.Namespace == v1beta1constants.GardenNamespace {
		// Protected seeds are there for the clusters of this namespace.
		allowed = append(allowed, core.Toleration{Key: core.SeedTaintProtected})
	}
	var errs field.ErrorList
	for i, toleration := range shoot.Spec.Tolerations {
		same := func(t core.Toleration) bool { return apiequality.Semantic.DeepEqual(t, toleration) }
		if old != nil && slices.ContainsFunc(old.Spec.Tolerations, same) {
			continue
		}
		if !slices.ContainsFunc(allowed, func(t core.Toleration) bool {
			return t.Key == toleration.Key && (t.Value == nil || apiequality.Semantic.DeepEqual(t.Value, toleration.Value))
		}) {
			errs = append(errs, field.Forbidden(path.Child("tolerations").Index(i), fmt.Sprintf("project %q does not allow to tolerate %q (spec.tolerations.whitelist)", project.Name, toleration.Key)))
		}
	}
	return errs
}

// validateBinding checks the names of a binding and an exposure class. Both are
// kept for the cluster's life, but for one step: from a secret binding to a
// credentials binding with the same credentials.
func validateBinding(shoot, old *core.Shoot, path *field.Path, facts Facts) field.ErrorList {
	var errs field.ErrorList
	if name := shoot.Spec.ExposureClassName; name != nil && !facts.ExposureClass && (old == nil || old.Spec.ExposureClassName == nil) {
		errs = append(errs, field.NotFound(path.Child("exposureClassName"), *name))
	}
	secret, credentials := shoot.Spec.SecretBindingName, shoot.Spec.CredentialsBindingName
	at, name := path.Child("credentialsBindingName"), credentials
	if credentials == nil {
		at, name = path.Child("secretBindingName"), secret
	}
	if old != nil {
		migrates := old.Spec.SecretBindingName != nil && secret == nil && credentials != nil
		if !migrates {
			errs = append(errs, check.ImmutableOnceSet(path.Child("secretBindingName"), secret, old.Spec.SecretBindingName)...)
		} else if facts.Binding != nil && facts.OldBinding != nil && facts.Binding.Credentials != facts.OldBinding.Credentials {
			errs = append(errs, field.Invalid(at, *credentials, fmt.Sprintf("must lead to the same credentials as secret binding %q did: %s", *old.Spec.SecretBindingName, facts.OldBinding.Credentials)))
		}
		errs = append(errs, check.ImmutableOnceSet(path.Child("credentialsBindingName"), credentials, old.Spec.CredentialsBindingName)...)
	}
	if name == nil || *name == "" || old != nil && sameBinding(shoot, old) {
		return errs
	}
	if facts.Binding == nil {
		return append(errs, field.NotFound(at, *name))
	}
	if types := facts.Binding.ProviderTypes; len(types) > 0 && !slices.Contains(types, shoot.Spec.Provider.Type) {
		errs = append(errs, field.Invalid(at, *name, fmt.Sprintf("is for provider %q, and the cluster's is %q", types[0], shoot.Spec.Provider.Type)))
	}
	return errs
}

func sameBinding(shoot, old *core.Shoot) bool {
	return apiequality.Semantic.DeepEqual(shoot.Spec.SecretBindingName, old.Spec.SecretBindingName) &&
		apiequality.Semantic.DeepEqual(shoot.Spec.CredentialsBindingName, old.Spec.CredentialsBindingName)
}
