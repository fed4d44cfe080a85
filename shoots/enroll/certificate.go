package enroll

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"k8s.io/utils/clock"
)

const (
	certificateLife = 365 * 24 * time.Hour
	// renewBefore is longer than any ticket lives: no machine boots with an authority
	// that is replaced before it asks.
	renewBefore = 30 * 24 * time.Hour
)

// Certificate is the desk's own: it is its own authority, which boot data pins.
// It is kept in a folder, made when it is missing, and made anew when it ends soon or
// is for other names.
func Certificate(folder string, hosts []string, c clock.PassiveClock) (tls.Certificate, error) {
	file := filepath.Join(folder, "boot.pem")
	if kept, err := tls.LoadX509KeyPair(file, file); err == nil && serves(kept.Leaf, hosts, c.Now()) {
		return kept, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "loam boot desk"},
		// A machine's clock may be behind when it boots.
		NotBefore: c.Now().Add(-24 * time.Hour), NotAfter: c.Now().Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a key: %w", err)
	}
	text := append(authority(der), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := renameio.WriteFile(file, text, 0o600, renameio.IgnoreUmask()); err != nil {
		return tls.Certificate{}, fmt.Errorf("keeping the boot desk's certificate: %w", err)
	}
	return tls.X509KeyPair(text, text)
}

// Authority is what boot data pins, PEM.
func Authority(c tls.Certificate) []byte { return authority(c.Certificate[0]) }

func authority(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func serves(leaf *x509.Certificate, hosts []string, now time.Time) bool {
	if leaf == nil || now.Add(renewBefore).After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return false
	}
	for _, host := range hosts {
		if leaf.VerifyHostname(host) != nil {
			return false
		}
	}
	return true
}
