package machinetest

import (
	"errors"
	"reflect"
	"testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

func testDisksAreRecovered(t *testing.T, f *fixture) {
	spec := f.spec("one", "first")
	spec.Ports = []machines.Port{{MachinePort: 80}}
	spec.Recover = true
	if _, err := f.driver.Create(f.ctx, spec); !errors.Is(err, fault.Missing) {
		t.Errorf("where there is nothing to recover: got %v, want Missing", err)
	}
	spec.Recover = false
	machine := f.running(t, spec)
	f.put(t, machine,
		machines.File{Path: "/etc/lost", Content: []byte("lost")},
		machines.File{Path: "/var/lib/kubelet/disk", Content: []byte("disk")})

	f.Lose(t, f.instance, "one", "first")
	distinct(t, []machines.Machine{machine, f.create(t, f.spec("one", "second"))})
	spec.Recover = true
	recovered := f.create(t, spec)
	want := machine
	want.ID, want.Created, want.State = recovered.ID, recovered.Created, machines.StateCreated
	if recovered.ID == machine.ID || !reflect.DeepEqual(recovered, want) {
		t.Errorf("got %+v, want %+v with another ID", recovered, want)
	}
	if again := f.create(t, spec); !reflect.DeepEqual(again, recovered) {
		t.Errorf("the second time: got %+v, want %+v", again, recovered)
	}
	f.start(t, machine)
	if got := f.run(t, machine, "", "cat", "/var/lib/kubelet/disk"); got != "disk" {
		t.Errorf("the disk holds %q", got)
	}
	if err := f.driver.Run(f.ctx, "one", "first", machines.Command{Args: []string{"cat", "/etc/lost"}}); err == nil {
		t.Error("a file that was not on a disk is there")
	}
}

func testDisksThatAreLeft(t *testing.T, f *fixture) {
	machine := f.running(t, f.spec("one", "first"))
	f.put(t, machine, machines.File{Path: "/var/lib/kubelet/disk", Content: []byte("disk")})
	f.Lose(t, f.instance, "one", "first")
	f.running(t, f.spec("one", "first"))
	if err := f.driver.Run(f.ctx, "one", "first", machines.Command{Args: []string{"cat", "/var/lib/kubelet/disk"}}); err == nil {
		t.Error("a new machine begins with what a lost one has left")
	}
	f.Lose(t, f.instance, "one", "first")
	f.delete(t, machine)
	if left := f.Objects(t, f.instance); len(left) > 0 {
		t.Errorf("left on the host: %v", left)
	}
}
