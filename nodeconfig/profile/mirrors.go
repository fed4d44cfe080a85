package profile

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Mirror is where containerd asks for images of one registry before that itself.
// It takes files of its configuration in at each pull: no restart is needed.
type Mirror struct {
	// Registry is the host that images are named by: docker.io, or
	// registry.example:5000.
	Registry string
	// Endpoint is the mirror's URL; with a path, containerd asks below that.
	Endpoint string
	// ServerName is the name in the certificate of a mirror that is addressed by IP,
	// CA the authority that signed it (PEM).
	ServerName string
	CA         []byte
	// Upstream is the registry's own URL, where that is not https://<registry>.
	Upstream string
	// Offline has the mirror answer for tags, and nobody else be asked. Otherwise tags
	// are resolved at the registry, and the mirror serves what they lead to.
	Offline bool
}

// registryHost is a host with a port or without, in a form that is the name of a folder.
var registryHost = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$`)

func checkMirrors(mirrors []Mirror, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	offline := map[string]int{}
	for i, m := range mirrors {
		one := at.Index(i)
		errs = append(errs, form(one.Child("registry"), m.Registry, registryHost, "must be the host that images are named by, such as docker.io or registry.example:5000")...)
		errs = append(errs, checkEndpoint(m, one)...)
		if m.Upstream != "" {
			if u, err := url.Parse(m.Upstream); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
				errs = append(errs, field.Invalid(one.Child("upstream"), "(hidden)", "must be a URL such as https://registry-1.docker.io, without a password"))
			}
		}
		first, several := offline[m.Registry]
		switch {
		case several && mirrors[first].Offline != m.Offline:
			errs = append(errs, against(one.Child("offline"), m.Offline, "all mirrors of a registry answer for tags, or none does: it cannot stand with", at.Index(first).Child("offline"), mirrors[first].Offline))
		case several && mirrors[first].Upstream != m.Upstream:
			errs = append(errs, against(one.Child("upstream"), m.Upstream, "a registry has one: it cannot stand with", at.Index(first).Child("upstream"), fmt.Sprintf("%q", mirrors[first].Upstream)))
		case !several:
			offline[m.Registry] = i
		}
	}
	return errs
}

// checkEndpoint wants a mirror that containerd will trust. A certificate is checked
// against the host in the URL; for one that is an address, hardly an authority that
// everybody knows has signed.
func checkEndpoint(m Mirror, at *field.Path) field.ErrorList {
	u, err := url.Parse(m.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return field.ErrorList{field.Invalid(at.Child("endpoint"), "(hidden)", "must be a URL such as http://10.0.0.5:5000, without a password")}
	}
	var errs field.ErrorList
	if host := u.Hostname(); !hostName.MatchString(host) {
		errs = append(errs, field.Invalid(at.Child("endpoint"), m.Endpoint, "must have a name or an address as host"))
	}
	_, notAddress := netip.ParseAddr(u.Hostname())
	switch {
	case m.ServerName != "" && notAddress != nil:
		errs = append(errs, against(at.Child("serverName"), m.ServerName, "is for a mirror that is addressed by IP: it cannot stand with", at.Child("endpoint"), m.Endpoint))
	case m.ServerName != "" && !registryHost.MatchString(m.ServerName):
		errs = append(errs, field.Invalid(at.Child("serverName"), m.ServerName, "must be a name"))
	case u.Scheme == "http" && len(m.CA) > 0:
		errs = append(errs, against(at.Child("ca"), fmt.Sprintf("%d bytes", len(m.CA)), "is for TLS: it cannot stand with", at.Child("endpoint"), m.Endpoint))
	case u.Scheme == "https" && notAddress == nil && m.ServerName == "" && len(m.CA) == 0:
		errs = append(errs, field.Required(at.Child("ca"), fmt.Sprintf("or a serverName: %s is %s, and no authority that nodes know signs certificates for such an address", at.Child("endpoint"), m.Endpoint)))
	}
	if len(m.CA) > 0 {
		block, _ := pem.Decode(m.CA)
		if block == nil || block.Type != "CERTIFICATE" {
			errs = append(errs, field.Invalid(at.Child("ca"), fmt.Sprintf("%d bytes", len(m.CA)), "must be a certificate in PEM"))
		} else if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			errs = append(errs, field.Invalid(at.Child("ca"), fmt.Sprintf("%d bytes", len(m.CA)), "must be a certificate: "+err.Error()))
		}
	}
	return errs
}
