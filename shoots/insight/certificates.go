package insight

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

// Certificate is one that a node has in a file.
type Certificate struct {
	File    string `json:"file"`
	Subject string `json:"subject"`
	// Authority says that it signs others.
	Authority bool      `json:"authority,omitempty"`
	Expires   time.Time `json:"expires"`
	// DaysLeft is rounded down; negative once it has expired.
	DaysLeft int              `json:"daysLeft"`
	State    CertificateState `json:"state"`
}

// CertificateState tells whether a certificate is of use for some time yet.
type CertificateState string

// The states of certificates.
const (
	CertificateValid   CertificateState = "valid"
	CertificateNear    CertificateState = "near"
	CertificateExpired CertificateState = "expired"
)

const (
	day = 24 * time.Hour
	// nearExpiry is when a certificate is near its end: those of kubeadm are good
	// for a year, and renewed by an upgrade, which comes every few months.
	nearExpiry = 30 * day
	// leastShare is the same for certificates that are made for a shorter time, as a
	// share of that. The kubelet renews its own well before.
	leastShare = 10
)

func certificateState(c *x509.Certificate, now time.Time) CertificateState {
	left := c.NotAfter.Sub(now)
	switch {
	case left <= 0:
		return CertificateExpired
	case left < min(nearExpiry, c.NotAfter.Sub(c.NotBefore)/leastShare):
		return CertificateNear
	}
	return CertificateValid
}

// Certificates reads those of a file: the PEM blocks of one, or the client's in
// a kubeconfig. Anything else, keys above all, is passed over.
func Certificates(file string, content []byte, now time.Time) []Certificate {
	if strings.HasSuffix(file, ".conf") {
		content = clientCertificates(content)
	}
	var all []Certificate
	for _, c := range parseCertificates(content) {
		all = append(all, Certificate{
			File: file, Subject: subject(c), Authority: c.IsCA, Expires: c.NotAfter.UTC(),
			DaysLeft: int(floor(c.NotAfter.Sub(now))), State: certificateState(c, now),
		})
	}
	return all
}

// floor is a duration in whole days, rounded down on both sides of zero.
func floor(d time.Duration) int64 {
	days := int64(d / day)
	if d < 0 && d%day != 0 {
		days--
	}
	return days
}

func parseCertificates(content []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			return all
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
}

// clientCertificates are the certificates in a kubeconfig by which users of it
// prove who they are.
func clientCertificates(content []byte) []byte {
	config, err := clientcmd.Load(content)
	if err != nil {
		return nil
	}
	var names []string
	for name := range config.AuthInfos {
		names = append(names, name)
	}
	slices.Sort(names)
	var all [][]byte
	for _, name := range names {
		all = append(all, config.AuthInfos[name].ClientCertificateData)
	}
	return bytes.Join(all, []byte("\n"))
}

func subject(c *x509.Certificate) string {
	text := c.Subject.CommonName
	if len(c.Subject.Organization) > 0 {
		text += " (" + strings.Join(c.Subject.Organization, ", ") + ")"
	}
	return cmp.Or(text, c.Subject.String(), "no subject")
}

// current drops what is kept for the past: the kubelet leaves earlier
// certificates beside the one in use, with the time in their names, and kubeadm
// those from before an upgrade in a folder of its own.
func current(all []Certificate) []Certificate {
	newest := map[string]string{}
	for _, c := range all {
		if series, dated := rotated(c.File); dated {
			newest[series] = max(newest[series], c.File)
		}
	}
	all = slices.DeleteFunc(all, func(c Certificate) bool {
		series, dated := rotated(c.File)
		return dated && newest[series] != c.File || strings.HasPrefix(c.File, "/etc/kubernetes/tmp/")
	})
	slices.SortStableFunc(all, func(a, b Certificate) int { return cmp.Compare(a.File, b.File) })
	return all
}

// rotated tells whether a file is one of the kubelet's series, as
// kubelet-client-2026-11-21-18-48-21.pem.
func rotated(file string) (series string, dated bool) {
	for _, prefix := range []string{"kubelet-client-", "kubelet-server-"} {
		if strings.HasPrefix(path.Base(file), prefix) && strings.HasSuffix(file, ".pem") {
			return prefix, true
		}
	}
	return "", false
}
