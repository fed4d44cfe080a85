package fake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// firstPort is the first of the host ports that are given out.
const firstPort = 20000

func missing() error            { return fault.New(fault.Missing, "there is no such machine") }
func transient(err error) error { return fault.Wrap(fault.Transient, err) }

// Create implements machines.Inventory.
func (d *Driver) Create(ctx context.Context, spec machines.Spec) (machines.Machine, error) {
	if err := d.begin(ctx, Create, spec.Cluster, spec.Name); err != nil {
		return machines.Machine{}, err
	}
	made, err := d.create(spec)
	if err != nil {
		return machines.Machine{}, wrap(Call{Method: Create, Cluster: spec.Cluster, Name: spec.Name}, err)
	}
	return made, nil
}

func (d *Driver) create(spec machines.Spec) (machines.Machine, error) {
	if err := spec.Validate(); err != nil {
		return machines.Machine{}, err
	}
	h := d.host
	h.mutex.Lock()
	defer h.mutex.Unlock()
	k := key{d.instance, spec.Cluster, spec.Name}
	if existing := h.machines[k]; existing != nil {
		return existing.snapshot(), nil
	}
	if h.Images != nil && !slices.Contains(h.Images, spec.Image) {
		return machines.Machine{}, fault.New(fault.Invalid, "image %q is not on this host", spec.Image)
	}
	if h.foreign[objectName(k)] {
		return machines.Machine{}, fault.New(fault.Invalid, "%q is there and not Loam's", objectName(k))
	}
	before := h.left[k]
	if spec.Recover && before == nil {
		return machines.Machine{}, fault.New(fault.Missing, "it has left no disk")
	}
	wanted := spec.Ports
	if spec.Recover {
		wanted = before.Ports
	}
	ports, err := h.ports(wanted)
	if err != nil {
		return machines.Machine{}, err
	}
	delete(h.left, k)
	addresses, networks, err := h.addresses(d.instance)
	if err != nil {
		return machines.Machine{}, err
	}
	files := map[string]machines.File{}
	if spec.Recover {
		addresses, networks, files = before.Addresses, before.Networks, before.files
	}
	if spec.IPv6 && len(addresses) < 2 {
		return machines.Machine{}, fault.New(fault.Invalid, "the network of the machines has no IPv6")
	}
	h.made++
	m := &machine{files: files, Machine: machines.Machine{
		ID: fmt.Sprintf("fake-%d", h.made), Cluster: spec.Cluster, Name: spec.Name, Hostname: spec.Hostname,
		Image: spec.Image, State: machines.StateCreated, Addresses: addresses, Networks: networks, Ports: ports,
		Labels: spec.Labels, Created: time.Now().Truncate(time.Second).UTC(),
	}}
	// The caller's map is his own to change.
	m.Labels = m.snapshot().Labels
	if h.machines == nil {
		h.machines = map[key]*machine{}
	}
	h.machines[k] = m
	return m.snapshot(), nil
}

// Replace implements machines.Inventory. The only disk is that of /var.
func (d *Driver) Replace(ctx context.Context, spec machines.Spec, r machines.Replacement) (machines.Machine, error) {
	if err := d.begin(ctx, Replace, spec.Cluster, spec.Name, spec.Image); err != nil {
		return machines.Machine{}, err
	}
	replaced, err := d.replace(spec, r)
	if err != nil {
		return machines.Machine{}, wrap(Call{Method: Replace, Cluster: spec.Cluster, Name: spec.Name}, err)
	}
	return replaced, nil
}

func (d *Driver) replace(spec machines.Spec, r machines.Replacement) (machines.Machine, error) {
	if err := errors.Join(spec.Validate(), r.Validate()); err != nil {
		return machines.Machine{}, fault.Wrap(fault.Invalid, err)
	}
	h := d.host
	h.mutex.Lock()
	defer h.mutex.Unlock()
	m, err := d.find(spec.Cluster, spec.Name)
	if err != nil {
		return machines.Machine{}, err
	}
	if m.Image == spec.Image && maps.Equal(m.Labels, spec.Labels) {
		return m.snapshot(), nil
	}
	if h.Images != nil && !slices.Contains(h.Images, spec.Image) {
		return machines.Machine{}, fault.New(fault.Invalid, "image %q is not on this host", spec.Image)
	}
	m.off()
	h.made++
	m.ID, m.Image, m.State, m.Labels = fmt.Sprintf("fake-%d", h.made), spec.Image, machines.StateCreated, maps.Clone(spec.Labels)
	m.keepDisk(r.Keep)
	for _, file := range r.Files {
		m.write(file)
	}
	return m.snapshot(), nil
}

// keepDisk drops the files that are not on the disk, nor among those named.
func (m *machine) keepDisk(keep []string) {
	maps.DeleteFunc(m.files, func(file string, _ machines.File) bool {
		return !slices.ContainsFunc(append(slices.Clone(keep), "/var"), func(kept string) bool { return file == kept || strings.HasPrefix(file, kept+"/") })
	})
}

// addresses are those of a new machine and the ranges that they are in.
func (h *Host) addresses(instance string) ([]netip.Addr, []netip.Prefix, error) {
	address, err := h.address(instance)
	if err != nil || !h.Subnet6.IsValid() {
		return []netip.Addr{address}, []netip.Prefix{h.subnet()}, err
	}
	beside := h.Subnet6.Masked().Addr().As16()
	own := address.As4()
	copy(beside[12:], own[:])
	return []netip.Addr{address, netip.AddrFrom16(beside)}, []netip.Prefix{h.subnet(), h.Subnet6}, nil
}

// address returns the lowest free address. The first is the gateway's, the last
// the broadcast's.
func (h *Host) address(instance string) (netip.Addr, error) {
	subnet := h.subnet()
	taken := map[netip.Addr]bool{}
	for _, all := range []map[key]*machine{h.machines, h.left} {
		for k, m := range all {
			if k.instance == instance {
				taken[m.Addresses[0]] = true
			}
		}
	}
	for address := subnet.Masked().Addr().Next().Next(); subnet.Contains(address.Next()); address = address.Next() {
		if !taken[address] {
			return address, nil
		}
	}
	return netip.Addr{}, fault.New(fault.Exhausted, "network %s has no address left", subnet)
}

func (h *Host) subnet() netip.Prefix {
	if !h.Subnet.IsValid() {
		return netip.MustParsePrefix("198.18.0.0/16")
	}
	return h.Subnet
}

type hostPort struct {
	port     uint16
	protocol machines.Protocol
}

func (h *Host) ports(wanted []machines.Port) ([]machines.Port, error) {
	held := map[hostPort]string{}
	for k, m := range h.machines {
		for _, port := range m.Ports {
			held[hostPort{port.HostPort, port.Protocol}] = fmt.Sprintf("machine %q of cluster %q", k.name, k.cluster)
		}
	}
	var problems []error
	ports := slices.Clone(wanted)
	for i := range ports {
		if !ports[i].HostAddress.IsValid() {
			ports[i].HostAddress = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		if ports[i].Protocol == "" {
			ports[i].Protocol = machines.TCP
		}
		if ports[i].HostPort == 0 {
			continue
		}
		at := hostPort{ports[i].HostPort, ports[i].Protocol}
		if holder := held[at]; holder != "" {
			problems = append(problems, fmt.Errorf("host port %d/%s is held by %s", at.port, at.protocol, holder))
		}
		held[at] = "this machine itself"
	}
	if len(problems) > 0 {
		return nil, fault.Wrap(fault.Invalid, errors.Join(problems...))
	}
	for i := range ports {
		for next := uint16(firstPort); ports[i].HostPort == 0; next++ {
			if at := (hostPort{next, ports[i].Protocol}); held[at] == "" {
				held[at], ports[i].HostPort = "this machine itself", next
			}
		}
	}
	return ports, nil
}

// Get implements machines.Inventory.
func (d *Driver) Get(ctx context.Context, cluster, name string) (machines.Machine, error) {
	if err := d.begin(ctx, Get, cluster, name); err != nil {
		return machines.Machine{}, err
	}
	d.host.mutex.Lock()
	defer d.host.mutex.Unlock()
	m, err := d.find(cluster, name)
	if err != nil {
		return machines.Machine{}, wrap(Call{Method: Get, Cluster: cluster, Name: name}, err)
	}
	return m.snapshot(), nil
}

// List implements machines.Inventory.
func (d *Driver) List(ctx context.Context, cluster string) ([]machines.Machine, error) {
	if err := d.begin(ctx, List, cluster, ""); err != nil {
		return nil, err
	}
	d.host.mutex.Lock()
	defer d.host.mutex.Unlock()
	list := []machines.Machine{}
	for k, m := range d.host.machines {
		if k.instance == d.instance && (cluster == "" || k.cluster == cluster) {
			list = append(list, m.snapshot())
		}
	}
	slices.SortFunc(list, func(a, b machines.Machine) int {
		return strings.Compare(a.Cluster+"/"+a.Name, b.Cluster+"/"+b.Name)
	})
	return list, nil
}

// Delete implements machines.Inventory.
func (d *Driver) Delete(ctx context.Context, cluster, name string) error {
	if err := d.begin(ctx, Delete, cluster, name); err != nil {
		return err
	}
	d.host.mutex.Lock()
	defer d.host.mutex.Unlock()
	k := key{d.instance, cluster, name}
	delete(d.host.left, k)
	m, err := d.find(cluster, name)
	if err != nil {
		return nil
	}
	m.off()
	delete(d.host.machines, k)
	return nil
}
