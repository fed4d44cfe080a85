package shoots

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"

	"github.com/loam-cloud/loam/nodeconfig"
)

// Authorities are the keys that make a cluster itself: whoever has them is its
// administrator. The caller keeps them, encrypted, for the cluster's whole
// life; the flow puts them into control-plane machines before these boot.
//
// The map's keys are file names below kubeadm's certificate folder with the
// slash written as a dot: "ca.crt", "etcd.ca.key", "sa.pub".
type Authorities map[string][]byte

// authorityNames are the certificate authorities that kubeadm works with, by
// the folder-relative name of their files, and the common names it gives them.
var authorityNames = []struct{ file, commonName string }{
	{"ca", "kubernetes"},
	{"etcd.ca", "etcd-ca"},
	{"front-proxy-ca", "front-proxy-ca"},
}

// authorityFiles maps keys of Authorities to paths below /etc/kubernetes/pki.
var authorityFiles = map[string]string{
	"ca.crt": "ca.crt", "ca.key": "ca.key",
	"etcd.ca.crt": "etcd/ca.crt", "etcd.ca.key": "etcd/ca.key",
	"front-proxy-ca.crt": "front-proxy-ca.crt", "front-proxy-ca.key": "front-proxy-ca.key",
	"sa.pub": "sa.pub", "sa.key": "sa.key",
}

// NewAuthorities makes the authorities of a new cluster, with ECDSA P-256 keys:
// RSA keys would cost a second of the cluster's start.
func NewAuthorities(now time.Time) (Authorities, error) {
	a := Authorities{}
	for _, n := range authorityNames {
		key, err := a.newKey(n.file + ".key")
		if err != nil {
			return nil, err
		}
		crt, err := cert.NewSelfSignedCACert(cert.Config{CommonName: n.commonName, NotBefore: now.Add(-clockSkew)}, key)
		if err != nil {
			return nil, fmt.Errorf("making authority %q: %w", n.file, err)
		}
		a[n.file+".crt"] = encodeCertificate(crt.Raw)
	}
	key, err := a.newKey("sa.key")
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("encoding the service account key: %w", err)
	}
	a["sa.pub"] = encodePublicKey(public)
	return a, nil
}

func (a Authorities) newKey(name string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making key %q: %w", name, err)
	}
	pem, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, fmt.Errorf("encoding key %q: %w", name, err)
	}
	a[name] = pem
	return key, nil
}

// Validate reports every part that is missing.
func (a Authorities) Validate() error {
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(authorityFiles)) {
		if len(a[name]) == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the cluster's keys lack %q", missing)
	}
	return nil
}

// files places the authorities where kubeadm looks for them.
func (a Authorities) files() []nodeconfig.File {
	var files []nodeconfig.File
	for _, name := range slices.Sorted(maps.Keys(authorityFiles)) {
		files = append(files, nodeconfig.File{Path: "/etc/kubernetes/pki/" + authorityFiles[name], Content: a[name], Mode: 0o600})
	}
	return files
}

// Files by which a kubelet is known to the API server.
const (
	kubeletConfigPath = "/etc/kubernetes/kubelet.conf"
	// kubeletPairPath is where the kubelet keeps its certificate with its key, and
	// puts those that it gets when the first one ends.
	kubeletPairPath = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	// kubeletLifetime is what kubeadm gives to certificates; kubelets ask for new
	// ones in time.
	kubeletLifetime = 365 * 24 * time.Hour
)

// kubeletFiles let the kubelet of a node talk to the API server at the given URL
// from its first second on.
func (a Authorities) kubeletFiles(node, server string, now time.Time) ([]nodeconfig.File, error) {
	pair, err := a.sign(Identity{User: "system:node:" + node, Groups: []string{"system:nodes"}, Lifetime: kubeletLifetime}, now)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of node %q: %w", node, err)
	}
	const cluster, user, name = "kubernetes", "kubelet", "kubelet"
	config, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{cluster: {Server: server, CertificateAuthorityData: a["ca.crt"]}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{user: {ClientCertificate: kubeletPairPath, ClientKey: kubeletPairPath}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: cluster, AuthInfo: user}},
		CurrentContext: name,
	})
	if err != nil {
		return nil, err
	}
	return []nodeconfig.File{
		{Path: kubeletConfigPath, Content: config, Mode: 0o600},
		{Path: kubeletPairPath, Content: slices.Concat(pair.certificate, pair.key), Mode: 0o600},
	}, nil
}

// clockSkew is how far in the past certificates start to be valid, for hosts
// whose clocks differ.
const clockSkew = 5 * time.Minute

// Identity is who a client certificate is made for.
type Identity struct {
	User     string
	Groups   []string
	Lifetime time.Duration
}

// Client returns the configuration of a client with a new certificate for the
// identity, talking to the server at the given URL.
func (a Authorities) Client(server string, who Identity, now time.Time) (*rest.Config, error) {
	pair, err := a.sign(who, now)
	if err != nil {
		return nil, fmt.Errorf("signing a client certificate for %q: %w", who.User, err)
	}
	return &rest.Config{Host: server, TLSClientConfig: rest.TLSClientConfig{CAData: a["ca.crt"], CertData: pair.certificate, KeyData: pair.key}}, nil
}

// Kubeconfig is Client as a file that kubectl reads. The name becomes the name
// of its cluster, user and context.
func (a Authorities) Kubeconfig(name, server string, who Identity, now time.Time) ([]byte, error) {
	client, err := a.Client(server, who, now)
	if err != nil {
		return nil, err
	}
	return clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: server, CertificateAuthorityData: client.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {ClientCertificateData: client.CertData, ClientKeyData: client.KeyData}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
}

type keyPair struct{ certificate, key []byte }

func (a Authorities) sign(who Identity, now time.Time) (keyPair, error) {
	cas, err := cert.ParseCertsPEM(a["ca.crt"])
	if err != nil {
		return keyPair{}, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	parsed, err := keyutil.ParsePrivateKeyPEM(a["ca.key"])
	if err != nil {
		return keyPair{}, fmt.Errorf("reading the authority's key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return keyPair{}, fmt.Errorf("making a serial number: %w", err)
	}
	template := x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: who.User, Organization: who.Groups},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(who.Lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	out := Authorities{}
	key, err := out.newKey("client.key")
	if err != nil {
		return keyPair{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, cas[0], key.Public(), parsed)
	if err != nil {
		return keyPair{}, err
	}
	return keyPair{certificate: encodeCertificate(der), key: out["client.key"]}, nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: der})
}

func encodePublicKey(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: keyutil.PublicKeyBlockType, Bytes: der})
}
