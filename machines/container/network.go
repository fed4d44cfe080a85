package container

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
)

const (
	// labelPurpose marks what is no machine's: the network that asks for a free
	// range, the container that asks for capabilities.
	labelPurpose = "loam.dev/purpose"
	// networkAttempts bounds how often another process may be faster, and
	// networkDelay for how long it is let go first.
	networkAttempts = 6
	networkDelay    = 200 * time.Millisecond
)

// bridge is the network of the installation.
type bridge struct {
	id      string
	created int64
	subnet  netip.Prefix
	gateway netip.Addr
	// subnet6 is not valid where the network has no IPv6; without6 is the daemon's
	// reason where it should have.
	subnet6  netip.Prefix
	without6 string
}

// ensureNetwork returns the network of the installation, made when it is not
// there. Machines hold fixed addresses, so one that was lost while they were
// switched off comes back with the range that they remember. The caller holds
// choosing. Faults: Invalid (somebody else's network has the name), Exhausted.
func (d *Driver) ensureNetwork(ctx context.Context) (bridge, error) {
	var last error
	for range networkAttempts {
		found, err := d.network(ctx)
		if err != nil {
			return bridge{}, err
		}
		if found != nil {
			return *found, nil
		}
		if last = d.createNetwork(ctx); last == nil {
			continue
		}
		// Another process may have been faster with the name or with the range:
		// then the next look finds its network.
		if err := pause(ctx, rand.N(networkDelay)); err != nil {
			return bridge{}, d.classify(err)
		}
	}
	if last == nil {
		last = fault.New(fault.Transient, "it goes away as often as it is made")
	}
	return bridge{}, fmt.Errorf("making network %q: %w", d.instance, last)
}

// network returns the installation's network, nil when there is none. Daemons
// before 25 allow two networks of one name; when two processes were equally
// fast, the elder one stays.
func (d *Driver) network(ctx context.Context) (*bridge, error) {
	result, err := d.client.NetworkList(ctx, client.NetworkListOptions{Filters: client.Filters{}.Add("name", d.instance)})
	if err != nil {
		return nil, d.classify(err)
	}
	var ours []bridge
	for _, item := range result.Items {
		if item.Name != d.instance {
			continue
		}
		if item.Labels[LabelInstance] != d.instance {
			return nil, fault.New(fault.Invalid,
				"there is a network %q that is not Loam's: remove it with `docker network rm %s`, or use another name of the installation", d.instance, item.ID)
		}
		subnet, gateway := ranges(item.IPAM, netip.Addr.Is4)
		subnet6, _ := ranges(item.IPAM, netip.Addr.Is6)
		ours = append(ours, bridge{
			id: item.ID, created: item.Created.UnixNano(), subnet: subnet, gateway: gateway, subnet6: subnet6, without6: item.Labels[labelWithout6],
		})
	}
	if len(ours) == 0 {
		return nil, nil
	}
	slices.SortFunc(ours, func(a, b bridge) int { return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.id, b.id)) })
	for _, younger := range ours[1:] {
		if _, err := d.client.NetworkRemove(ctx, younger.id, client.NetworkRemoveOptions{}); err != nil && !errdefs.IsNotFound(err) {
			return nil, fmt.Errorf("removing the second network %q: %w", d.instance, d.classify(err))
		}
	}
	if !ours[0].subnet.IsValid() {
		return nil, fault.New(fault.Invalid, "network %q has no IPv4 range: remove it with `docker network rm %s`", d.instance, d.instance)
	}
	return &ours[0], nil
}

// ranges finds the range of one family, and its gateway.
func ranges(ipam network.IPAM, family func(netip.Addr) bool) (netip.Prefix, netip.Addr) {
	for _, config := range ipam.Config {
		if config.Subnet.IsValid() && family(config.Subnet.Addr()) {
			return config.Subnet, config.Gateway
		}
	}
	return netip.Prefix{}, netip.Addr{}
}

func (d *Driver) createNetwork(ctx context.Context) error {
	subnet, subnet6, err := d.chooseSubnets(ctx)
	if err != nil {
		return err
	}
	err = d.createBridge(ctx, subnet, subnet6)
	if errdefs.IsPermissionDenied(err) || errdefs.IsInternal(err) {
		// Daemons answer so when another network has the range.
		return fault.New(fault.Exhausted, "range %s: %w", subnet, err)
	}
	return d.classify(err)
}

// chooseSubnets returns the ranges for a new network, of IPv4 and of IPv6: those that
// machines or the disks of lost ones remember, else the configured one or one that
// the daemon finds free on its host, and one of chance.
func (d *Driver) chooseSubnets(ctx context.Context) (subnet, subnet6 netip.Prefix, err error) {
	records, err := d.records(ctx, "", "")
	if err != nil {
		return subnet, subnet6, err
	}
	left, err := d.leftVolumes(ctx, "", "")
	if err != nil {
		return subnet, subnet6, err
	}
	var places []*placement
	for _, r := range records {
		places = append(places, r.place)
	}
	for _, v := range left {
		if place, err := readPlace(v.Labels); err == nil {
			places = append(places, place)
		}
	}
	if len(places) > 0 {
		subnet = places[0].subnet
	}
	for _, place := range places {
		if place.subnet6.IsValid() {
			subnet6 = place.subnet6
			break
		}
	}
	if !subnet6.IsValid() {
		subnet6 = d.localRange()
	}
	switch {
	case subnet.IsValid():
		return subnet, subnet6, nil
	case d.subnet.IsValid():
		return d.subnet, subnet6, nil
	}
	subnet, err = d.freeSubnet(ctx)
	return subnet, subnet6, err
}

// freeSubnet has the daemon choose a range, by a network that is removed at
// once. Only a network whose range was named takes fixed addresses, and only
// the daemon knows the routes of its host and the pools it is set to use.
func (d *Driver) freeSubnet(ctx context.Context) (netip.Prefix, error) {
	name := d.instance + "-range"
	labels := map[string]string{LabelInstance: d.instance, labelPurpose: "range"}
	_, err := d.client.NetworkCreate(ctx, name, client.NetworkCreateOptions{Driver: "bridge", Labels: labels})
	// A conflict is with what a process left that was killed here.
	if err != nil && !errdefs.IsConflict(err) {
		return netip.Prefix{}, fault.New(fault.Exhausted, "finding a free range: %w", err)
	}
	result, err := d.client.NetworkList(ctx, client.NetworkListOptions{Filters: client.Filters{}.Add("label", LabelInstance+"="+d.instance)})
	if err != nil {
		return netip.Prefix{}, d.classify(err)
	}
	var subnet netip.Prefix
	for _, item := range result.Items {
		if item.Labels[LabelInstance] != d.instance || item.Labels[labelPurpose] != "range" {
			continue
		}
		subnet, _ = ranges(item.IPAM, netip.Addr.Is4)
		if _, err := d.client.NetworkRemove(ctx, item.ID, client.NetworkRemoveOptions{}); err != nil && !errdefs.IsNotFound(err) {
			return netip.Prefix{}, d.classify(err)
		}
	}
	if !subnet.IsValid() {
		return netip.Prefix{}, fault.New(fault.Transient, "the daemon gave network %q no IPv4 range", name)
	}
	return subnet, nil
}

// removeUnusedNetwork removes what only served machines, once none is left.
func (d *Driver) removeUnusedNetwork(ctx context.Context) error {
	d.making.Lock()
	defer d.making.Unlock()
	containers, err := d.client.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return d.classify(err)
	}
	for _, item := range containers.Items {
		ours := item.Labels[LabelInstance] == d.instance
		if ours && item.Labels[labelPurpose] != "" {
			d.removeOldProbe(ctx, item)
			continue
		}
		if ours || d.attached(item) {
			return nil
		}
	}
	networks, err := d.client.NetworkList(ctx, client.NetworkListOptions{Filters: client.Filters{}.Add("label", LabelInstance+"="+d.instance)})
	if err != nil {
		return d.classify(err)
	}
	for _, item := range networks.Items {
		if item.Labels[LabelInstance] != d.instance {
			continue
		}
		_, err := d.client.NetworkRemove(ctx, item.ID, client.NetworkRemoveOptions{})
		// Refused means that a machine of another process got onto it.
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsPermissionDenied(err) && !errdefs.IsConflict(err) {
			return fmt.Errorf("removing network %q: %w", item.Name, d.classify(err))
		}
	}
	return nil
}

// attached tells whether a container, ours or not, is on our network.
func (d *Driver) attached(item container.Summary) bool {
	if item.NetworkSettings == nil {
		return false
	}
	_, on := item.NetworkSettings.Networks[d.instance]
	return on
}

// reattach puts a switched-off machine back on the network after that was
// removed and made again, with the addresses that the machine had.
func (d *Driver) reattach(ctx context.Context, r *record) error {
	d.making.RLock()
	defer d.making.RUnlock()
	d.choosing.Lock()
	net, err := d.ensureNetwork(ctx)
	d.choosing.Unlock()
	if err != nil {
		return err
	}
	for _, address := range r.machine.Addresses {
		if !net.has(address) {
			return fault.New(fault.Exhausted, "network %q has %s now, without the machine's address %s", d.instance, net.ranges(), address)
		}
	}
	_, err = d.client.NetworkDisconnect(ctx, d.instance, client.NetworkDisconnectOptions{Container: r.machine.ID, Force: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("leaving the old network: %w", d.classify(err))
	}
	_, err = d.client.NetworkConnect(ctx, net.id, client.NetworkConnectOptions{
		Container:      r.machine.ID,
		EndpointConfig: &network.EndpointSettings{IPAMConfig: r.place.endpoint()},
	})
	if err != nil {
		return fmt.Errorf("joining network %q: %w", d.instance, d.classify(err))
	}
	return nil
}

// freeAddress returns the lowest address that nobody on the network has, nor the one
// of IPv6 beside it. Fault: Exhausted.
func freeAddress(net bridge, taken map[netip.Addr]bool) (netip.Addr, error) {
	first := net.subnet.Masked().Addr()
	for address := first.Next(); net.subnet.Contains(address); address = address.Next() {
		broadcast := !net.subnet.Contains(address.Next())
		// The first address is the gateway's wherever the daemon names none.
		if address == net.gateway || address == first.Next() || broadcast || taken[address] || net.subnet6.IsValid() && taken[net.beside(address)] {
			continue
		}
		return address, nil
	}
	return netip.Addr{}, fault.New(fault.Exhausted, "network %s has no address left", net.subnet)
}
