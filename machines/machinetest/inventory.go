package machinetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

func testCreateIsIdempotent(t *testing.T, f *fixture) {
	spec := f.spec("one", "first")
	spec.Hostname = "host-of-first"
	spec.Labels = map[string]string{"loam.dev/role": "ControlPlane", "empty": ""}
	spec.Ports = []machines.Port{{MachinePort: 6443}}
	before := time.Now().Add(-time.Minute)

	machine := f.create(t, spec)
	if machine.State != machines.StateCreated || machine.ID == "" || machine.Hostname != "host-of-first" ||
		machine.Cluster != "one" || machine.Name != "first" || machine.Image != f.Image {
		t.Errorf("created %+v", machine)
	}
	if !reflect.DeepEqual(machine.Labels, spec.Labels) {
		t.Errorf("labels %v, want exactly %v", machine.Labels, spec.Labels)
	}
	if len(machine.Addresses) == 0 || !machine.Addresses[0].IsValid() {
		t.Errorf("addresses %v, want one at creation", machine.Addresses)
	}
	if machine.Created.Before(before) || machine.Created.After(time.Now().Add(time.Minute)) {
		t.Errorf("created at %v, want about now", machine.Created)
	}

	spec.Image = "another-image:that-is-not-there"
	if again := f.create(t, spec); !reflect.DeepEqual(again, machine) {
		t.Errorf("the second Create gave %+v, want %+v", again, machine)
	}
	if got := f.get(t, machine); !reflect.DeepEqual(got, machine) {
		t.Errorf("Get gave %+v, want %+v", got, machine)
	}
	f.start(t, machine)
	if again := f.create(t, spec); again.State != machines.StateRunning || again.ID != machine.ID {
		t.Errorf("Create of a running machine gave %+v", again)
	}
}

func testCreateRefusesBadInput(t *testing.T, f *fixture) {
	tests := map[string]func(*machines.Spec){
		"spec":  func(s *machines.Spec) { s.Hostname = "Not A Label" },
		"image": func(s *machines.Spec) { s.Image = "loam/no-such-image:v0" },
	}
	for name, change := range tests {
		spec := f.spec("one", "first")
		change(&spec)
		_, err := f.driver.Create(f.ctx, spec)
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want Invalid", name, err)
		}
		if name == "image" && (err == nil || !strings.Contains(err.Error(), spec.Image)) {
			t.Errorf("message %q does not name the image", err)
		}
	}
	if left := f.Objects(t, f.instance); len(left) > 0 {
		t.Errorf("refused machines left %v", left)
	}
}

func testCreateSeveralAtOnce(t *testing.T, f *fixture) {
	const count = 5
	created := make([]machines.Machine, count)
	var wait sync.WaitGroup
	for i := range count {
		wait.Go(func() {
			spec := f.spec("one", fmt.Sprintf("machine-%d", i))
			spec.Ports = []machines.Port{{MachinePort: 6443}, {MachinePort: 53, Protocol: machines.UDP}}
			var err error
			if created[i], err = f.driver.Create(f.ctx, spec); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	distinct(t, created)
	list, err := f.driver.List(f.ctx, "one")
	if err != nil || !reflect.DeepEqual(list, created) {
		t.Errorf("List gave %+v, %v, want %+v by name", list, err, created)
	}
	for _, machine := range created {
		wait.Go(func() {
			if err := f.driver.Delete(f.ctx, machine.Cluster, machine.Name); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if left := f.Objects(t, f.instance); len(left) > 0 {
		t.Errorf("deleting all at once left %v", left)
	}
}

func distinct(t *testing.T, list []machines.Machine) {
	t.Helper()
	addresses, ports := map[netip.Addr]string{}, map[string]string{}
	for _, machine := range list {
		for _, address := range machine.Addresses {
			if other, taken := addresses[address]; taken {
				t.Errorf("%s has address %s of %s", machine.Name, address, other)
			}
			addresses[address] = machine.Name
		}
		for _, port := range machine.Ports {
			key := fmt.Sprintf("%s:%d/%s", port.HostAddress, port.HostPort, port.Protocol)
			if other, taken := ports[key]; taken {
				t.Errorf("%s has host port %s of %s", machine.Name, key, other)
			}
			ports[key] = machine.Name
		}
	}
}

func testCreateSameAtOnce(t *testing.T, f *fixture) {
	ids := make([]string, 3)
	var wait sync.WaitGroup
	for i := range ids {
		wait.Go(func() {
			machine, err := f.driver.Create(f.ctx, f.spec("one", "first"))
			if err != nil {
				t.Error(err)
			}
			ids[i] = machine.ID
		})
	}
	wait.Wait()
	if slices.Sort(ids); ids[0] != ids[2] {
		t.Errorf("one machine has the IDs %v", ids)
	}
}

func testAddressesStay(t *testing.T, f *fixture) {
	first := f.running(t, f.spec("one", "first"))
	second := f.running(t, f.spec("one", "second"))
	third := f.create(t, f.spec("one", "third"))
	distinct(t, []machines.Machine{first, second, third})
	f.stop(t, first)
	f.stop(t, second)
	fourth := f.create(t, f.spec("one", "fourth"))
	distinct(t, []machines.Machine{first, second, third, fourth})
	// The other order is what would shuffle addresses given out at start.
	for _, machine := range []machines.Machine{fourth, second, first} {
		f.start(t, machine)
	}
	for _, machine := range []machines.Machine{first, second, third, fourth} {
		if got := f.get(t, machine).Addresses; !reflect.DeepEqual(got, machine.Addresses) {
			t.Errorf("%s has addresses %v, want %v", machine.Name, got, machine.Addresses)
		}
	}
	f.delete(t, third)
	distinct(t, []machines.Machine{first, second, fourth, f.create(t, f.spec("one", "fifth"))})
}

func testPortsStay(t *testing.T, f *fixture) {
	spec := f.spec("one", "first")
	spec.Ports = []machines.Port{{MachinePort: 6443}, {MachinePort: 53, Protocol: machines.UDP}, {MachinePort: 80}}
	machine := f.create(t, spec)
	if len(machine.Ports) != len(spec.Ports) {
		t.Fatalf("ports %+v, want one for each of %+v", machine.Ports, spec.Ports)
	}
	for i, port := range machine.Ports {
		if port.HostPort == 0 || !port.HostAddress.IsLoopback() || port.MachinePort != spec.Ports[i].MachinePort {
			t.Errorf("ports[%d] = %+v, want a port of loopback for %d", i, port, spec.Ports[i].MachinePort)
		}
	}
	if machine.Ports[0].Protocol != machines.TCP || machine.Ports[1].Protocol != machines.UDP {
		t.Errorf("ports %+v, want TCP and UDP", machine.Ports)
	}
	f.start(t, machine)
	f.stop(t, machine)
	f.start(t, machine)
	if got := f.get(t, machine).Ports; !reflect.DeepEqual(got, machine.Ports) {
		t.Errorf("ports %+v after a restart, want %+v", got, machine.Ports)
	}
}

func testPortsTaken(t *testing.T, f *fixture) {
	spec := f.spec("one", "first")
	spec.Ports = []machines.Port{{MachinePort: 80}}
	first := f.create(t, spec)
	// Switched off, it holds its port as well.
	spec = f.spec("two", "second")
	spec.Ports = []machines.Port{{MachinePort: 80, HostPort: first.Ports[0].HostPort}}
	_, err := f.driver.Create(f.ctx, spec)
	if !errors.Is(err, fault.Invalid) {
		t.Fatalf("got %v, want Invalid", err)
	}
	for _, part := range []string{`"first"`, `"one"`, fmt.Sprint(first.Ports[0].HostPort)} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("message %q does not say %s", err, part)
		}
	}
	spec.Ports[0].Protocol = machines.UDP
	f.create(t, spec)
}

func testMissingMachine(t *testing.T, f *fixture) {
	f.create(t, f.spec("one", "other"))
	_, err := f.driver.Get(f.ctx, "one", "first")
	calls := map[string]error{
		"Get":      err,
		"Start":    f.driver.Start(f.ctx, "one", "first"),
		"Stop":     f.driver.Stop(f.ctx, "one", "first", time.Second),
		"PutFiles": f.driver.PutFiles(f.ctx, "one", "first", []machines.File{{Path: "/etc/x"}}),
		"Run":      f.driver.Run(f.ctx, "one", "first", machines.Command{Args: []string{"cat"}}),
	}
	for method, err := range calls {
		if !errors.Is(err, fault.Missing) {
			t.Errorf("%s: got %v, want Missing", method, err)
		}
	}
	list, err := f.driver.List(f.ctx, "two")
	if err != nil || len(list) > 0 {
		t.Errorf("List of an unknown cluster gave %v, %v", list, err)
	}
}

func testDeleteIsIdempotent(t *testing.T, f *fixture) {
	machine := f.running(t, f.spec("one", "first"))
	f.create(t, f.spec("one", "second"))
	f.delete(t, machine)
	f.delete(t, machine)
	list, err := f.driver.List(f.ctx, "one")
	if err != nil || len(list) != 1 || list[0].Name != "second" {
		t.Errorf("List gave %v, %v, want the second machine alone", list, err)
	}
	if err := f.driver.Delete(f.ctx, "never", "was"); err != nil {
		t.Errorf("deleting what never was: %v", err)
	}
	cancelled, cancel := context.WithCancel(f.ctx)
	cancel()
	if err := f.driver.Delete(cancelled, "one", "second"); !errors.Is(err, context.Canceled) || !errors.Is(err, fault.Transient) {
		t.Errorf("with a cancelled context: %v, want it told, as Transient", err)
	}
}

func testLastDeleteLeavesNothing(t *testing.T, f *fixture) {
	first := f.running(t, f.spec("one", "first"))
	second := f.create(t, f.spec("two", "second"))
	if len(f.Objects(t, f.instance)) == 0 {
		t.Fatal("the harness sees nothing of two machines")
	}
	f.delete(t, first)
	f.start(t, second)
	f.delete(t, second)
	if left := f.Objects(t, f.instance); len(left) > 0 {
		t.Errorf("left on the host: %v", left)
	}
}

func testClustersAreApart(t *testing.T, f *fixture) {
	one := f.create(t, f.spec("one", "first"))
	two := f.create(t, f.spec("two", "first"))
	if one.ID == two.ID {
		t.Fatal("two clusters share a machine")
	}
	f.start(t, one)
	f.state(t, two, machines.StateCreated)
	all, err := f.driver.List(f.ctx, "")
	if err != nil || len(all) != 2 {
		t.Errorf("List of all clusters gave %v, %v", all, err)
	}
	f.delete(t, one)
	list, err := f.driver.List(f.ctx, "two")
	if err != nil || !reflect.DeepEqual(list, []machines.Machine{two}) {
		t.Errorf("List gave %+v, %v, want %+v", list, err, two)
	}
}

func testInstallationsAreApart(t *testing.T, f *fixture) {
	_, other := f.installation(t)
	spec := f.spec("one", "first")
	spec.Ports = []machines.Port{{MachinePort: 80}}
	mine := f.running(t, spec)
	theirs, err := other.Create(f.ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	if mine.ID == theirs.ID || mine.Ports[0].HostPort == theirs.Ports[0].HostPort {
		t.Errorf("two installations share: %+v and %+v", mine, theirs)
	}
	if err := other.Start(f.ctx, "one", "first"); err != nil {
		t.Fatal(err)
	}
	f.delete(t, mine)
	list, err := other.List(f.ctx, "")
	if err != nil || len(list) != 1 || list[0].State != machines.StateRunning {
		t.Errorf("the other installation has %+v, %v, want its machine running", list, err)
	}
	if list, err := f.driver.List(f.ctx, ""); err != nil || len(list) > 0 {
		t.Errorf("List gave %v, %v, want nothing", list, err)
	}
}

func testForeignObjectsAreLeft(t *testing.T, f *fixture) {
	stillThere := f.Occupy(t, f.instance, "one", "first")
	_, err := f.driver.Create(f.ctx, f.spec("one", "first"))
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), f.instance) {
		t.Errorf("Create gave %v, want Invalid that names the object", err)
	}
	if _, err := f.driver.Get(f.ctx, "one", "first"); !errors.Is(err, fault.Missing) {
		t.Errorf("Get gave %v, want Missing", err)
	}
	if err := f.driver.Start(f.ctx, "one", "first"); !errors.Is(err, fault.Missing) {
		t.Errorf("Start gave %v, want Missing", err)
	}
	if list, err := f.driver.List(f.ctx, ""); err != nil || len(list) > 0 {
		t.Errorf("List gave %v, %v, want nothing", list, err)
	}
	if err := f.driver.Delete(f.ctx, "one", "first"); err != nil {
		t.Errorf("Delete gave %v", err)
	}
	if !stillThere() {
		t.Error("somebody else's object is gone")
	}
}
