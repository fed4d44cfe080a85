package garden

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/storage/storagebackend"

	"github.com/loam-cloud/loam/fault"
)

const (
	// etcdPatience is how long a start waits for one server: host and etcd may
	// have been switched on together.
	etcdPatience = 15 * time.Second
	// etcdInterval is how often they are tried meanwhile.
	etcdInterval = time.Second
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

// await returns when one of the servers takes a connection. Its error says of each
// what is wrong, which the API server's own would not; it is Transient.
func (e ExternalEtcd) await(ctx context.Context) error {
	info := transport.TLSInfo{TrustedCAFile: e.CAFile, CertFile: e.CertFile, KeyFile: e.KeyFile}
	config, err := info.ClientConfig()
	if err != nil {
		return fault.New(fault.Invalid, "reading the certificates for etcd: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, etcdPatience)
	defer cancel()
	var problems error
	waited := wait.PollUntilContextCancel(ctx, etcdInterval, true, func(ctx context.Context) (bool, error) {
		var found []error
		for _, server := range e.Servers {
			if err := reach(ctx, server, config); err == nil {
				return true, nil
			} else if ctx.Err() == nil || problems == nil {
				found = append(found, fmt.Errorf("%s: %w", server, err))
			}
		}
		if len(found) > 0 {
			problems = errors.Join(found...)
		}
		return false, nil
	})
	if waited != nil {
		return fault.New(fault.Transient, "no etcd server can be reached: %w", problems)
	}
	return nil
}

func reach(ctx context.Context, server string, config *tls.Config) error {
	address, err := url.Parse(server)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, etcdPatience/3)
	defer cancel()
	dial := (&net.Dialer{}).DialContext
	if address.Scheme == "https" {
		dial = (&tls.Dialer{Config: config}).DialContext
	}
	connection, err := dial(ctx, "tcp", address.Host)
	if err != nil {
		return err
	}
	return connection.Close()
}

// ApplyTo makes a server's storage configuration use the cluster.
func (e ExternalEtcd) ApplyTo(config *storagebackend.Config) {
	transport := &config.Transport
	transport.ServerList = e.Servers
	transport.TrustedCAFile, transport.CertFile, transport.KeyFile = e.CAFile, e.CertFile, e.KeyFile
	if e.Prefix != "" {
		config.Prefix = e.Prefix
	}
}
