package maintenance

import (
	"fmt"
	"slices"
	"strings"

	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/garden/releases"
)

// Bindings that maintenance made carry this label.
const (
	bindingStatus = "credentialsbinding.gardener.cloud/status"
	forceMigrated = "force-migrated"
)

// migrateBinding replaces a Shoot's SecretBinding by a CredentialsBinding of the
// same Secret: the one that was made for this before, or the first by name that
// says the same, or a new one.
func (p *plan) migrateBinding(facts facts) {
	name := p.shoot.Spec.SecretBindingName
	if name == nil {
		return
	}
	field := releases.SecretBindingName()
	done := result{subject: controlPlane, what: field.Path, reason: fmt.Sprintf("Kubernetes %s and newer do not have it", field.Since)}
	if facts.secretBinding == nil {
		done.problem = fmt.Sprintf("there is no secret binding %q to take the credentials from", *name)
		p.add(done)
		return
	}
	wanted := bindingFor(facts)
	to := wanted.Name
	if found := sameBinding(facts.credentialsBindings, wanted); found != "" {
		to = found
	} else {
		p.binding = wanted
	}
	done.done = fmt.Sprintf("Migrated spec.secretBindingName %q to spec.credentialsBindingName %q", *name, to)
	p.shoot.Spec.SecretBindingName, p.shoot.Spec.CredentialsBindingName = nil, &to
	p.add(done)
}

// bindingFor is a binding of the same Secret and quotas.
func bindingFor(facts facts) *securityv1alpha1.CredentialsBinding {
	from := facts.secretBinding
	namespace := from.SecretRef.Namespace
	if namespace == "" {
		namespace = from.Namespace
	}
	binding := &securityv1alpha1.CredentialsBinding{
		ObjectMeta:     metav1.ObjectMeta{Namespace: from.Namespace, Name: forceMigrated + "-" + from.Name, Labels: map[string]string{bindingStatus: forceMigrated}},
		CredentialsRef: corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: namespace, Name: from.SecretRef.Name},
		Quotas:         slices.Clone(from.Quotas),
	}
	if from.Provider != nil {
		binding.Provider.Type = from.Provider.Type
	}
	return binding
}

// sameBinding names the binding to reuse; empty if there is none.
func sameBinding(all []securityv1alpha1.CredentialsBinding, wanted *securityv1alpha1.CredentialsBinding) string {
	var same []string
	for i := range all {
		b := &all[i]
		switch {
		case b.DeletionTimestamp != nil:
		case b.Name == wanted.Name:
			return b.Name
		case b.Provider.Type == wanted.Provider.Type && sameObject(b.CredentialsRef, wanted.CredentialsRef) && sameObjects(b.Quotas, wanted.Quotas):
			same = append(same, b.Name)
		}
	}
	if len(same) == 0 {
		return ""
	}
	return slices.Min(same)
}

// sameObject compares what is referred to; a kind that is left out is the same.
func sameObject(a, b corev1.ObjectReference) bool {
	return a.Namespace == b.Namespace && a.Name == b.Name && (a.Kind == b.Kind || a.Kind == "" || b.Kind == "")
}

func sameObjects(a, b []corev1.ObjectReference) bool {
	names := func(refs []corev1.ObjectReference) []string {
		var all []string
		for _, ref := range refs {
			all = append(all, strings.Join([]string{ref.Namespace, ref.Name}, "/"))
		}
		slices.Sort(all)
		return all
	}
	return equality.Semantic.DeepEqual(names(a), names(b))
}
