package app

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/moby/moby/client"
	"github.com/prometheus/procfs"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/defaulting"
	"github.com/loam-cloud/loam/images"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/container"
	"github.com/loam-cloud/loam/shoots"
)

// agent is what makes this host a seed: its driver and its node images.
type agent struct {
	seed     string
	driver   *container.Driver
	identity gardencorev1beta1.Gardener
	// engine is the address of the container engine; empty means the default.
	engine string
	ports  PortsConfig
	// cache leads machines to the image cache of this host; nil leads none.
	cache *nodeCache
}

// imageCache is what the flow asks where a machine finds the image cache.
func (a *agent) imageCache() func(machines.Machine) (netip.AddrPort, error) {
	if a.cache == nil {
		return nil
	}
	return a.cache.at
}

// NodeImages lists the node images of a container engine; an empty host means
// DOCKER_HOST, else the engine's default.
func NodeImages(ctx context.Context, host string) ([]images.Image, error) {
	options := []client.Opt{client.FromEnv}
	if host != "" {
		options = append(options, client.WithHost(host))
	}
	engine, err := client.New(options...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "docker host: %w", err)
	}
	defer func() { _ = engine.Close() }() // ends connections that nobody waits for
	all, err := images.List(ctx, engine)
	// An image whose version cannot be read cannot be asked for either.
	return slices.DeleteFunc(all, func(i images.Image) bool {
		_, err := version.ParseSemantic(i.KubernetesVersion)
		return err != nil
	}), err
}

// versions lists the Kubernetes versions that this host has a node image for.
func (a *agent) versions(ctx context.Context) ([]string, error) {
	all, err := NodeImages(ctx, a.engine)
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, i := range all {
		versions = append(versions, i.KubernetesVersion)
	}
	slices.Sort(versions)
	return slices.Compact(versions), nil
}

// image finds the node image of a Kubernetes version.
func (a *agent) image(ctx context.Context, wanted string) (string, error) {
	all, err := NodeImages(ctx, a.engine)
	if err != nil {
		return "", err
	}
	var have []string
	for _, i := range all {
		if i.KubernetesVersion == wanted {
			// The name that a build gives wins over names that a user chose.
			if i.Tag == images.Tag(wanted) || !slices.ContainsFunc(all, func(o images.Image) bool { return o.Tag == images.Tag(wanted) }) {
				return i.Tag, nil
			}
		}
		have = append(have, i.KubernetesVersion)
	}
	return "", fault.New(fault.Invalid, "spec.kubernetes.version: %q has no node image on this host, which has %s; %s", wanted, orNone(have), images.Advice(wanted))
}

func orNone(versions []string) string {
	if len(versions) == 0 {
		return "none"
	}
	slices.Sort(versions)
	return strings.Join(slices.Compact(versions), ", ")
}

// Memory that a machine takes soon after its start, in bytes: what was measured
// with Kubernetes 1.36 and flannel, rounded up.
const (
	controlPlaneMemory = 800 << 20
	workerMemory       = 250 << 20
)

// room compares the memory that this host has left with what the machines of a
// new cluster will take. One that has machines is taken to fit.
func (a *agent) room(ctx context.Context, c shoots.Cluster) error {
	if err := a.fits(ctx, c); err != nil {
		return err
	}
	existing, err := a.driver.List(ctx, c.ID)
	if err != nil || len(existing) > 0 {
		return err
	}
	var need uint64
	machines := 0
	for _, p := range c.Pools {
		each := uint64(workerMemory)
		if p.Role == v1alpha1.RoleControlPlane {
			each = controlPlaneMemory
		}
		if p.MemoryBytes > 0 {
			each = min(each, uint64(p.MemoryBytes))
		}
		need += each * uint64(p.Count)
		machines += p.Count
	}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return fmt.Errorf("reading this host's memory: %w", err)
	}
	memory, err := fs.Meminfo()
	if err != nil {
		return fmt.Errorf("reading this host's memory: %w", err)
	}
	if free := memory.MemAvailableBytes; free != nil && *free < need {
		return fault.New(fault.Exhausted, "the cluster's %d machines need about %d MiB of memory, this host has %d MiB left: ask for fewer workers, or hibernate or delete another cluster",
			machines, need>>20, *free>>20)
	}
	return nil
}

// fits refuses machines that are to have more than the host has.
func (a *agent) fits(ctx context.Context, c shoots.Cluster) error {
	if !slices.ContainsFunc(c.Pools, func(p shoots.Pool) bool { return p.CPUs > 0 || p.MemoryBytes > 0 }) {
		return nil
	}
	host, err := a.driver.Host(ctx)
	if err != nil {
		return err
	}
	var problems field.ErrorList
	for _, p := range c.Pools {
		if p.CPUs > float64(host.CPUs) || p.MemoryBytes > host.MemoryBytes {
			problems = append(problems, field.Invalid(field.NewPath(p.MachineTypePath), p.MachineType, fmt.Sprintf(
				"has %g CPUs and %d MiB of memory, and this host has %d and %d: choose a smaller one, or %q, which has no bound",
				p.CPUs, p.MemoryBytes>>20, host.CPUs, host.MemoryBytes>>20, defaulting.MachineTypeUnbounded)))
		}
	}
	return fault.Wrap(fault.Invalid, problems.ToAggregate())
}
