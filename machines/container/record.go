package container

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// Labels that tell what belongs to which installation, cluster and machine.
// Networks carry the first, volumes and containers all of them.
const (
	LabelInstance = "loam.dev/instance"
	LabelCluster  = "loam.dev/cluster"
	LabelMachine  = "loam.dev/machine"
)

// Labels of a container that hold what the driver remembers of its machine. What
// says where that is stays for its whole life, and volumes hold it, too.
const (
	labelHostname = "loam.dev/hostname"
	labelImage    = "loam.dev/image"
	labelAddress  = "loam.dev/address"
	labelSubnet   = "loam.dev/subnet"
	// The same of IPv6, which machines have not got that are on a network without.
	labelAddress6 = "loam.dev/address-ipv6"
	labelSubnet6  = "loam.dev/subnet-ipv6"
	labelPorts    = "loam.dev/ports"
	// labelGeneration counts how often the machine was replaced.
	labelGeneration = "loam.dev/generation"
	// labelUser precedes the keys of the labels that the caller gave.
	labelUser = "loam.dev/label/"
)

// placement is where on the network and on the host a machine is.
type placement struct {
	address netip.Addr
	subnet  netip.Prefix
	// address6 and subnet6 are not valid where the network had no IPv6.
	address6 netip.Addr
	subnet6  netip.Prefix
	ports    []machines.Port
}

// record is a machine's container.
type record struct {
	machine machines.Machine
	place   *placement
	state   container.ContainerState
	// name is the container's.
	name string
	// generation is the number of containers that the machine was before.
	generation int
}

// leaving tells that the container is being removed, or was and resisted.
func (r *record) leaving() bool {
	return r.state == container.StateRemoving || r.state == container.StateDead
}

// compare orders the containers of one machine: the one that counts comes first.
// One that is going has been replaced.
func (r *record) compare(other *record) int {
	if r.leaving() != other.leaving() {
		if r.leaving() {
			return 1
		}
		return -1
	}
	return cmp.Compare(r.generation, other.generation)
}

// portLabel is the form of a port in the label.
type portLabel struct {
	HostAddress netip.Addr        `json:"hostAddress"`
	HostPort    uint16            `json:"hostPort"`
	MachinePort uint16            `json:"machinePort"`
	Protocol    machines.Protocol `json:"protocol"`
}

// labels are those of a machine's container.
func (d *Driver) labels(spec machines.Spec, place *placement) (map[string]string, error) {
	labels, err := d.diskLabels(spec, place)
	if err != nil {
		return nil, err
	}
	for key, value := range spec.Labels {
		labels[labelUser+key] = value
	}
	labels[labelHostname], labels[labelImage] = spec.Hostname, spec.Image
	return labels, nil
}

// diskLabels are those of a machine's volumes.
func (d *Driver) diskLabels(spec machines.Spec, place *placement) (map[string]string, error) {
	ports := make([]portLabel, len(place.ports))
	for i, port := range place.ports {
		ports[i] = portLabel(port)
	}
	encoded, err := json.Marshal(ports)
	if err != nil {
		return nil, fmt.Errorf("recording ports: %w", err)
	}
	labels := d.ownLabels(spec.Cluster, spec.Name)
	maps.Copy(labels, map[string]string{
		labelAddress: place.address.String(),
		labelSubnet:  place.subnet.String(),
		labelPorts:   string(encoded),
	})
	if place.address6.IsValid() {
		labels[labelAddress6], labels[labelSubnet6] = place.address6.String(), place.subnet6.String()
	}
	return labels, nil
}

// readPlace reads where a machine is from its labels. The error names the label.
func readPlace(labels map[string]string) (*placement, error) {
	var place placement
	var err error
	if place.address, err = netip.ParseAddr(labels[labelAddress]); err != nil {
		return nil, fmt.Errorf("label %s: %w", labelAddress, err)
	}
	if place.subnet, err = netip.ParsePrefix(labels[labelSubnet]); err != nil {
		return nil, fmt.Errorf("label %s: %w", labelSubnet, err)
	}
	if text := labels[labelAddress6]; text != "" {
		if place.address6, err = netip.ParseAddr(text); err != nil {
			return nil, fmt.Errorf("label %s: %w", labelAddress6, err)
		}
		if place.subnet6, err = netip.ParsePrefix(labels[labelSubnet6]); err != nil {
			return nil, fmt.Errorf("label %s: %w", labelSubnet6, err)
		}
	}
	if place.ports, err = readPorts(labels[labelPorts]); err != nil {
		return nil, fmt.Errorf("label %s: %w", labelPorts, err)
	}
	return &place, nil
}

func (d *Driver) ownLabels(cluster, name string) map[string]string {
	return map[string]string{LabelInstance: d.instance, LabelCluster: cluster, LabelMachine: name}
}

// filters selects by labels of this installation; an empty cluster or name
// selects all.
func (d *Driver) filters(cluster, name string) client.Filters {
	filters := client.Filters{}.Add("label", LabelInstance+"="+d.instance)
	if cluster != "" {
		filters.Add("label", LabelCluster+"="+cluster)
	}
	if name != "" {
		filters.Add("label", LabelMachine+"="+name)
	}
	return filters
}

// records returns the machines of a cluster, or of all clusters, by cluster and
// name.
func (d *Driver) records(ctx context.Context, cluster, name string) ([]*record, error) {
	result, err := d.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: d.filters(cluster, name)})
	if err != nil {
		return nil, d.classify(err)
	}
	return d.readAll(result.Items)
}

// readAll reads the machines of this installation out of a list of containers. A
// machine that is being replaced is the older of its containers for as long as
// that is there.
func (d *Driver) readAll(items []container.Summary) ([]*record, error) {
	var records []*record
	for _, item := range items {
		if item.Labels[LabelInstance] != d.instance || item.Labels[LabelMachine] == "" {
			continue
		}
		r, err := read(item)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b *record) int {
		return cmp.Or(cmp.Compare(a.machine.Cluster, b.machine.Cluster), cmp.Compare(a.machine.Name, b.machine.Name), a.compare(b))
	})
	return slices.CompactFunc(records, sameMachine), nil
}

func sameMachine(a, b *record) bool {
	return a.machine.Cluster == b.machine.Cluster && a.machine.Name == b.machine.Name
}

// one returns the record of one machine. Faults: Missing, and those of
// classify.
func (d *Driver) one(ctx context.Context, cluster, name string) (*record, error) {
	records, err := d.records(ctx, cluster, name)
	if err != nil {
		return nil, err
	}
	// Without both names the filter would select somebody else.
	if len(records) == 0 || cluster == "" || name == "" || records[0].leaving() {
		return nil, fault.New(fault.Missing, "there is no such machine")
	}
	return records[0], nil
}

func read(item container.Summary) (*record, error) {
	r := &record{state: item.State, name: containerName(item), machine: machines.Machine{
		ID:       item.ID,
		Cluster:  item.Labels[LabelCluster],
		Name:     item.Labels[LabelMachine],
		Hostname: item.Labels[labelHostname],
		Image:    item.Labels[labelImage],
		State:    state(item.State),
		Labels:   map[string]string{},
		Created:  time.Unix(item.Created, 0).UTC(),
	}}
	place, err := readPlace(item.Labels)
	if err != nil {
		return nil, fault.New(fault.Internal, "reading container %q: %w", containerName(item), err)
	}
	r.place = place
	r.machine.Addresses, r.machine.Networks, r.machine.Ports = []netip.Addr{place.address}, []netip.Prefix{place.subnet}, place.ports
	if place.address6.IsValid() {
		r.machine.Addresses, r.machine.Networks = append(r.machine.Addresses, place.address6), append(r.machine.Networks, place.subnet6)
	}
	if text := item.Labels[labelGeneration]; text != "" {
		if r.generation, err = strconv.Atoi(text); err != nil {
			return nil, fault.New(fault.Internal, "reading container %q: label %s: %w", containerName(item), labelGeneration, err)
		}
	}
	for key, value := range item.Labels {
		if key, ours := strings.CutPrefix(key, labelUser); ours {
			r.machine.Labels[key] = value
		}
	}
	return r, nil
}

func readPorts(label string) ([]machines.Port, error) {
	var decoded []portLabel
	if err := json.Unmarshal([]byte(label), &decoded); err != nil {
		return nil, err
	}
	var ports []machines.Port
	for _, port := range decoded {
		ports = append(ports, machines.Port(port))
	}
	return ports, nil
}

// state maps the daemon's states:
//
//	created                     -> Created
//	running, paused, restarting -> Running
//	exited, dead, removing      -> Stopped
func state(s container.ContainerState) machines.State {
	switch s {
	case container.StateCreated:
		return machines.StateCreated
	case container.StateRunning, container.StatePaused, container.StateRestarting:
		return machines.StateRunning
	}
	return machines.StateStopped
}

// containerName is the name of a container as users know it.
func containerName(item container.Summary) string {
	if len(item.Names) == 0 {
		return item.ID
	}
	return strings.TrimPrefix(item.Names[0], "/")
}
