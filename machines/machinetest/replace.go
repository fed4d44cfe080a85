package machinetest

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

func testReplaceKeepsWhatItShould(t *testing.T, f *fixture) {
	spec := f.spec("one", "first")
	spec.Ports = []machines.Port{{MachinePort: 80}}
	spec.Labels = map[string]string{"version": "1"}
	machine := f.running(t, spec)
	f.put(t, machine,
		machines.File{Path: "/etc/kept/deep/file", Content: []byte("kept"), Mode: 0o600},
		machines.File{Path: "/etc/alone", Content: []byte("alone")},
		machines.File{Path: "/etc/lost", Content: []byte("lost")},
		machines.File{Path: "/var/lib/kubelet/disk", Content: []byte("disk")})

	spec.Labels = map[string]string{"version": "2"}
	replacement := machines.Replacement{
		Keep:  []string{"/etc/kept", "/etc/alone", "/etc/never-was"},
		Files: []machines.File{{Path: "/etc/kept/new", Content: []byte("new")}},
	}
	replaced, err := f.driver.Replace(f.ctx, spec, replacement)
	if err != nil {
		t.Fatal(err)
	}
	want := machine
	want.ID, want.Created, want.State, want.Labels = replaced.ID, replaced.Created, machines.StateCreated, spec.Labels
	if replaced.ID == machine.ID || !reflect.DeepEqual(replaced, want) {
		t.Errorf("got %+v, want %+v with another ID", replaced, want)
	}
	again, err := f.driver.Replace(f.ctx, spec, replacement)
	if err != nil || !reflect.DeepEqual(again, replaced) {
		t.Errorf("the second time: got %+v, %v, want %+v", again, err, replaced)
	}
	f.start(t, machine)
	for file, content := range map[string]string{
		"/etc/kept/deep/file": "kept", "/etc/alone": "alone", "/etc/kept/new": "new", "/var/lib/kubelet/disk": "disk",
	} {
		if got := f.run(t, machine, "", "cat", file); got != content {
			t.Errorf("%s holds %q, want %q", file, got, content)
		}
	}
	if mode := f.run(t, machine, "", "stat", "-c", "%a %u %g", "/etc/kept/deep/file"); mode != "600 0 0\n" {
		t.Errorf("mode and owner are %q", mode)
	}
	if err := f.driver.Run(f.ctx, "one", "first", machines.Command{Args: []string{"cat", "/etc/lost"}}); err == nil {
		t.Error("a file that was neither kept nor on a disk is there")
	}
	f.delete(t, machine)
	if left := f.Objects(t, f.instance); len(left) > 0 {
		t.Errorf("left on the host: %v", left)
	}
}

func testReplaceRefusesBadInput(t *testing.T, f *fixture) {
	spec := f.spec("one", "first")
	if _, err := f.driver.Replace(f.ctx, spec, machines.Replacement{}); !errors.Is(err, fault.Missing) {
		t.Errorf("a machine that is not there: got %v, want Missing", err)
	}
	machine := f.running(t, spec)
	spec.Labels = map[string]string{"version": "2"}
	for what, r := range map[string]machines.Replacement{
		"keep[0]":  {Keep: []string{"etc"}},
		"keep[1]":  {Keep: []string{"/etc/x", "/run"}},
		"files[0]": {Files: []machines.File{{Path: "/run/x"}}},
	} {
		if _, err := f.driver.Replace(f.ctx, spec, r); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want Invalid that names %s", err, what)
		}
	}
	spec.Image = "loam/no-such-image:v0"
	if _, err := f.driver.Replace(f.ctx, spec, machines.Replacement{}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), spec.Image) {
		t.Errorf("got %v, want Invalid that names the image", err)
	}
	// Who was refused goes on.
	if got := f.get(t, machine); !reflect.DeepEqual(got.State, machines.StateRunning) || got.ID != machine.ID {
		t.Errorf("the machine is %+v now", got)
	}
}
