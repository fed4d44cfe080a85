package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// Client is who a client certificate is made for.
type Client struct {
	User   string
	Groups []string
	// NotAfter is cut to the end of the authority's own certificate.
	NotAfter time.Time
}

// SignClient makes an ECDSA P-256 key and a client certificate for it, both in
// PEM, signed by the authority whose certificate and key are given in PEM. It
// returns when the certificate ends.
func SignClient(caCert, caKey []byte, client Client, now time.Time) (certPEM, keyPEM []byte, end time.Time, err error) {
	authorities, err := cert.ParseCertsPEM(caCert)
	if err != nil {
		return nil, nil, end, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	parsed, err := keyutil.ParsePrivateKeyPEM(caKey)
	if err != nil {
		return nil, nil, end, fmt.Errorf("reading the authority's key: %w", err)
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, nil, end, fmt.Errorf("reading the authority's key: a %T cannot sign", parsed)
	}
	end = client.NotAfter
	if authorities[0].NotAfter.Before(end) {
		end = authorities[0].NotAfter
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, end, fmt.Errorf("drawing a serial number: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, end, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: client.User, Organization: client.Groups},
		NotBefore:    now.Add(-backdate),
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, authorities[0], &key.PublicKey, signer)
	if err != nil {
		return nil, nil, end, fmt.Errorf("signing a client certificate for %q: %w", client.User, err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, end, fmt.Errorf("reading back a client certificate: %w", err)
	}
	if certPEM, err = cert.EncodeCertificates(signed); err != nil {
		return nil, nil, end, fmt.Errorf("encoding a client certificate: %w", err)
	}
	if keyPEM, err = keyutil.MarshalPrivateKeyToPEM(key); err != nil {
		return nil, nil, end, fmt.Errorf("encoding a client key: %w", err)
	}
	return certPEM, keyPEM, end, nil
}
