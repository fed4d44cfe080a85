// Package agentcert is how the agent of a seed comes by its certificate: with a
// bootstrap token it asks the garden for the first one, and with each one for
// the next, long before it ends.
//
// The agent's process uses it before it starts its controllers, the command
// line to make the kubeconfig with a token. It must not know what an agent does
// with its rights.
package agentcert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/certificate"
	"k8s.io/client-go/util/certificate/csr"
	"k8s.io/client-go/util/keyutil"

	"github.com/loam-cloud/loam/fault"
)

// Config says whose certificate is kept, and where.
type Config struct {
	// Seed is the name of the seed.
	Seed string
	// Kubeconfig is the file that is made; the certificate is kept beside it, in
	// folder <file>.d. Both are for this user alone.
	Kubeconfig string
	// Bootstrap is a kubeconfig with a bootstrap token. It is read only while
	// there is no certificate that is still valid.
	Bootstrap string
	// Lifetime is asked for; zero leaves it to the garden.
	Lifetime time.Duration
}

// Agent has a certificate and keeps it.
type Agent struct {
	config Config
	rest   *rest.Config
	store  certificate.FileStore
}

// pairName begins the names of certificate files.
const pairName = "agent"

// usages are those that the garden grants without anybody's approval.
func usages() []certificatesv1.KeyUsage {
	return []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageClientAuth}
}

// Ensure returns an Agent whose kubeconfig works. Without a certificate that is
// still valid it asks for one, and waits for it until ctx ends. Faults: Invalid
// for files that cannot be used, Denied when the garden refuses the token or
// the request, Transient when it does not answer.
func Ensure(ctx context.Context, config Config) (*Agent, error) {
	a := &Agent{config: config}
	dir := config.Kubeconfig + ".d"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Invalid, "folder %q cannot be made: %w", dir, err)
	}
	var err error
	if a.store, err = certificate.NewFileStore(pairName, dir, dir, "", ""); err != nil {
		return nil, fault.New(fault.Invalid, "folder %q cannot be used: %w", dir, err)
	}
	if a.valid(time.Now()) {
		if a.rest, err = clientcmd.BuildConfigFromFlags("", config.Kubeconfig); err == nil {
			return a, nil
		}
	}
	bootstrap, err := clientcmd.LoadFromFile(config.Bootstrap)
	if err != nil {
		return nil, fault.New(fault.Invalid, "seed %q has no certificate yet, and no bootstrap kubeconfig to ask for one with: %w", config.Seed, err)
	}
	if err := clientcmd.ResolveLocalPaths(bootstrap); err != nil {
		return nil, fault.New(fault.Invalid, "bootstrap kubeconfig %q: %w", config.Bootstrap, err)
	}
	first, err := clientcmd.NewDefaultClientConfig(*bootstrap, nil).ClientConfig()
	if err != nil {
		return nil, fault.New(fault.Invalid, "bootstrap kubeconfig %q: %w", config.Bootstrap, err)
	}
	if err := a.request(ctx, first); err != nil {
		return nil, err
	}
	if err := a.writeKubeconfig(*bootstrap); err != nil {
		return nil, err
	}
	if a.rest, err = clientcmd.BuildConfigFromFlags("", config.Kubeconfig); err != nil {
		return nil, fault.New(fault.Invalid, "reading back kubeconfig %q: %w", config.Kubeconfig, err)
	}
	return a, nil
}

// valid tells whether there is a certificate of this seed that has not ended.
func (a *Agent) valid(now time.Time) bool {
	pair, err := a.store.Current()
	return err == nil && pair.Leaf != nil && now.Before(pair.Leaf.NotAfter) && pair.Leaf.Subject.CommonName == a.user()
}

func (a *Agent) user() string { return v1beta1constants.SeedUserNamePrefix + a.config.Seed }

// Renew asks for another certificate now, with the one that there is, and waits
// for it. Keep does so in time by itself.
func (a *Agent) Renew(ctx context.Context) error { return a.request(ctx, a.rest) }

// request asks for a certificate with the given credentials and keeps it.
func (a *Agent) request(ctx context.Context, credentials *rest.Config) error {
	client, err := kubernetes.NewForConfig(credentials)
	if err != nil {
		return fault.New(fault.Invalid, "making a client for the garden: %w", err)
	}
	// Waiting for a certificate says nothing of why it does not come.
	if _, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{}); err != nil {
		return classify(fmt.Errorf("introducing the agent of seed %q to the garden: %w", a.config.Seed, err))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, a.template(), key)
	if err != nil {
		return fmt.Errorf("making a certificate request: %w", err)
	}
	name, uid, err := csr.RequestCertificateWithContext(ctx, client, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		"", certificatesv1.KubeAPIServerClientSignerName, a.lifetime(), usages(), key)
	if err != nil {
		return classify(fmt.Errorf("asking for a certificate of seed %q: %w", a.config.Seed, err))
	}
	signed, err := csr.WaitForCertificate(ctx, client, name, uid)
	if err != nil {
		return fault.New(fault.Denied, "waiting for the certificate of seed %q, request %q: %w", a.config.Seed, name, err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return fmt.Errorf("encoding a key: %w", err)
	}
	if _, err := a.store.Update(signed, keyPEM); err != nil {
		return fault.New(fault.Invalid, "keeping the certificate of seed %q: %w", a.config.Seed, err)
	}
	return nil
}

func classify(err error) error {
	if apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) {
		return fault.Wrap(fault.Denied, err)
	}
	return fault.Wrap(fault.Transient, err)
}

func (a *Agent) template() *x509.CertificateRequest {
	return &x509.CertificateRequest{Subject: pkix.Name{CommonName: a.user(), Organization: []string{v1beta1constants.SeedsGroup}}}
}

func (a *Agent) lifetime() *time.Duration {
	if a.config.Lifetime == 0 {
		return nil
	}
	return &a.config.Lifetime
}

// writeKubeconfig names the files of the certificate rather than holding it, so
// that clients read the next one by themselves.
func (a *Agent) writeKubeconfig(bootstrap clientcmdapi.Config) error {
	current, err := filepath.Abs(a.store.CurrentPath())
	if err != nil {
		return fault.New(fault.Invalid, "kubeconfig %q: %w", a.config.Kubeconfig, err)
	}
	// It was used to ask for the certificate, so the context names a garden.
	garden := bootstrap.Clusters[bootstrap.Contexts[bootstrap.CurrentContext].Cluster]
	if err := clientcmd.WriteToFile(kubeconfig(garden, &clientcmdapi.AuthInfo{ClientCertificate: current, ClientKey: current}), a.config.Kubeconfig); err != nil {
		return fault.New(fault.Invalid, "writing kubeconfig %q: %w", a.config.Kubeconfig, err)
	}
	return nil
}

// kubeconfig is one with one garden and one user.
func kubeconfig(garden *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) clientcmdapi.Config {
	const name = "loam-garden"
	config := clientcmdapi.NewConfig()
	config.Clusters[name], config.AuthInfos[name] = garden, user
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	return *config
}

// RESTConfig returns a new configuration with the agent's rights. Its clients
// take up renewed certificates by themselves.
func (a *Agent) RESTConfig() *rest.Config { return rest.CopyConfig(a.rest) }

// Keep renews the certificate when between seven and nine tenths of its life
// have passed, until ctx ends. It tries again by itself when the garden does
// not answer.
func (a *Agent) Keep(ctx context.Context) error {
	manager, err := certificate.NewManager(&certificate.Config{
		ClientsetFn: func(current *tls.Certificate) (kubernetes.Interface, error) {
			if current == nil {
				return nil, errors.New("the certificate has ended: start the agent again with a bootstrap kubeconfig")
			}
			return kubernetes.NewForConfig(a.rest)
		},
		Template:                     a.template(),
		SignerName:                   certificatesv1.KubeAPIServerClientSignerName,
		RequestedCertificateLifetime: a.lifetime(),
		Usages:                       usages(),
		CertificateStore:             a.store,
		Name:                         "agent of seed " + a.config.Seed,
		Ctx:                          &ctx,
	})
	if err != nil {
		return fmt.Errorf("preparing the renewal of the certificate of seed %q: %w", a.config.Seed, err)
	}
	manager.Start()
	<-ctx.Done()
	manager.Stop()
	return nil
}
