package seeds

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/gardener/gardener/pkg/apis/security"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/kubernetes/pkg/apis/certificates"
	kubecore "k8s.io/kubernetes/pkg/apis/core"

	"github.com/loam-cloud/loam/garden/authorization/graph"
)

// Restriction refuses what an agent must not write where the authorizer lets it
// write at all. The authorizer sees where an agent writes, Restriction what:
// that it takes only its own names, that it leads nobody, itself included, to
// what it does not see, and that it changes of a Shoot what is an agent's.
type Restriction struct{ authorizer *Authorizer }

// NewRestriction returns the counterpart of an authorizer.
func NewRestriction(authorizer *Authorizer) *Restriction { return &Restriction{authorizer} }

var _ admission.ValidationInterface = (*Restriction)(nil)

// Handles implements admission.Interface.
func (r *Restriction) Handles(operation admission.Operation) bool {
	return operation == admission.Create || operation == admission.Update
}

// Validate implements admission.ValidationInterface.
func (r *Restriction) Validate(ctx context.Context, request admission.Attributes, _ admission.ObjectInterfaces) error {
	seed, agent := seedOf(request.GetUserInfo())
	if !agent {
		return nil
	}
	if err := r.check(ctx, seed, request); err != nil {
		return admission.NewForbidden(request, fmt.Errorf("the agent of seed %q %w", seed, err))
	}
	return nil
}

func (r *Restriction) check(ctx context.Context, seed string, request admission.Attributes) error {
	old := request.GetOldObject()
	if request.GetOperation() == admission.Create {
		old = nil
		if err := r.checkName(ctx, seed, request); err != nil {
			return err
		}
	}
	switch o := request.GetObject().(type) {
	case *certificates.CertificateSigningRequest:
		return checkCertificate(seed, o.Spec.SignerName, o.Spec.Request)
	case *certificatesv1.CertificateSigningRequest:
		return checkCertificate(seed, o.Spec.SignerName, o.Spec.Request)
	case *kubecore.Secret:
		return checkSecretType(corev1.SecretType(o.Type))
	case *corev1.Secret:
		return checkSecretType(o.Type)
	case *security.TokenRequest:
		return r.checkToken(ctx, seed, o.Spec.ContextObject)
	case *core.Shoot:
		if request.GetSubresource() == "" {
			if err := checkShoot(o, old); err != nil {
				return err
			}
		}
	}
	return r.checkFacts(ctx, seed, request.GetObject(), old)
}

// checkName holds an agent to the names that are its own, where the request that
// the authorizer saw had no name yet.
func (r *Restriction) checkName(ctx context.Context, seed string, request admission.Attributes) error {
	if request.GetSubresource() != "" {
		return nil
	}
	object, err := meta.Accessor(request.GetObject())
	if err != nil {
		return err
	}
	namespace, name := request.GetNamespace(), object.GetName()
	resource := request.GetResource().GroupResource()
	rule := r.authorizer.rules[resource]
	switch {
	case namespace != "" && namespace == namespaceOf(seed) && slices.Contains(rule.inOwnNamespace, "create"):
		return nil
	case slices.Contains(rule.published, "create"):
		if !r.authorizer.isPublished(ctx, seed, rule, namespace, name) {
			return fmt.Errorf("may create this only for a cluster of its own, with the cluster's name before the first dot and a suffix that is published: not %q", name)
		}
	case takesNames(resource):
		if !r.authorizer.sees(ctx, seed, rule.key(seed, namespace, name)) {
			return fmt.Errorf("may not take the name %q", name)
		}
	}
	return nil
}

// takesNames are kinds whose names mean a seed or a cluster.
func takesNames(resource schema.GroupResource) bool {
	switch resource.String() {
	case "seeds.core.gardener.cloud", "shootstates.core.gardener.cloud", "leases.coordination.k8s.io":
		return true
	}
	return false
}

// checkFacts keeps an agent from writing an object that opens something to a
// seed: one that is for another seed, or leads to what its own does not see.
func (r *Restriction) checkFacts(ctx context.Context, seed string, obj, old runtime.Object) error {
	_, facts, found := graph.Of(obj)
	if !found {
		return nil
	}
	var before graph.Facts
	if old != nil {
		_, before, _ = graph.Of(old)
	}
	for _, other := range facts.Seeds {
		if other != seed && !slices.Contains(before.Seeds, other) && !r.authorizer.sees(ctx, seed, ownSeed(other)) {
			return fmt.Errorf("may not give this to seed %q", other)
		}
	}
	for _, key := range append(slices.Clone(facts.Leads), facts.Led...) {
		if !slices.Contains(before.Leads, key) && !slices.Contains(before.Led, key) && !r.authorizer.sees(ctx, seed, key) {
			return fmt.Errorf("may not refer to %q, which belongs to nothing that it looks after", key.Name)
		}
	}
	return nil
}

// checkToken keeps an agent from having it said in a token that it works for
// somebody else's cluster.
func (r *Restriction) checkToken(ctx context.Context, seed string, about *security.ContextObject) error {
	if about == nil {
		return nil
	}
	namespace := ""
	if about.Namespace != nil {
		namespace = *about.Namespace
	}
	kinds := map[string]graph.Kind{
		"Shoot": graph.Shoot, "Seed": graph.Seed, "Project": graph.Project, "BackupBucket": graph.BackupBucket, "BackupEntry": graph.BackupEntry,
	}
	if !r.authorizer.sees(ctx, seed, graph.Key{Kind: kinds[about.Kind], Namespace: namespace, Name: about.Name}) {
		return fmt.Errorf("may not ask for a token for %s %q", about.Kind, about.Name)
	}
	return nil
}

// checkShoot lets an agent change of a Shoot, besides its status, what keeps it
// from going and what notes are on it.
func checkShoot(shoot *core.Shoot, old runtime.Object) error {
	before, ok := old.(*core.Shoot)
	if !ok {
		return errors.New("may not create this")
	}
	switch {
	case !apiequality.Semantic.DeepEqual(shoot.Spec, before.Spec):
		return errors.New("may not change the spec of a Shoot")
	case !apiequality.Semantic.DeepEqual(shoot.Labels, before.Labels), !apiequality.Semantic.DeepEqual(shoot.OwnerReferences, before.OwnerReferences):
		return errors.New("may change finalizers and annotations of a Shoot, but neither labels nor owners")
	}
	return nil
}

// checkSecretType keeps an agent from having a token made for somebody's service
// account, or a bootstrap token.
func checkSecretType(secretType corev1.SecretType) error {
	if secretType != corev1.SecretTypeOpaque && secretType != "" {
		return fmt.Errorf("may write secrets of type %q only, not %q", corev1.SecretTypeOpaque, secretType)
	}
	return nil
}

func checkCertificate(seed, signer string, request []byte) error {
	if signer != certificatesv1.KubeAPIServerClientSignerName {
		return fmt.Errorf("may ask for certificates of signer %q only, not %q", certificatesv1.KubeAPIServerClientSignerName, signer)
	}
	parsed, err := certificates.ParseCSR(request)
	if err != nil {
		return fmt.Errorf("asked for a certificate in a way that cannot be read: %w", err)
	}
	if want := v1beta1constants.SeedUserNamePrefix + seed; parsed.Subject.CommonName != want {
		return fmt.Errorf("may ask for a certificate of its own, %q, not of %q", want, parsed.Subject.CommonName)
	}
	return nil
}
