package garden_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	kubev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/keyutil"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// outside is how a client of another process sees the garden, with nobody's
// credentials.
func outside(tb testing.TB) *rest.Config {
	tb.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", gardentest.Start(tb).KubeconfigPath())
	if err != nil {
		tb.Fatal(err)
	}
	return rest.AnonymousClientConfig(config)
}

func whoAmI(tb testing.TB, config *rest.Config) (authenticationv1.UserInfo, error) {
	tb.Helper()
	answer, err := kubernetes.NewForConfigOrDie(config).AuthenticationV1().SelfSubjectReviews().
		Create(context.Background(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return answer.Status.UserInfo, nil
}

func TestAnonymousSeesHealthOnly(t *testing.T) {
	config := outside(t)
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/livez": 200, "/readyz": 200, "/healthz": 200,
		"/loam/workload-identity/.well-known/openid-configuration": 200, "/loam/workload-identity/jwks": 200, "/loam/workload-identity": 401,
		"/livez/etcd": 401, "/": 401, "/version": 401, "/metrics": 401, "/api": 401, "/apis": 401, "/openapi/v3": 401,
		"/api/v1/namespaces": 401, "/apis/core.gardener.cloud/v1beta1/shoots": 401, "/.well-known/openid-configuration": 401,
	} {
		answer, err := (&http.Client{Transport: transport}).Get(config.Host + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: got %d %.80s, want %d", path, answer.StatusCode, body, want)
		}
	}
}

func TestKubeconfigIsTheAdministrators(t *testing.T) {
	config, err := clientcmd.BuildConfigFromFlags("", gardentest.Start(t).KubeconfigPath())
	if err != nil {
		t.Fatal(err)
	}
	user, err := whoAmI(t, config)
	if err != nil || user.Username != "loam:admin" || !slices.Contains(user.Groups, "system:masters") {
		t.Errorf("got %v, %v", user, err)
	}
}

func TestServingCertificate(t *testing.T) {
	config := outside(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(config.CAData)
	for _, name := range []string{"localhost", "127.0.0.1"} {
		connection, err := tls.Dial("tcp", strings.TrimPrefix(config.Host, "https://"), &tls.Config{RootCAs: pool, ServerName: name})
		if err != nil {
			t.Errorf("as %s: %v", name, err)
			continue
		}
		if key, ok := connection.ConnectionState().PeerCertificates[0].PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
			t.Errorf("as %s: the key is not ECDSA P-256", name)
		}
		connection.Close()
	}
}

func TestServiceAccountTokens(t *testing.T) {
	ctx, namespace := context.Background(), newNamespace(t, "sa-"+utilrand.String(5)).Name
	kube := kubernetes.NewForConfigOrDie(gardentest.Start(t).RESTConfig())
	eventually(t, "the account default", func() error {
		_, err := kube.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	request, err := kube.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret := create(t, &kubev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "token", Annotations: map[string]string{kubev1.ServiceAccountNameKey: "default"}},
		Type:       kubev1.SecretTypeServiceAccountToken,
	})
	eventually(t, "a token in the secret", func() (err error) {
		secret, err = kube.CoreV1().Secrets(namespace).Get(ctx, secret.Name, metav1.GetOptions{})
		if err == nil && len(secret.Data[kubev1.ServiceAccountTokenKey]) == 0 {
			err = errNotYet
		}
		return err
	})
	for name, token := range map[string]string{"requested": request.Status.Token, "from a secret": string(secret.Data[kubev1.ServiceAccountTokenKey])} {
		config := outside(t)
		config.BearerToken = token
		want := "system:serviceaccount:" + namespace + ":default"
		if user, err := whoAmI(t, config); err != nil || user.Username != want {
			t.Errorf("token %s: got %v, %v", name, user, err)
		}
		if _, err := kubernetes.NewForConfigOrDie(config).CoreV1().Secrets("garden").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("token %s lists secrets: %v", name, err)
		}
	}
}

func TestBootstrapTokens(t *testing.T) {
	id, secret := "abcdef", "0123456789abcdef"
	token := func(name string, expires time.Time) *kubev1.Secret {
		return &kubev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "bootstrap-token-" + name},
			Type:       kubev1.SecretTypeBootstrapToken,
			StringData: map[string]string{"token-id": name, "token-secret": secret, "usage-bootstrap-authentication": "true", "expiration": expires.UTC().Format(time.RFC3339)},
		}
	}
	create(t, token(id, time.Now().Add(time.Hour)))
	expired := create(t, token("fedcba", time.Now().Add(2*time.Second)))
	config := outside(t)
	config.BearerToken = id + "." + secret
	eventually(t, "the token to be known", func() error {
		_, err := whoAmI(t, config)
		return err
	})
	if user, err := whoAmI(t, config); err != nil || user.Username != "system:bootstrap:"+id {
		t.Errorf("got %v, %v", user, err)
	}
	wantGone(t, expired)
}

func TestCertificateRequestsAreSigned(t *testing.T) {
	ctx := context.Background()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	requests := kubernetes.NewForConfigOrDie(gardentest.Start(t).RESTConfig()).CertificatesV1().CertificateSigningRequests()
	request, err := requests.Create(ctx, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "jane-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: certificatesv1.KubeAPIServerClientSignerName,
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	request.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: kubev1.ConditionTrue, Reason: "Test"}}
	if _, err := requests.UpdateApproval(ctx, request.Name, request, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a certificate", func() error {
		request, err = requests.Get(ctx, request.Name, metav1.GetOptions{})
		if err == nil && len(request.Status.Certificate) == 0 {
			err = errNotYet
		}
		return err
	})
	config := outside(t)
	config.CertData = request.Status.Certificate
	if config.KeyData, err = keyutil.MarshalPrivateKeyToPEM(key); err != nil {
		t.Fatal(err)
	}
	if user, err := whoAmI(t, config); err != nil || user.Username != "jane" {
		t.Errorf("got %v, %v", user, err)
	}
}
