package agentcert

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
)

// SeedAnnotation on the Secret of a bootstrap token names the only seed that a
// certificate may be asked for with it. Tokens without it are good for any seed.
const SeedAnnotation = "loam.dev/seed-name"

// Token is a new bootstrap token.
type Token struct {
	// ID names it, ID.Secret is what a client shows.
	ID, Secret string
	Expires    time.Time
}

// CreateToken makes a bootstrap token with which the agent of one seed asks for
// its first certificate. The garden deletes it when it expires. Faults: Denied,
// Transient.
func CreateToken(ctx context.Context, c client.Client, seed string, expires time.Time) (Token, error) {
	text, err := bootstraputil.GenerateBootstrapToken()
	if err != nil {
		return Token{}, fmt.Errorf("drawing a bootstrap token: %w", err)
	}
	parts := bootstraputil.BootstrapTokenRegexp.FindStringSubmatch(text)
	token := Token{ID: parts[1], Secret: parts[2], Expires: expires.UTC().Truncate(time.Second)}
	err = c.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceSystem, Name: bootstraputil.BootstrapTokenSecretName(token.ID),
			Annotations: map[string]string{SeedAnnotation: seed},
		},
		Type: corev1.SecretTypeBootstrapToken,
		StringData: map[string]string{
			bootstrapapi.BootstrapTokenIDKey:               token.ID,
			bootstrapapi.BootstrapTokenSecretKey:           token.Secret,
			bootstrapapi.BootstrapTokenExpirationKey:       token.Expires.Format(time.RFC3339),
			bootstrapapi.BootstrapTokenDescriptionKey:      fmt.Sprintf("The agent of seed %s asks for its first certificate with this token.", seed),
			bootstrapapi.BootstrapTokenUsageAuthentication: "true",
		},
	})
	if apierrors.IsForbidden(err) {
		return Token{}, fault.New(fault.Denied, "creating a bootstrap token: %w", err)
	}
	if err != nil {
		return Token{}, fault.New(fault.Transient, "creating a bootstrap token: %w", err)
	}
	return token, nil
}

// Kubeconfig returns a kubeconfig that shows the token to the garden at server
// (a URL), trusted by the authorities in caData (PEM).
func (t Token) Kubeconfig(server string, caData []byte) ([]byte, error) {
	return clientcmd.Write(kubeconfig(
		&clientcmdapi.Cluster{Server: server, CertificateAuthorityData: caData},
		&clientcmdapi.AuthInfo{Token: bootstraputil.TokenFromIDAndSecret(t.ID, t.Secret)},
	))
}
