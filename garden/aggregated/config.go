// Package aggregated serves the garden's groups as an aggregated API server
// beside any Kubernetes: that cluster authenticates, authorizes and holds
// Secrets, an etcd reached over TLS holds the garden's objects. Replicas share
// nothing else and need no leader.
//
// The command line runs it as "loam apiserver". It must not know what Loam does
// with the objects: kinds and rules are those of package garden/kinds, as in a
// garden of its own.
package aggregated

import (
	"net"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/rest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/access/identity"
)

// DefaultListen is where the server listens when nothing else is said. It is
// reached through a Service, so not on loopback.
const DefaultListen = ":8443"

// Config says how an aggregated API server is run.
type Config struct {
	// REST reaches the cluster beside which the server runs, with the rights that
	// deploy/apiserver gives it.
	REST *rest.Config
	// Kubeconfig is the file behind REST; empty inside the cluster. The server's
	// libraries read it for themselves.
	Kubeconfig string
	// Listen is host:port; empty means DefaultListen.
	Listen string
	// Namespace and Service are where the cluster reaches the server, and where it
	// keeps its Secret.
	Namespace, Service string
	// Etcd holds the objects.
	Etcd garden.ExternalEtcd
	// EtcdSecret names the Secret with the certificates of an etcd behind a Service
	// of the same name; the server makes and renews it. Empty when Etcd says what
	// certificates there are.
	EtcdSecret string
	// CertFile and KeyFile are the serving certificate, with CAFile the authority
	// that signed it. Without them the server makes its own authority, which all
	// replicas share through its Secret.
	CertFile, KeyFile, CAFile string
	// IdentityIssuer is the URL of who signs tokens of workload identities; empty
	// means the Service's. Target systems outside the cluster need one that leads
	// to the server's documents.
	IdentityIssuer string
	// TakeOver lets the server replace APIServices that something else has
	// registered for the same groups.
	TakeOver bool
	Logger   logr.Logger
	// StopTimeout bounds how long open requests may hold up a stop; 5 s when 0.
	StopTimeout time.Duration
}

// Validate reports every problem as one Invalid fault.
func (c Config) Validate() error {
	var problems field.ErrorList
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			problems = append(problems, field.Invalid(field.NewPath("listen"), c.Listen, "must be address:port, as in :8443"))
		}
	}
	if c.Namespace == "" {
		problems = append(problems, field.Required(field.NewPath("namespace"), "is where the server keeps its Secret"))
	}
	if c.Service == "" {
		problems = append(problems, field.Required(field.NewPath("service"), "names the Service through which the cluster reaches the server"))
	}
	if !c.Etcd.Used() {
		problems = append(problems, field.Required(field.NewPath("etcd", "servers"), "are the client URLs of the etcd that holds the objects"))
	}
	if c.EtcdSecret == "" {
		problems = append(problems, c.Etcd.Validate(field.NewPath("etcd"))...)
	} else if c.Etcd.CAFile != "" || c.Etcd.CertFile != "" || c.Etcd.KeyFile != "" {
		problems = append(problems, field.Invalid(field.NewPath("etcd", "secret"), c.EtcdSecret, "replaces the files with certificates: give one or the other"))
	}
	for name, file := range map[string]string{"certFile": c.CertFile, "keyFile": c.KeyFile, "caFile": c.CAFile} {
		path := field.NewPath("tls", name)
		if (file == "") != (c.CertFile == "") {
			problems = append(problems, field.Invalid(path, file, "certificate, key and authority are given together, or none of them"))
		} else if file != "" {
			if _, err := os.Stat(file); err != nil {
				problems = append(problems, field.Invalid(path, file, err.Error()))
			}
		}
	}
	if err := problems.ToAggregate(); err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	return nil
}

func withDefaults(c Config) Config {
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.IdentityIssuer == "" {
		c.IdentityIssuer = "https://" + c.Service + "." + c.Namespace + ".svc" + identity.Path
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 5 * time.Second
	}
	if c.Logger.GetSink() == nil {
		c.Logger = logr.Discard()
	}
	return c
}
