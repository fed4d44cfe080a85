package certificatesigningrequest

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	certificatesv1 "k8s.io/api/certificates/v1"
)

// decided tells whether there is nothing left to decide about a request.
func decided(csr *certificatesv1.CertificateSigningRequest) bool {
	return len(csr.Status.Certificate) > 0 || slices.ContainsFunc(csr.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed
	})
}

// agent is whom a certificate is asked for: exactly one of the fields is set
// beside the user.
type agent struct {
	user string
	// seed is the name of a seed.
	seed string
	// shoot is namespace and name of a cluster, with a slash between.
	shoot string
}

// bootstrapToken is what is known of a token that asks for a certificate. Its
// seed is empty when it is good for any.
type bootstrapToken struct{ id, description, seed string }

// read finds out whose certificate is asked for. Requests that are not exactly
// an agent's are not ours to decide.
func read(csr *certificatesv1.CertificateSigningRequest) (agent, bool) {
	block, _ := pem.Decode(csr.Spec.Request)
	if block == nil || csr.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName {
		return agent{}, false
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || len(request.DNSNames)+len(request.EmailAddresses)+len(request.IPAddresses)+len(request.URIs) > 0 {
		return agent{}, false
	}
	usages := slices.Sorted(slices.Values(csr.Spec.Usages))
	if !slices.Equal(usages, []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment}) {
		return agent{}, false
	}
	asked := agent{user: request.Subject.CommonName}
	switch organization := request.Subject.Organization; {
	case slices.Equal(organization, []string{v1beta1constants.SeedsGroup}):
		asked.seed, _ = strings.CutPrefix(asked.user, v1beta1constants.SeedUserNamePrefix)
		return asked, asked.seed != "" && asked.seed != asked.user
	case slices.Equal(organization, []string{v1beta1constants.ShootsGroup}):
		for _, prefix := range []string{v1beta1constants.ShootUserNamePrefix, v1beta1constants.GardenadmUserNamePrefix} {
			namespace, name, found := strings.Cut(strings.TrimPrefix(asked.user, prefix), ":")
			if strings.HasPrefix(asked.user, prefix) && found && namespace != "" && name != "" {
				asked.shoot = namespace + "/" + name
				return asked, true
			}
		}
	}
	return agent{}, false
}

// problem says why a request is denied whatever rights the requester has; empty
// when it is not. token is nil for requesters who are no bootstrap token.
func (a agent) problem(requester string, token *bootstrapToken) string {
	switch {
	case token == nil && a.shoot != "" && requester != a.user:
		return fmt.Sprintf("A certificate of cluster %q is given to a bootstrap token for it, or to itself, not to %q.", a.shoot, requester)
	case token == nil && strings.HasPrefix(requester, v1beta1constants.SeedUserNamePrefix) && requester != a.user:
		return fmt.Sprintf("%q may renew its own certificate, not ask for that of %q.", requester, a.user)
	case token == nil:
		return ""
	case a.shoot != "" && !slices.ContainsFunc(strings.Fields(token.description), func(word string) bool { return strings.Trim(word, `.,;:"'()`) == a.shoot }):
		return fmt.Sprintf("The description of bootstrap token %q does not name cluster %q.", token.id, a.shoot)
	case a.seed != "" && token.seed != "" && token.seed != a.seed:
		return fmt.Sprintf("Bootstrap token %q is for seed %q, not for %q.", token.id, token.seed, a.seed)
	}
	return ""
}

// subresource of certificate requests stands for the right to be approved.
func (a agent) subresource() string {
	if a.seed != "" {
		return "seedclient"
	}
	return "shootclient"
}

func (a agent) message() string {
	if a.seed != "" {
		return fmt.Sprintf("The agent of seed %q asked for its certificate.", a.seed)
	}
	return fmt.Sprintf("The agent of cluster %q asked for its certificate.", a.shoot)
}
