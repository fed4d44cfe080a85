package check_test

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

const authority = `-----BEGIN CERTIFICATE-----
MIIBeDCCAR2gAwIBAgIBADAKBggqhkjOPQQDAjAjMSEwHwYDVQQDDBhrM3Mtc2Vy
dmVyLWNhQDE3MDAwMDAwMDAwHhcNMjMxMTE0MjIxMzIwWhcNMzMxMTExMjIxMzIw
-----END CERTIFICATE-----
`

// TestChecks has one value that each check accepts and some that it refuses,
// with a part of the only problem expected.
func TestChecks(t *testing.T) {
	path := field.NewPath("f")
	for name, test := range map[string]struct {
		errs field.ErrorList
		want string
	}{
		"required":                    {check.Required(path, "x", "is there"), ""},
		"required, empty":             {check.Required(path, "", "says it"), "says it"},
		"one of":                      {check.OneOf(path, "a", "a", "b"), ""},
		"one of, other":               {check.OneOf(path, "c", "a", "b"), `supported values: "a", "b"`},
		"immutable, nil and empty":    {check.Immutable(path, []string{}, nil), ""},
		"immutable, changed":          {check.Immutable(path, "b", "a"), `f: Invalid value: "b": cannot be changed, it is "a"`},
		"immutable, taken out":        {check.Immutable(path, nil, ptr.To("a")), `cannot be changed, it is "a"`},
		"immutable, a list":           {check.Immutable(path, []string{"b"}, []string{"a"}), `f: Invalid value: "b": cannot be changed, it is "a"`},
		"immutable, a reference":      {check.Immutable(path, corev1.SecretReference{Namespace: "n", Name: "b"}, corev1.SecretReference{Namespace: "n", Name: "a"}), `"n/b": cannot be changed, it is "n/a"`},
		"immutable, references":       {check.Immutable(path, nil, []corev1.ObjectReference{{Namespace: "n", Name: "a"}, {Name: "b"}}), `"": cannot be changed, it is "n/a, b"`},
		"immutable, a selector":       {check.Immutable(path, &metav1.LabelSelector{}, &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}), `it is "a=b"`},
		"immutable, much":             {check.Immutable(path, map[string]string{}, map[string]string{"a": "b"}), "f: Forbidden: cannot be changed"},
		"immutable, put in":           {check.Immutable(path, ptr.To(int32(3)), nil), `f: Invalid value: 3: cannot be changed, it is ""`},
		"once set, first time":        {check.ImmutableOnceSet(path, ptr.To("a"), nil), ""},
		"once set, changed":           {check.ImmutableOnceSet(path, ptr.To("a"), ptr.To("b")), "cannot be changed"},
		"unique":                      {check.UniqueStrings(path, []string{"a", "b", "", ""}), ""},
		"unique, twice":               {check.UniqueStrings(path, []string{"a", "b", "a"}), "f[2]: Duplicate"},
		"at least":                    {check.AtLeast(path, 3, 3), ""},
		"at least, less":              {check.AtLeast(path, -1, 0), "must be 0 or more"},
		"not negative":                {check.NonNegative(path, resource.MustParse("0")), ""},
		"not negative, negative":      {check.NonNegative(path, resource.MustParse("-1")), "must be 0 or more"},
		"positive, zero":              {check.Positive(path, resource.MustParse("0")), "must be more than 0"},
		"network":                     {check.CIDR(path, "10.0.0.0/8"), ""},
		"network, IPv6":               {check.CIDR(path, "2001:db8::/64"), ""},
		"network, empty":              {check.CIDR(path, ""), "Required"},
		"network, host bits":          {check.CIDR(path, "10.1.0.0/8"), "10.0.0.0/8"},
		"network, no prefix":          {check.CIDR(path, "10.1.0.0"), "must be a network"},
		"network, mapped":             {check.CIDR(path, "::ffff:10.0.0.0/104"), "must be a network"},
		"label":                       {check.DNSLabel(path, "a-b"), ""},
		"label, dot":                  {check.DNSLabel(path, "a.b"), "must not contain dots"},
		"subdomain, capital":          {check.DNSSubdomain(path, "A.b"), "RFC 1123 subdomain"},
		"certificates, none":          {check.Certificates(path, "no"), "must be one or more certificates"},
		"certificates, broken":        {check.Certificates(path, authority), "must be one or more certificates in PEM"},
		"certificates, a private key": {check.Certificates(path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "must be one or more certificates"},
		"version":                     {check.Version(path, "1.36.3-rc.1"), ""},
		"version, short":              {check.Version(path, "1.36"), "must be a full version"},
		"version, empty":              {check.Version(path, ""), "Required"},
		"constraint":                  {check.Constraint(path, ">= 1.26, < 1.30"), ""},
		"constraint, nonsense":        {check.Constraint(path, "new"), "must be a range"},
	} {
		t.Run(name, func(t *testing.T) {
			switch {
			case test.want == "" && len(test.errs) > 0:
				t.Errorf("got %v", test.errs)
			case test.want != "" && (len(test.errs) != 1 || !strings.Contains(test.errs[0].Error(), test.want)):
				t.Errorf("got %v, want one with %q", test.errs, test.want)
			}
		})
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	key := "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
	if errs := check.Certificates(field.NewPath("f"), key); strings.Contains(errs.ToAggregate().Error(), "c2Vj") {
		t.Errorf("a key is shown: %v", errs)
	}
}

func TestDisjoint(t *testing.T) {
	network := func(name, cidr string) check.Network {
		n, errs := check.ParseNetwork(field.NewPath(name), cidr)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		return n
	}
	a, b, c, d := network("a", "10.0.0.0/16"), network("b", "10.1.0.0/16"), network("c", "10.0.0.0/15"), network("d", "2001:db8::/64")
	if errs := check.Disjoint(a, b, d); len(errs) > 0 {
		t.Errorf("got %v", errs)
	}
	if errs := check.Disjoint(a, b, c); len(errs) != 2 || errs[0].Field != "c" || !strings.Contains(errs[0].Detail, "overlaps a") {
		t.Errorf("got %v, want two at c", errs)
	}
	if errs := check.DisjointFrom([]check.Network{a, d}, map[string]netip.Prefix{"the seed": c.Prefix}); len(errs) != 1 || errs[0].Field != "a" {
		t.Errorf("got %v, want one at a", errs)
	}
}
