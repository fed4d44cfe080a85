package container

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/container/internal/hostport"
)

const (
	// createAttempts bounds how often another process may take the address or
	// port that was just chosen.
	createAttempts = 6
	// adoptAttempts and adoptDelay bound the wait for a container whose name is
	// taken and that is not listed yet.
	adoptAttempts = 50
	adoptDelay    = 100 * time.Millisecond
	// cleanupTime is what cleaning up may take after the caller has given up.
	cleanupTime = 30 * time.Second
)

// Create implements machines.Inventory. The machine's container is its record:
// as long as there is none, whatever else exists under its name is what a
// killed process left, and is removed or used.
func (d *Driver) Create(ctx context.Context, spec machines.Spec) (machines.Machine, error) {
	machine, err := d.create(ctx, spec)
	if err == nil {
		return machine, nil
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	// The first error is the one to tell; leftovers are found again by the next
	// Create or Delete.
	_ = d.removeUnusedNetwork(cleanup)
	if fault.KindOf(err) == fault.Missing && !errors.Is(err, errNoDisks) {
		err = fault.Wrap(fault.Transient, err)
	}
	return machines.Machine{}, fmt.Errorf("creating machine %q of cluster %q: %w", spec.Name, spec.Cluster, err)
}

func (d *Driver) create(ctx context.Context, spec machines.Spec) (machines.Machine, error) {
	if err := spec.Validate(); err != nil {
		return machines.Machine{}, err
	}
	d.making.RLock()
	defer d.making.RUnlock()
	existing, err := d.records(ctx, spec.Cluster, spec.Name)
	if err != nil {
		return machines.Machine{}, err
	}
	if len(existing) > 0 && !existing[0].leaving() {
		if spec.IPv6 && !existing[0].place.address6.IsValid() {
			return machines.Machine{}, fault.New(fault.Invalid, "it was made without an IPv6 address, and gets none any more: delete its cluster and create it again")
		}
		return existing[0].machine, nil
	}
	if len(existing) > 0 {
		if err := d.removeContainer(ctx, existing[0].machine.ID); err != nil {
			return machines.Machine{}, err
		}
	}
	image, err := d.image(ctx, spec.Image)
	if err != nil {
		return machines.Machine{}, err
	}
	missing, err := d.missingCapabilities(ctx, spec.Image)
	if err != nil {
		return machines.Machine{}, err
	}
	for range createAttempts {
		if !spec.Recover {
			if err := d.removeLeftVolumes(ctx, spec); err != nil {
				return machines.Machine{}, err
			}
		}
		machine, settled, err := d.attempt(ctx, spec, image, missing)
		if err != nil || settled {
			return machine, err
		}
		// Two processes that withdrew together must not meet again.
		if err := pause(ctx, rand.N(200*time.Millisecond)); err != nil {
			return machines.Machine{}, d.classify(err)
		}
	}
	return machines.Machine{}, fault.New(fault.Transient, "another process of the same installation takes the same addresses or ports")
}

// attempt makes the container, unless somebody else turns out to have taken the
// same address or port meanwhile: then it is not settled, and to be removed.
func (d *Driver) attempt(ctx context.Context, spec machines.Spec, image nodeImage, missing []string) (machines.Machine, bool, error) {
	var before *placement
	if spec.Recover {
		var err error
		if before, err = d.leftPlace(ctx, spec, image); err != nil {
			return machines.Machine{}, false, err
		}
	}
	place, err := d.reserve(ctx, spec, before)
	if err != nil {
		return machines.Machine{}, false, err
	}
	defer d.release(place)
	labels, err := d.labels(spec, place)
	if err != nil {
		return machines.Machine{}, false, err
	}
	for _, volume := range d.volumes(spec, image) {
		if err := d.createVolume(ctx, spec, place, volume.name); err != nil {
			return machines.Machine{}, false, d.undo(ctx, spec, err)
		}
	}
	options := d.shape(spec, image, place, missing)
	options.Config.Labels = labels
	created, err := d.client.ContainerCreate(ctx, options)
	switch {
	case errdefs.IsConflict(err):
		return d.adopt(ctx, spec)
	case errdefs.IsNotFound(err) && strings.Contains(err.Error(), "network"):
		// Another process deleted what it saw as the last machine.
		return machines.Machine{}, false, nil
	case errdefs.IsNotFound(err):
		// The image went between the look at it and now, or a path of a mount.
		return machines.Machine{}, false, d.undo(ctx, spec, fault.Wrap(fault.Invalid, err))
	case err != nil:
		return machines.Machine{}, false, d.undo(ctx, spec, d.classify(err))
	}
	return d.settle(ctx, created.ID, place)
}

// removeLeftVolumes removes the disks of a machine that has no container, so
// that none begins with the data of another. One in use tells that somebody
// makes this very machine at the same time, and is left.
func (d *Driver) removeLeftVolumes(ctx context.Context, spec machines.Spec) error {
	left, err := d.leftVolumes(ctx, spec.Cluster, spec.Name)
	if err != nil {
		return err
	}
	for _, volume := range left {
		_, err := d.client.VolumeRemove(ctx, volume.Name, client.VolumeRemoveOptions{})
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			return fmt.Errorf("removing left volume %q: %w", volume.Name, d.classify(err))
		}
	}
	return nil
}

// undo removes a machine's volumes after its container could not be made, unless
// they were there before.
func (d *Driver) undo(ctx context.Context, spec machines.Spec, cause error) error {
	if spec.Recover {
		return cause
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	// A failure here leaves labelled volumes, which the next attempt removes.
	_ = d.removeLeftVolumes(cleanup, spec)
	return cause
}

// adopt returns the machine that another caller makes at the same time. The
// daemon gives a name away before it lists the container.
func (d *Driver) adopt(ctx context.Context, spec machines.Spec) (machines.Machine, bool, error) {
	for range adoptAttempts {
		r, err := d.one(ctx, spec.Cluster, spec.Name)
		if err == nil {
			return r.machine, true, nil
		}
		if !errors.Is(err, fault.Missing) {
			return machines.Machine{}, false, err
		}
		if err := pause(ctx, adoptDelay); err != nil {
			return machines.Machine{}, false, d.classify(err)
		}
	}
	// Its maker failed, or it is somebody else's, which the next attempt tells.
	return machines.Machine{}, false, nil
}

// settle looks whether the container is alone with its address and ports. Who
// sees another withdraws, whoever came first: the other may have looked before.
func (d *Driver) settle(ctx context.Context, id string, place *placement) (machines.Machine, bool, error) {
	result, err := d.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: d.filters("", "")})
	if err != nil {
		return machines.Machine{}, false, d.classify(err)
	}
	records, err := d.readAll(result.Items)
	if err != nil {
		return machines.Machine{}, false, err
	}
	var own *record
	for _, r := range records {
		if r.machine.ID == id {
			own = r
			continue
		}
		if r.machine.Addresses[0] == place.address || slices.ContainsFunc(r.machine.Ports, func(port machines.Port) bool {
			return slices.ContainsFunc(place.ports, func(mine machines.Port) bool {
				return mine.HostPort == port.HostPort && mine.HostAddress == port.HostAddress && mine.Protocol == port.Protocol
			})
		}) {
			return machines.Machine{}, false, d.removeContainer(ctx, id)
		}
	}
	if own == nil {
		return machines.Machine{}, false, fault.New(fault.Transient, "the container went away as soon as it was made")
	}
	return own.machine, true, nil
}

// reserve chooses the machine's place, the one that it had before if there is one,
// and keeps it from other goroutines until it is released: by then the container's
// labels keep it.
func (d *Driver) reserve(ctx context.Context, spec machines.Spec, before *placement) (*placement, error) {
	d.choosing.Lock()
	defer d.choosing.Unlock()
	result, err := d.client.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, d.classify(err)
	}
	name := d.containerName(spec.Cluster, spec.Name)
	for _, item := range result.Items {
		own := item.Labels[LabelInstance] == d.instance && item.Labels[LabelCluster] == spec.Cluster && item.Labels[LabelMachine] == spec.Name
		if containerName(item) == name && !own {
			return nil, fault.New(fault.Invalid, "its container would be %q, which is %s", name, d.holder(item))
		}
	}
	wanted := spec.Ports
	if before != nil {
		wanted = before.ports
	}
	ports, err := hostport.Choose(wanted, d.heldPorts(result.Items), d.localSocket() != "")
	if err != nil {
		return nil, err
	}
	net, err := d.ensureNetwork(ctx)
	if err != nil {
		return nil, err
	}
	if spec.IPv6 && !net.subnet6.IsValid() {
		return nil, d.withoutIPv6(net)
	}
	taken := d.takenAddresses(result.Items)
	place := &placement{subnet: net.subnet, subnet6: net.subnet6, ports: ports}
	if before != nil {
		err = sameAddresses(net, taken, before)
		place.address, place.address6 = before.address, before.address6
	} else if place.address, err = d.anyAddress(ctx, net, taken); err == nil {
		place.address6 = net.beside(place.address)
	}
	if err != nil {
		return nil, err
	}
	d.reserved = append(d.reserved, place)
	return place, nil
}

func (d *Driver) release(place *placement) {
	d.choosing.Lock()
	defer d.choosing.Unlock()
	d.reserved = slices.DeleteFunc(d.reserved, func(p *placement) bool { return p == place })
}

func (d *Driver) takenAddresses(items []container.Summary) map[netip.Addr]bool {
	taken := map[netip.Addr]bool{}
	for _, place := range d.reserved {
		taken[place.address], taken[place.address6] = true, true
	}
	for _, item := range items {
		if item.Labels[LabelInstance] == d.instance {
			if place, err := readPlace(item.Labels); err == nil {
				taken[place.address], taken[place.address6] = true, true
			}
		}
		// A user may have put a container of his own on the network.
		if !d.attached(item) {
			continue
		}
		endpoint := item.NetworkSettings.Networks[d.instance]
		taken[endpoint.IPAddress], taken[endpoint.GlobalIPv6Address] = true, true
		if config := endpoint.IPAMConfig; config != nil {
			taken[config.IPv4Address], taken[config.IPv6Address] = true, true
		}
	}
	return taken
}

// heldPorts returns the ports of the host that containers hold, those of
// machines that are switched off included.
func (d *Driver) heldPorts(items []container.Summary) []hostport.Binding {
	var held []hostport.Binding
	for _, place := range d.reserved {
		for _, port := range place.ports {
			held = append(held, hostport.Binding{Address: port.HostAddress, Port: port.HostPort, Protocol: port.Protocol, Holder: "a machine that is being created"})
		}
	}
	for _, item := range items {
		for _, port := range item.Ports {
			if port.PublicPort != 0 {
				address := port.IP
				if !address.IsValid() {
					address = netip.IPv4Unspecified()
				}
				held = append(held, hostport.Binding{Address: address, Port: port.PublicPort, Protocol: protocol(port.Type), Holder: d.holder(item)})
			}
		}
		// Machines of other installations record theirs in the same way.
		recorded, err := readPorts(item.Labels[labelPorts])
		if err != nil {
			continue
		}
		for _, port := range recorded {
			held = append(held, hostport.Binding{Address: port.HostAddress, Port: port.HostPort, Protocol: port.Protocol, Holder: d.holder(item)})
		}
	}
	return held
}

// holder names a container as what it is to the user.
func (d *Driver) holder(item container.Summary) string {
	switch item.Labels[LabelInstance] {
	case d.instance:
		return fmt.Sprintf("machine %q of cluster %q", item.Labels[LabelMachine], item.Labels[LabelCluster])
	case "":
		return fmt.Sprintf("container %q, which is not Loam's", containerName(item))
	default:
		return fmt.Sprintf("machine %q of cluster %q of the Loam installation %q",
			item.Labels[LabelMachine], item.Labels[LabelCluster], item.Labels[LabelInstance])
	}
}

func protocol(name string) machines.Protocol {
	switch name {
	case "udp":
		return machines.UDP
	case "sctp":
		return machines.SCTP
	}
	return machines.TCP
}
