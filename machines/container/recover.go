package container

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	dockervolume "github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// errNoDisks is the only fault Missing of Create: whoever hears it may begin anew.
var errNoDisks = fault.New(fault.Missing, "it has left no disks")

// leftPlace returns where the machine was whose volumes are there and whose
// container is not. All volumes have to be there: one that is empty beside others
// that are not would be worse than none. Faults: Missing when there is none,
// Invalid when they do not suffice.
func (d *Driver) leftPlace(ctx context.Context, spec machines.Spec, image nodeImage) (*placement, error) {
	left, err := d.leftVolumes(ctx, spec.Cluster, spec.Name)
	if err != nil {
		return nil, err
	}
	if len(left) == 0 {
		return nil, errNoDisks
	}
	byName := map[string]dockervolume.Volume{}
	for _, v := range left {
		byName[v.Name] = v
	}
	var place *placement
	var gone []string
	for _, v := range d.volumes(spec, image) {
		found, is := byName[v.name]
		if !is {
			gone = append(gone, v.name)
			continue
		}
		if place, err = readPlace(found.Labels); err != nil {
			return nil, fault.New(fault.Invalid, "volume %q does not say where its machine was: %w", v.name, err)
		}
	}
	if len(gone) > 0 {
		return nil, fault.New(fault.Invalid, "of its disks %s are gone, and %s are left", strings.Join(gone, ", "), strings.Join(slices.Sorted(maps.Keys(byName)), ", "))
	}
	return place, nil
}

// leftVolumes are the volumes of a machine, or of all that are filtered by an empty
// cluster or name.
func (d *Driver) leftVolumes(ctx context.Context, cluster, name string) ([]dockervolume.Volume, error) {
	result, err := d.client.VolumeList(ctx, client.VolumeListOptions{Filters: d.filters(cluster, name)})
	if err != nil {
		return nil, d.classify(err)
	}
	return result.Items, nil
}

// sameAddresses tells whether nobody has those now that a machine had. Fault: Invalid.
func sameAddresses(net bridge, taken map[netip.Addr]bool, before *placement) error {
	for _, address := range []netip.Addr{before.address, before.address6} {
		switch {
		case !address.IsValid():
		case !net.has(address):
			return fault.New(fault.Invalid, "its disks are of a machine with address %s, and the network has %s now", address, net.ranges())
		case taken[address]:
			return fault.New(fault.Invalid, "its disks are of a machine with address %s, which another container has now", address)
		}
	}
	return nil
}

// anyAddress is one that nobody has, and none whose machine may be recovered.
func (d *Driver) anyAddress(ctx context.Context, net bridge, taken map[netip.Addr]bool) (netip.Addr, error) {
	left, err := d.leftVolumes(ctx, "", "")
	if err != nil {
		return netip.Addr{}, err
	}
	for _, v := range left {
		if place, err := readPlace(v.Labels); err == nil {
			taken[place.address], taken[place.address6] = true, true
		}
	}
	return freeAddress(net, taken)
}

// restartDelay is the pause after the daemon has gone away, and between two
// questions whether it answers again.
const restartDelay = 2 * time.Second

// AwaitRestart returns once the daemon has ended and answers again: it may have
// ended machines that nobody asked to be stopped. The error is the context's.
func (d *Driver) AwaitRestart(ctx context.Context) error {
	stream := d.client.Events(ctx, client.EventsListOptions{Filters: d.filters("", "")})
	for following := true; following; {
		select {
		case <-stream.Messages:
		case <-stream.Err:
			following = false
		}
	}
	for {
		if err := pause(ctx, restartDelay); err != nil {
			return err
		}
		if d.Ping(ctx) == nil {
			return nil
		}
	}
}
