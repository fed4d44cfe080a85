package certificatesigningrequest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
)

const (
	seedsGroup  = "gardener.cloud:system:seeds"
	shootsGroup = "gardener.cloud:system:shoots"
)

func TestDecisions(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	type change func(*x509.CertificateRequest, *certificatesv1.CertificateSigningRequest)
	usage := func(usages ...certificatesv1.KeyUsage) change {
		return func(_ *x509.CertificateRequest, csr *certificatesv1.CertificateSigningRequest) {
			csr.Spec.Usages = usages
		}
	}
	token := func(seed, description string) *bootstrapToken {
		return &bootstrapToken{id: "abcdef", seed: seed, description: description}
	}
	const ignored, granted = "ignored", ""
	for _, test := range []struct {
		name, user, group, requester string
		token                        *bootstrapToken
		change                       change
		// want is "ignored", empty for a request that is not denied, or a part of
		// why it is.
		want, subresource string
	}{
		{"a seed with a token", "gardener.cloud:system:seed:a", seedsGroup, "system:bootstrap:abcdef", token("", ""), nil, granted, "seedclient"},
		{"a seed with its token", "gardener.cloud:system:seed:a", seedsGroup, "system:bootstrap:abcdef", token("a", ""), nil, granted, "seedclient"},
		{"a seed with another's token", "gardener.cloud:system:seed:a", seedsGroup, "system:bootstrap:abcdef", token("b", ""), nil, `is for seed "b"`, ""},
		{"a seed itself", "gardener.cloud:system:seed:a", seedsGroup, "gardener.cloud:system:seed:a", nil, nil, granted, "seedclient"},
		{"a seed for another", "gardener.cloud:system:seed:a", seedsGroup, "gardener.cloud:system:seed:b", nil, nil, "may renew its own", ""},
		{"a seed by a service account", "gardener.cloud:system:seed:a", seedsGroup, "system:serviceaccount:garden:x", nil, nil, granted, "seedclient"},
		{"a seed without a name", "gardener.cloud:system:seed:", seedsGroup, "x", nil, nil, ignored, ""},
		{"no seed", "jane", seedsGroup, "x", nil, nil, ignored, ""},
		{"a seed in another group", "gardener.cloud:system:seed:a", "system:masters", "x", nil, nil, ignored, ""},
		{"two groups", "gardener.cloud:system:seed:a", seedsGroup, "x", nil, func(r *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequest) {
			r.Subject.Organization = append(r.Subject.Organization, "system:masters")
		}, ignored, ""},
		{"a DNS name", "gardener.cloud:system:seed:a", seedsGroup, "x", nil, func(r *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequest) {
			r.DNSNames = []string{"a"}
		}, ignored, ""},
		{"an address", "gardener.cloud:system:seed:a", seedsGroup, "x", nil, func(r *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequest) {
			r.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		}, ignored, ""},
		{"a usage less", "gardener.cloud:system:seed:a", seedsGroup, "x", nil, usage("digital signature", "client auth"), ignored, ""},
		{"a usage more", "gardener.cloud:system:seed:a", seedsGroup, "x", nil, usage("digital signature", "key encipherment", "client auth", "server auth"), ignored, ""},
		{"usages in another order", "gardener.cloud:system:seed:a", seedsGroup, "x", nil, usage("client auth", "key encipherment", "digital signature"), granted, "seedclient"},
		{"another signer", "gardener.cloud:system:seed:a", seedsGroup, "x", nil, func(_ *x509.CertificateRequest, csr *certificatesv1.CertificateSigningRequest) {
			csr.Spec.SignerName = "kubernetes.io/kubelet-serving"
		}, ignored, ""},
		{"nonsense", "gardener.cloud:system:seed:a", seedsGroup, "x", nil, func(_ *x509.CertificateRequest, csr *certificatesv1.CertificateSigningRequest) {
			csr.Spec.SignerName = ""
		}, ignored, ""},
		{"a cluster", "gardener.cloud:system:shoot:garden-dev:plant", shootsGroup, "system:bootstrap:abcdef", token("", "Connects garden-dev/plant."), nil, granted, "shootclient"},
		{"gardenadm", "gardener.cloud:gardenadm:shoot:garden-dev:plant", shootsGroup, "system:bootstrap:abcdef", token("", "Connects garden-dev/plant."), nil, granted, "shootclient"},
		{"another cluster", "gardener.cloud:system:shoot:garden-dev:weed", shootsGroup, "system:bootstrap:abcdef", token("", "Connects garden-dev/plant."), nil, "does not name", ""},
		{"a part of a name", "gardener.cloud:system:shoot:garden-dev:plan", shootsGroup, "system:bootstrap:abcdef", token("", "Connects garden-dev/plant."), nil, "does not name", ""},
		{"gardenadm for another cluster", "gardener.cloud:gardenadm:shoot:garden-dev:weed", shootsGroup, "system:bootstrap:abcdef", token("", ""), nil, "does not name", ""},
		{"a cluster by a user", "gardener.cloud:system:shoot:garden-dev:plant", shootsGroup, "jane", nil, nil, "not to", ""},
		{"a cluster itself", "gardener.cloud:system:shoot:garden-dev:plant", shootsGroup, "gardener.cloud:system:shoot:garden-dev:plant", nil, nil, granted, "shootclient"},
		{"a cluster without a name", "gardener.cloud:system:shoot:garden-dev", shootsGroup, "x", nil, nil, ignored, ""},
	} {
		request := &x509.CertificateRequest{Subject: pkix.Name{CommonName: test.user, Organization: []string{test.group}}}
		csr := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: certificatesv1.KubeAPIServerClientSignerName,
			Usages:     []certificatesv1.KeyUsage{"digital signature", "key encipherment", "client auth"},
		}}
		if test.change != nil {
			test.change(request, csr)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, request, key)
		if err != nil {
			t.Fatal(err)
		}
		csr.Spec.Request = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
		asked, mine := read(csr)
		switch {
		case !mine:
			if test.want != ignored {
				t.Errorf("%s: ignored", test.name)
			}
		case test.want == ignored:
			t.Errorf("%s: not ignored", test.name)
		default:
			problem := asked.problem(test.requester, test.token)
			if (problem == "") != (test.want == "") || !strings.Contains(problem, test.want) {
				t.Errorf("%s: got %q", test.name, problem)
			}
			if test.want == granted && asked.subresource() != test.subresource {
				t.Errorf("%s: got subresource %s", test.name, asked.subresource())
			}
		}
	}
}
