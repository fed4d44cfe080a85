package garden_test

import (
	"crypto"
	"encoding/base64"
	"strings"
	"testing"

	authenticationv1alpha1 "github.com/gardener/gardener/pkg/apis/authentication/v1alpha1"
	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	kubev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestSubresources goes every way beside the status once, as somebody who may.
// What is handed out, to whom and for how long has tests of its own.
func TestSubresources(t *testing.T) { subresources(t, server{}) }

func subresources(t *testing.T, server server) {
	namespace := server.namespace(t)
	t.Run("garden-api: Kinds/subresources/shoots/binding", func(t *testing.T) { bindsOnly(t, server, namespace) })
	t.Run("garden-api: Kinds/subresources/kubeconfigs", func(t *testing.T) { givesKubeconfigs(t, server, namespace) })
	t.Run("garden-api: Kinds/subresources/token", func(t *testing.T) { givesTokens(t, server, namespace) })
}

func bindsOnly(t *testing.T, server server, namespace string) {
	c, shoot := server.client(t), newShoot(namespace, "bound")
	server.ensure(t, shoot)
	shoot.Spec.SeedName, shoot.Spec.Purpose = ptr.To("local"), ptr.To(v1beta1.ShootPurposeProduction)
	if err := c.SubResource("binding").Update(t.Context(), shoot); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(shoot), shoot); err != nil {
		t.Fatal(err)
	}
	if ptr.Deref(shoot.Spec.SeedName, "") != "local" || *shoot.Spec.Purpose != v1beta1.ShootPurposeEvaluation {
		t.Errorf("seed %v, purpose %v", shoot.Spec.SeedName, *shoot.Spec.Purpose)
	}
	shoot.Spec.SeedName = ptr.To("nowhere")
	if err := c.SubResource("binding").Update(t.Context(), shoot); !apierrors.IsInvalid(err) {
		t.Errorf("to a seed that is not there: got %v, want Invalid", err)
	}
}

func givesKubeconfigs(t *testing.T, server server, namespace string) {
	c, shoot := server.client(t), newShoot(namespace, "plant")
	shoot.Spec.SeedName = ptr.To("local")
	server.ensure(t, shoot)
	admin, viewer := &authenticationv1alpha1.AdminKubeconfigRequest{}, &authenticationv1alpha1.ViewerKubeconfigRequest{}
	if err := c.SubResource("adminkubeconfig").Create(t.Context(), shoot, admin); !apierrors.IsConflict(err) {
		t.Errorf("before the cluster is there: got %v, want Conflict", err)
	}
	before := shoot.DeepCopy()
	shoot.Status.AdvertisedAddresses = []v1beta1.ShootAdvertisedAddress{{Name: "external", URL: "https://plant.example.org"}}
	if err := c.Status().Patch(t.Context(), shoot, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	key, authority := newAuthority(t)
	server.ensure(t,
		&v1beta1.InternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "plant.ca-client"}, Data: map[string][]byte{"ca.crt": authority, "ca.key": key}},
		&kubev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "plant.ca-cluster"}, Data: map[string]string{"ca.crt": string(authority)}})
	for name, ask := range map[string]func() ([]byte, error){
		"adminkubeconfig": func() ([]byte, error) {
			err := c.SubResource("adminkubeconfig").Create(t.Context(), shoot, admin)
			return admin.Status.Kubeconfig, err
		},
		"viewerkubeconfig": func() ([]byte, error) {
			err := c.SubResource("viewerkubeconfig").Create(t.Context(), shoot, viewer)
			return viewer.Status.Kubeconfig, err
		},
	} {
		var kubeconfig []byte
		// The server reads what was published from its memory.
		eventually(t, name, func() (err error) {
			kubeconfig, err = ask()
			return err
		})
		config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
		if err != nil || config.Host != "https://plant.example.org" || len(config.CertData) == 0 {
			t.Errorf("%s: leads to %v, %v", name, config, err)
		}
	}
}

// newAuthority returns the key and the certificate of one.
func newAuthority(t *testing.T) (key, certificate []byte) {
	t.Helper()
	key, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := keyutil.ParsePrivateKeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := cert.NewSelfSignedCACert(cert.Config{CommonName: "kubernetes"}, signer.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	certificate, err = cert.EncodeCertificates(authority)
	if err != nil {
		t.Fatal(err)
	}
	return key, certificate
}

func givesTokens(t *testing.T, server server, namespace string) {
	identity := &securityv1alpha1.WorkloadIdentity{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "robot"},
		Spec:       securityv1alpha1.WorkloadIdentitySpec{Audiences: []string{"cloud"}, TargetSystem: securityv1alpha1.TargetSystem{Type: "local"}},
	}
	server.ensure(t, identity)
	request := &securityv1alpha1.TokenRequest{}
	if err := server.client(t).SubResource("token").Create(t.Context(), identity, request); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(request.Status.Token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts of a token", len(parts))
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || !strings.Contains(string(claims), identity.Status.Sub) || identity.Status.Sub == "" {
		t.Errorf("the token of %q says %s, %v", identity.Status.Sub, claims, err)
	}
}
