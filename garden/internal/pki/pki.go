// Package pki keeps the garden's keys and certificates in its data folder: the
// authority, what it signs, the key for service account tokens, and the key
// that encrypts secrets at rest. All keys are mode 0600.
//
// The garden calls it at every start and once a day. It must not know who uses
// the certificates.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

const (
	authorityLifetime = 10 * 365 * 24 * time.Hour
	leafLifetime      = 365 * 24 * time.Hour
	// backdate tolerates clients whose clock is behind.
	backdate = 5 * time.Minute

	// AdminUser is whom the administrator's certificate names. Its group,
	// system:masters, is above RBAC.
	AdminUser  = "loam:admin"
	adminGroup = "system:masters"
)

// Files are the paths of what Ensure keeps.
type Files struct {
	CACert, CAKey         string
	ServerCert, ServerKey string
	AdminCert, AdminKey   string
	ServiceAccountKey     string
	// WorkloadIdentityKey signs tokens that other systems trust: not those of
	// service accounts, so that neither is taken for the other.
	WorkloadIdentityKey string
}

func filesIn(dir string) Files {
	in := func(name string) string { return filepath.Join(dir, name) }
	return Files{
		CACert: in("ca.crt"), CAKey: in("ca.key"),
		ServerCert: in("server.crt"), ServerKey: in("server.key"),
		AdminCert: in("admin.crt"), AdminKey: in("admin.key"),
		ServiceAccountKey: in("service-account.key"), WorkloadIdentityKey: in("workload-identity.key"),
	}
}

// Ensure makes every key and certificate below dir that is missing, unreadable
// as what it should be, or due for renewal: a leaf within half of its lifetime
// from its end, so that a process that is started twice a year never meets an
// expired one, or when its hosts changed or its authority did; the authority
// within a leaf's lifetime from its end, under the same key, so that what it
// signed before stays valid. A key, once made, stays.
func Ensure(dir string, hosts []string, now time.Time) (Files, error) {
	files := filesIn(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return files, fmt.Errorf("making folder %q: %w", dir, err)
	}
	for _, key := range []string{files.ServiceAccountKey, files.WorkloadIdentityKey} {
		if _, err := ensureKey(key); err != nil {
			return files, err
		}
	}
	authority, err := ensureAuthority(files, now)
	if err != nil {
		return files, err
	}
	if err := authority.ensureLeaf(files.ServerCert, files.ServerKey, serverTemplate(hosts), now); err != nil {
		return files, err
	}
	return files, authority.ensureLeaf(files.AdminCert, files.AdminKey, adminTemplate(), now)
}

// Rotate is Ensure with new keys and certificates for the server and the
// administrator. What is signed by the same authority stays valid.
func Rotate(dir string, hosts []string, now time.Time) (Files, error) {
	files := filesIn(dir)
	for _, path := range []string{files.ServerKey, files.AdminKey} {
		if _, err := newKey(path); err != nil {
			return files, err
		}
	}
	// A certificate that is not of its key is made anew, also after a crash here.
	return Ensure(dir, hosts, now)
}

func adminTemplate() *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: AdminUser, Organization: []string{adminGroup}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

func serverTemplate(hosts []string) *x509.Certificate {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "loam-garden"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func ensureAuthority(files Files, now time.Time) (authority, error) {
	key, err := ensureKey(files.CAKey)
	if err != nil {
		return authority{}, err
	}
	if existing := readCert(files.CACert); existing != nil && samePublicKey(existing, key) && now.Add(leafLifetime).Before(existing.NotAfter) {
		return authority{cert: existing, key: key}, nil
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "loam-garden-ca"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	signed, err := writeCert(files.CACert, template, template, key, key)
	return authority{cert: signed, key: key}, err
}

// ensureLeaf keeps the certificate at certPath as template wants it.
func (a authority) ensureLeaf(certPath, keyPath string, template *x509.Certificate, now time.Time) error {
	key, err := ensureKey(keyPath)
	if err != nil {
		return err
	}
	existing := readCert(certPath)
	if existing != nil && samePublicKey(existing, key) && now.Add(leafLifetime/2).Before(existing.NotAfter) &&
		existing.CheckSignatureFrom(a.cert) == nil && coversHosts(existing, template) {
		return nil
	}
	template.NotBefore = now.Add(-backdate)
	template.NotAfter = now.Add(leafLifetime)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	_, err = writeCert(certPath, template, a.cert, key, a.key)
	return err
}

func coversHosts(existing, wanted *x509.Certificate) bool {
	for _, ip := range wanted.IPAddresses {
		if !slices.ContainsFunc(existing.IPAddresses, ip.Equal) {
			return false
		}
	}
	for _, name := range wanted.DNSNames {
		if !slices.Contains(existing.DNSNames, name) {
			return false
		}
	}
	return true
}

func samePublicKey(certificate *x509.Certificate, key *ecdsa.PrivateKey) bool {
	public, ok := certificate.PublicKey.(*ecdsa.PublicKey)
	return ok && public.Equal(&key.PublicKey)
}

// readCert returns the first certificate of a file, nil when there is none: a
// certificate can always be made again.
func readCert(path string) *x509.Certificate {
	certs, err := cert.CertsFromFile(path)
	if err != nil || len(certs) == 0 {
		return nil
	}
	return certs[0]
}

func writeCert(path string, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, fmt.Errorf("signing certificate %q: %w", path, err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back certificate %q: %w", path, err)
	}
	text, err := cert.EncodeCertificates(signed)
	if err != nil {
		return nil, fmt.Errorf("encoding certificate %q: %w", path, err)
	}
	return signed, replaceFile(path, text, 0o644)
}

// ensureKey reads an ECDSA P-256 key, or makes it when the file is missing. A
// file that is no such key is an error: replacing it would lock out everything
// that was signed with it.
func ensureKey(path string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		parsed, err := keyutil.ParsePrivateKeyPEM(text)
		if err != nil {
			return nil, fmt.Errorf("reading key %q: %w", path, err)
		}
		key, ok := parsed.(*ecdsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("reading key %q: a %T, not an ECDSA key", path, parsed)
		}
		return key, nil
	}
	if !os.IsNotExist(err) {
		return nil, fmt.Errorf("reading key %q: %w", path, err)
	}
	return newKey(path)
}

// newKey writes a new key over whatever is there.
func newKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making key %q: %w", path, err)
	}
	text, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, fmt.Errorf("encoding key %q: %w", path, err)
	}
	return key, replaceFile(path, text, 0o600)
}

// replaceFile writes a file whole or not at all, so that a crash leaves the old
// content or the new one.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	err := renameio.WriteFile(path, content, mode)
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	return nil
}

// syncDir makes a rename survive a power loss: the store must never outlive the
// key that it was encrypted with.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
