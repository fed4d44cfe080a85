// Package projects has the rules of Projects and Quotas: who works together, and
// how much they may use.
//
// Package kinds calls it. It is pure and must not know where objects are kept.
package projects

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// namespacePrefix begins the namespace of every project but the one that owns
// the namespace garden.
const namespacePrefix = "garden-"

// nameLimit leaves room in shoot--<project>--<shoot>, the name of everything that
// belongs to one cluster, for at least one character of the cluster's.
const nameLimit = validation.DNS1123LabelMaxLength - len("shoot----x")

// Name returns what is wrong with a project's name.
func Name(name string, prefix bool) []string {
	errs := apivalidation.NameIsDNSLabel(name, prefix)
	if strings.Contains(name, "--") {
		errs = append(errs, `must not contain "--", which separates the parts of names derived from it`)
	}
	if len(name) > nameLimit {
		errs = append(errs, fmt.Sprintf("must have at most %d characters, so that names derived from it fit", nameLimit))
	}
	return errs
}

// Facts are what other objects say.
type Facts struct {
	// NamespaceOwner is another project that has the same namespace, if any.
	NamespaceOwner string
}

// Validate returns every problem of a Project; old is nil on create.
func Validate(project, old *core.Project, facts Facts) field.ErrorList {
	path, spec := field.NewPath("spec"), &project.Spec
	errs := namespace(path.Child("namespace"), spec.Namespace, facts)
	if old != nil {
		errs = append(errs, check.ImmutableOnceSet(path.Child("namespace"), spec.Namespace, old.Spec.Namespace)...)
		errs = append(errs, check.ImmutableOnceSet(path.Child("createdBy"), spec.CreatedBy, old.Spec.CreatedBy)...)
	}
	errs = append(errs, plainText(path.Child("description"), spec.Description)...)
	errs = append(errs, plainText(path.Child("purpose"), spec.Purpose)...)
	if spec.CreatedBy != nil {
		errs = append(errs, subject(path.Child("createdBy"), *spec.CreatedBy)...)
	}
	if spec.Owner == nil {
		errs = append(errs, field.Required(path.Child("owner"), "somebody has to answer for the project"))
	} else {
		errs = append(errs, subject(path.Child("owner"), *spec.Owner)...)
	}
	errs = append(errs, members(path.Child("members"), spec)...)
	errs = append(errs, tolerations(path.Child("tolerations"), spec.Tolerations)...)
	return append(errs, dualApproval(path.Child("dualApprovalForDeletion"), spec.DualApprovalForDeletion)...)
}

func namespace(path *field.Path, namespace *string, facts Facts) field.ErrorList {
	if namespace == nil {
		return nil
	}
	var errs field.ErrorList
	if *namespace != v1beta1constants.GardenNamespace {
		errs = check.DNSLabel(path, *namespace)
		if !strings.HasPrefix(*namespace, namespacePrefix) {
			errs = append(errs, field.Invalid(path, *namespace, fmt.Sprintf("must begin with %q", namespacePrefix)))
		}
	}
	if facts.NamespaceOwner != "" {
		errs = append(errs, field.Invalid(path, *namespace, fmt.Sprintf("belongs to project %q", facts.NamespaceOwner)))
	}
	return errs
}

// plainText wants letters, digits, spaces and ordinary punctuation: the text is
// shown by web pages and terminals.
func plainText(path *field.Path, text *string) field.ErrorList {
	if text == nil {
		return nil
	}
	for _, r := range *text {
		switch {
		case unicode.IsLetter(r), unicode.IsMark(r), unicode.IsDigit(r), unicode.IsSpace(r):
		case strings.ContainsRune(`.,:;!?'"()[]{}/\-_+*=#%&@$€~|–—`, r):
		default:
			return field.ErrorList{field.Invalid(path, *text, fmt.Sprintf("must have letters, digits and ordinary punctuation only, not %q", r))}
		}
	}
	return nil
}

func tolerations(path *field.Path, tolerations *core.ProjectTolerations) field.ErrorList {
	if tolerations == nil {
		return nil
	}
	errs := check.Tolerations(path.Child("defaults"), tolerations.Defaults)
	errs = append(errs, check.Tolerations(path.Child("whitelist"), tolerations.Whitelist)...)
	for i, toleration := range tolerations.Defaults {
		if toleration.Key != "" && !slices.ContainsFunc(tolerations.Whitelist, func(allowed core.Toleration) bool { return covers(allowed, toleration) }) {
			errs = append(errs, field.Invalid(path.Child("defaults").Index(i).Child("key"), toleration.Key, "must be in the whitelist, with the same value or none"))
		}
	}
	return errs
}

// covers tells whether who may use one toleration may use the other.
func covers(allowed, wanted core.Toleration) bool {
	return allowed.Key == wanted.Key && (allowed.Value == nil || wanted.Value != nil && *allowed.Value == *wanted.Value)
}

func dualApproval(path *field.Path, approvals []core.DualApprovalForDeletion) field.ErrorList {
	var errs field.ErrorList
	for i := range approvals {
		path := path.Index(i)
		errs = append(errs, check.OneOf(path.Child("resource"), approvals[i].Resource, "shoots")...)
		errs = append(errs, check.Selector(path.Child("selector"), &approvals[i].Selector)...)
	}
	return append(errs, check.Unique(path, "resource", approvals, func(a core.DualApprovalForDeletion) string { return a.Resource })...)
}
