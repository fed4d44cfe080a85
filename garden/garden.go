// Package garden is Loam's API: etcd, Kubernetes' generic control plane and
// Gardener's groups in this one process, with the few Kubernetes controllers
// that such an API needs.
//
// The app starts it and stops it; command line tools ask with ReadLock whether
// one runs. It must not know what is done with the objects that it serves:
// fleet controllers, flows and drivers use it through a rest.Config, like any
// other client.
package garden

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"

	"github.com/loam-cloud/loam/garden/audit"
	"github.com/loam-cloud/loam/garden/backup"
)

// DefaultListen is where a garden listens when nothing else is said.
const DefaultListen = "127.0.0.1:6440"

// Config says how a garden is run.
type Config struct {
	// DataDir holds everything that outlives the process. It is created with
	// mode 0700. One process at a time uses it.
	DataDir string
	// Listen is host:port, DefaultListen when empty. Port 0 takes a free port.
	Listen string
	// Etcd holds the objects instead of the garden's own store, when it is used.
	// Keys and certificates stay in DataDir.
	Etcd ExternalEtcd
	// Backups says how the garden backs itself up.
	Backups backup.Schedule
	// Version is that of the program, for the record.
	Version string
	// StoreQuotaBytes bounds the file of the garden's own store; 8 GiB when 0.
	StoreQuotaBytes int64
	// Audit says where requests are written down; an empty path means audit.log in
	// DataDir.
	Audit audit.Config
	// WorkloadIdentityIssuer is the URL in tokens of workload identities, below
	// which target systems read by which keys they are signed. Empty means the
	// garden's own address with identity.Path.
	WorkloadIdentityIssuer string
	// KubernetesVersions are the versions, like v1.36.3, for which a node image
	// is on this host. They are what the CloudProfile local offers.
	KubernetesVersions []string
	// Logger gets the garden's own lines, and warnings and errors of the
	// Kubernetes and etcd code inside. The zero Logger discards them.
	Logger logr.Logger
	// StopTimeout bounds how long open requests may hold up a stop; 5 s when 0.
	StopTimeout time.Duration
	// PostStart is called once the garden is ready and bootstrapped; it should
	// start things and return. Its context ends when the garden stops, before
	// the API does. An error makes Start fail.
	PostStart func(ctx context.Context, cfg *rest.Config) error
}
