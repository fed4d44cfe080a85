// Package fake is the machine driver whose machines exist in memory only. Tests
// of what drives machines use it: they answer the commands run in a machine,
// make any call fail, and read what was called.
//
// It must not know Docker or any other driver, but behaves as they do.
package fake

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/loam-cloud/loam/machines"
)

// Method is a method of machines.Driver.
type Method string

// The methods that calls are recorded of.
const (
	Create   Method = "Create"
	Get      Method = "Get"
	List     Method = "List"
	Replace  Method = "Replace"
	Delete   Method = "Delete"
	Start    Method = "Start"
	Stop     Method = "Stop"
	PutFiles Method = "PutFiles"
	Run      Method = "Run"
)

// Call is one call of a driver.
type Call struct {
	Method        Method
	Cluster, Name string
	// Details are the paths of PutFiles, the arguments of Run, and the image of
	// Replace.
	Details []string
}

// Host is what the machines of several installations run on. The zero value is
// ready for use; its fields are set before that.
type Host struct {
	// Images are those that machines can be made from; nil means any.
	Images []string
	// Subnet is the range of each installation's network; 198.18.0.0/16 when
	// unset.
	Subnet netip.Prefix
	// Subnet6 is that of IPv6; networks have none when unset.
	Subnet6 netip.Prefix

	mutex    sync.Mutex
	made     int
	machines map[key]*machine
	// left are the disks of lost machines.
	left    map[key]*machine
	foreign map[string]bool
}

type key struct{ instance, cluster, name string }

type machine struct {
	machines.Machine
	files map[string]machines.File
	// power ends when the machine is switched off.
	power    context.Context
	powerOff context.CancelFunc
}

// Driver implements machines.Driver for one installation. Its fields are set
// before it is used.
type Driver struct {
	// Script answers the commands that are run; nil lets each succeed without
	// output. It is called by many goroutines, and its context ends when the
	// machine is switched off.
	Script func(ctx context.Context, guest Guest, command machines.Command) error
	// Fail is asked before each call does anything; what it returns is what the
	// call returns. It may do things of its own, such as killing a flow.
	Fail func(call Call) error
	// Outside is what machines.Sight tells.
	Outside Outside

	host     *Host
	instance string

	calling sync.Mutex
	calls   []Call
}

var _ machines.Driver = (*Driver)(nil)

// New returns a driver with a host of its own.
func New() *Driver { return new(Host).Driver("loam") }

// Lose takes a machine of the driver away behind its back and leaves its disk.
func (d *Driver) Lose(cluster, name string) { d.host.Lose(d.instance, cluster, name) }

// Driver returns a driver of the installation's machines on the host.
func (h *Host) Driver(instance string) *Driver {
	return &Driver{host: h, instance: instance}
}

// Occupy puts somebody else's object where a machine's own would be.
func (h *Host) Occupy(instance, cluster, name string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.foreign == nil {
		h.foreign = map[string]bool{}
	}
	h.foreign[objectName(key{instance, cluster, name})] = true
}

// Lose takes a machine away behind its driver's back and leaves its disk.
func (h *Host) Lose(instance, cluster, name string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	k := key{instance, cluster, name}
	m := h.machines[k]
	if m == nil {
		return
	}
	m.off()
	delete(h.machines, k)
	m.keepDisk(nil)
	if h.left == nil {
		h.left = map[key]*machine{}
	}
	h.left[k] = m
}

// Objects lists what is on the host for an installation, foreign objects with
// its name included.
func (h *Host) Objects(instance string) []string {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	var names []string
	for k := range h.machines {
		if k.instance == instance {
			names = append(names, objectName(k))
		}
	}
	if len(names) > 0 {
		names = append(names, instance)
	}
	for k := range h.left {
		if k.instance == instance {
			names = append(names, "the disk of "+objectName(k))
		}
	}
	for name := range h.foreign {
		if strings.HasPrefix(name, instance+"-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func objectName(k key) string { return k.instance + "-" + k.cluster + "-" + k.name }

// Calls returns what was called so far, in order.
func (d *Driver) Calls() []Call {
	d.calling.Lock()
	defer d.calling.Unlock()
	return slices.Clone(d.calls)
}

// begin records a call and returns what makes it fail.
func (d *Driver) begin(ctx context.Context, method Method, cluster, name string, details ...string) error {
	call := Call{Method: method, Cluster: cluster, Name: name, Details: details}
	d.calling.Lock()
	d.calls = append(d.calls, call)
	d.calling.Unlock()
	if d.Fail != nil {
		if err := d.Fail(call); err != nil {
			return wrap(call, err)
		}
	}
	if ctx.Err() != nil {
		return wrap(call, transient(context.Cause(ctx)))
	}
	return nil
}

func wrap(call Call, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of machine %q of cluster %q: %w", call.Method, call.Name, call.Cluster, err)
}

// find returns a machine. The caller holds the host's mutex.
func (d *Driver) find(cluster, name string) (*machine, error) {
	m := d.host.machines[key{d.instance, cluster, name}]
	if m == nil {
		return nil, missing()
	}
	return m, nil
}

// snapshot is a copy that the caller may change.
func (m *machine) snapshot() machines.Machine {
	s := m.Machine
	s.Addresses, s.Networks, s.Ports = slices.Clone(s.Addresses), slices.Clone(s.Networks), slices.Clone(s.Ports)
	s.Labels = map[string]string{}
	maps.Copy(s.Labels, m.Labels)
	return s
}
