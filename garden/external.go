package garden

import (
	"net/url"
	"os"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/storage/storagebackend"
)

// ExternalEtcd is an etcd cluster that others run. The zero value means none.
type ExternalEtcd struct {
	// Servers are client URLs, https://10.0.0.1:2379.
	Servers []string
	// CAFile holds the authorities that may sign the servers' certificates.
	CAFile string
	// CertFile and KeyFile are what this process shows to the servers.
	CertFile, KeyFile string
	// Prefix begins every key; empty means /registry.
	Prefix string
}

// Used tells whether there is such a cluster.
func (e ExternalEtcd) Used() bool { return len(e.Servers) > 0 }

// Validate reports every problem, with paths below path. Servers on another
// host must be reached over TLS: the store holds every secret.
func (e ExternalEtcd) Validate(path *field.Path) field.ErrorList {
	var problems field.ErrorList
	encrypted := false
	for i, server := range e.Servers {
		at := path.Child("servers").Index(i)
		address, err := url.Parse(server)
		switch {
		case err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https":
			problems = append(problems, field.Invalid(at, server, "must be a URL, for example https://10.0.0.1:2379"))
		case address.Scheme == "https":
			encrypted = true
		case !loopback(address.Hostname()):
			problems = append(problems, field.Invalid(at, server, "must begin with https:// because it is on another host"))
		}
	}
	if encrypted && e.CAFile == "" {
		problems = append(problems, field.Required(path.Child("caFile"), "says which authority signed the servers' certificates"))
	}
	if (e.CertFile == "") != (e.KeyFile == "") {
		problems = append(problems, field.Required(path.Child("certFile"), "certificate and key are given together"))
	}
	for name, file := range map[string]string{"caFile": e.CAFile, "certFile": e.CertFile, "keyFile": e.KeyFile} {
		if file == "" {
			continue
		}
		if !e.Used() {
			problems = append(problems, field.Invalid(path.Child(name), file, "is of use only with servers"))
		} else if _, err := os.Stat(file); err != nil {
			problems = append(problems, field.Invalid(path.Child(name), file, err.Error()))
		}
	}
	return problems
}

func loopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// ApplyTo makes a server's storage configuration use the cluster.
func (e ExternalEtcd) ApplyTo(config *storagebackend.Config) {
	transport := &config.Transport
	transport.ServerList = e.Servers
	transport.TrustedCAFile, transport.CertFile, transport.KeyFile = e.CAFile, e.CertFile, e.KeyFile
	if e.Prefix != "" {
		config.Prefix = e.Prefix
	}
}
