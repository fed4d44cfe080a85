package shoots_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/keyutil"

	"github.com/loam-cloud/loam/shoots"
)

// now is the time of tests that have no other: authorities begin at the real
// one, because the library that makes them has no clock to be given.
func now() time.Time { return time.Now() }

func newAuthorities(t *testing.T) shoots.Authorities {
	t.Helper()
	a, err := shoots.NewAuthorities(now())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Validate(); err != nil {
		t.Fatalf("new authorities are not whole: %v", err)
	}
	return a
}

func certificate(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%q is not PEM", text)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAuthoritiesAreAuthorities(t *testing.T) {
	a := newAuthorities(t)
	for file, name := range map[string]string{"ca": "kubernetes", "etcd.ca": "etcd-ca", "front-proxy-ca": "front-proxy-ca"} {
		c := certificate(t, a[file+".crt"])
		if !c.IsCA || c.Subject.CommonName != name || c.CheckSignatureFrom(c) != nil {
			t.Errorf("%s: CA %v, name %q", file, c.IsCA, c.Subject.CommonName)
		}
		if left := c.NotAfter.Sub(now()); left < 9*365*24*time.Hour {
			t.Errorf("%s ends after %s", file, left)
		}
		key, err := keyutil.ParsePrivateKeyPEM(a[file+".key"])
		if err != nil {
			t.Fatal(err)
		}
		if !c.PublicKey.(*ecdsa.PublicKey).Equal(key.(*ecdsa.PrivateKey).Public()) {
			t.Errorf("%s: the key is not that of the certificate", file)
		}
	}
}

func TestServiceAccountKeysMatch(t *testing.T) {
	a := newAuthorities(t)
	private, err := keyutil.ParsePrivateKeyPEM(a["sa.key"])
	if err != nil {
		t.Fatal(err)
	}
	public, err := keyutil.ParsePublicKeysPEM(a["sa.pub"])
	if err != nil {
		t.Fatal(err)
	}
	if len(public) != 1 || !private.(*ecdsa.PrivateKey).PublicKey.Equal(public[0]) {
		t.Error("sa.pub is not the public part of sa.key")
	}
}

func TestValidateNamesAllThatIsMissing(t *testing.T) {
	a := newAuthorities(t)
	delete(a, "sa.pub")
	delete(a, "etcd.ca.key")
	a["ca.crt"] = nil
	err := a.Validate()
	if err == nil || !strings.Contains(err.Error(), `["ca.crt" "etcd.ca.key" "sa.pub"]`) {
		t.Errorf("got %v", err)
	}
	if err := (shoots.Authorities{}).Validate(); err == nil || strings.Count(err.Error(), `"`) != 2*8 {
		t.Errorf("of none at all: %v", err)
	}
}

func TestKubeconfigIsSignedByTheCluster(t *testing.T) {
	a := newAuthorities(t)
	who := shoots.Identity{User: "somebody", Groups: []string{"one", "two"}, Lifetime: time.Hour}
	const server = "https://127.0.0.1:6443"
	text, err := a.Kubeconfig("demo", server, who, now())
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != server || string(config.CAData) != string(a["ca.crt"]) {
		t.Errorf("server %q, authority\n%s", config.Host, config.CAData)
	}
	c := certificate(t, config.CertData)
	roots := x509.NewCertPool()
	roots.AddCert(certificate(t, a["ca.crt"]))
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: now()}); err != nil {
		t.Errorf("the cluster's authority does not vouch for the certificate: %v", err)
	}
	if c.Subject.CommonName != "somebody" || !slices.Equal(c.Subject.Organization, who.Groups) {
		t.Errorf("the certificate is %v's", c.Subject)
	}
	for when, want := range map[time.Duration]bool{-4 * time.Minute: true, 59 * time.Minute: true, 61 * time.Minute: false} {
		_, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: now().Add(when)})
		if (err == nil) != want {
			t.Errorf("at %s from now: %v", when, err)
		}
	}
	other := x509.NewCertPool()
	other.AddCert(certificate(t, newAuthorities(t)["ca.crt"]))
	if _, err := c.Verify(x509.VerifyOptions{Roots: other, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("another cluster's authority vouches for the certificate")
	}
}

func TestBrokenAuthoritiesDoNotSign(t *testing.T) {
	for _, broken := range []string{"ca.crt", "ca.key"} {
		a := newAuthorities(t)
		a[broken] = []byte("not PEM")
		if _, err := a.Client("https://127.0.0.1:6443", shoots.Identity{User: "somebody", Lifetime: time.Hour}, now()); err == nil {
			t.Errorf("%s that is not PEM was used", broken)
		}
	}
}
