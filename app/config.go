// Package app wires Loam: it is the one package that knows the garden, the
// drivers, the flows and all controllers, and lists them in one place. The
// command line calls it.
//
// It must not hold behaviour of its own; what it would decide belongs to one of
// the packages that it wires.
package app

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/audit"
	"github.com/loam-cloud/loam/garden/backup"
	registry "github.com/loam-cloud/loam/registry/config"
)

// Version is Loam's version.
const Version = "v0.1.0"

// SeedName is the seed of the host that runs the garden.
const SeedName = "local"

// Config says how a garden is run with this host's agent.
type Config struct {
	// DataDir is the folder of the garden's data, absolute.
	DataDir string
	// Listen is address and port of the API; empty means the garden's default.
	Listen string
	// Etcd holds the garden's objects, when it is used, instead of DataDir.
	Etcd garden.ExternalEtcd
	// Backups says how the garden backs itself up.
	Backups backup.Schedule
	// StoreQuotaBytes bounds the garden's own store; 8 GiB when 0.
	StoreQuotaBytes int64
	// DockerHost is the Docker Engine API; empty means DOCKER_HOST, else the
	// daemon's default socket.
	DockerHost string
	// Audit says where requests to the API are written down; empty means the
	// garden's defaults.
	Audit audit.Config
	// Registry is the image cache, which nodes of clusters are led to; its folder is
	// the one called registry in DataDir when it names none.
	Registry registry.Configuration
	// NoRegistry leaves it to others to run the image cache.
	NoRegistry bool
	// Manifests are files to be applied once the garden is ready.
	Manifests []string
	// Ports says how ports of this host lead to services of clusters.
	Ports PortsConfig
	// ClockOffset sets the clock of the fleet's controllers forward that go by hours
	// and days; only tests do.
	ClockOffset time.Duration
	// Ready is called once, when the garden is ready and has its manifests; it
	// may be nil.
	Ready func()
}

// leastStoreQuota is what an empty garden needs, and some room.
const leastStoreQuota = 64 << 20

// Validate reports every problem as one Invalid fault.
func (c Config) Validate() error {
	var problems field.ErrorList
	if !filepath.IsAbs(c.DataDir) {
		problems = append(problems, field.Invalid(field.NewPath("dataDir"), c.DataDir, "must be an absolute path"))
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			problems = append(problems, field.Invalid(field.NewPath("listen"), c.Listen, "must be address:port, as in 127.0.0.1:6440"))
		}
	}
	problems = append(problems, c.Etcd.Validate(field.NewPath("etcd"))...)
	problems = append(problems, c.Ports.validate(field.NewPath("ports"))...)
	if c.StoreQuotaBytes < 0 || c.StoreQuotaBytes > 0 && c.StoreQuotaBytes < leastStoreQuota {
		problems = append(problems, field.Invalid(field.NewPath("storeQuota"), c.StoreQuotaBytes, fmt.Sprintf("must be %d or more", leastStoreQuota)))
	}
	if c.Backups.Keep < 0 {
		problems = append(problems, field.Invalid(field.NewPath("backupKeep"), c.Backups.Keep, "must be 1 or more"))
	}
	if c.Audit.PolicyFile != "" {
		if _, err := os.Stat(c.Audit.PolicyFile); err != nil {
			problems = append(problems, field.Invalid(field.NewPath("auditPolicyFile"), c.Audit.PolicyFile, err.Error()))
		}
	}
	for i, m := range c.Manifests {
		if _, err := os.Stat(m); err != nil {
			problems = append(problems, field.Invalid(field.NewPath("manifests").Index(i), m, err.Error()))
		}
	}
	if err := problems.ToAggregate(); err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	return nil
}

// registryConfiguration is the image cache's, with its defaults.
func (c Config) registryConfiguration() registry.Configuration {
	r := c.Registry
	r.APIVersion, r.Kind = registry.APIVersion, registry.Kind
	r.Default(filepath.Join(c.DataDir, "registry"))
	return r
}

// Instance names this installation at machine drivers, so that two gardens on
// one host do not touch each other's machines. It follows from the data folder
// alone, so that it outlives everything but the folder itself.
func (c Config) Instance() string {
	if filepath.Base(c.DataDir) == "loam" {
		if home, err := os.UserHomeDir(); err == nil && c.DataDir == filepath.Join(home, ".local", "share", "loam") {
			return "loam"
		}
	}
	sum := sha256.Sum256([]byte(c.DataDir))
	return "loam-" + hex.EncodeToString(sum[:3])
}
