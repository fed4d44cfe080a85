package machines_test

import (
	"errors"
	"io/fs"
	"math"
	"strings"
	"testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

func valid() machines.Spec {
	return machines.Spec{Cluster: "demo", Name: "worker-1", Hostname: "worker-1", Image: "loam/node:v1.36.3"}
}

func TestSpecValidate(t *testing.T) {
	if err := valid().Validate(); err != nil {
		t.Fatalf("a plain machine: %v", err)
	}
	tests := map[string]struct {
		change func(*machines.Spec)
		want   string
	}{
		"cluster":    {func(s *machines.Spec) { s.Cluster = "Demo" }, `cluster: "Demo"`},
		"name":       {func(s *machines.Spec) { s.Name = "" }, `name: ""`},
		"hostname":   {func(s *machines.Spec) { s.Hostname = strings.Repeat("a", 64) }, `hostname: "aaa`},
		"image":      {func(s *machines.Spec) { s.Image = "" }, "image: must not be empty"},
		"port zero":  {func(s *machines.Spec) { s.Ports = []machines.Port{{}} }, "ports[0].machinePort"},
		"protocol":   {func(s *machines.Spec) { s.Ports = []machines.Port{{MachinePort: 1, Protocol: "tcp"}} }, `ports[0].protocol: "tcp"`},
		"port twice": {func(s *machines.Spec) { s.Ports = twice() }, "ports[1].hostPort: 6443/TCP is published by ports[0]"},
		"host path":  {func(s *machines.Spec) { s.Mounts = []machines.Mount{{HostPath: "x", MachinePath: "/x"}} }, `mounts[0].hostPath: "x"`},
		"mount root": {func(s *machines.Spec) { s.Mounts = []machines.Mount{{HostPath: "/x", MachinePath: "/"}} }, `mounts[0].machinePath: "/"`},
		"propagation": {func(s *machines.Spec) {
			s.Mounts = []machines.Mount{{HostPath: "/", MachinePath: "/x", Propagation: "rshared"}}
		}, `mounts[0].propagation: "rshared"`},
		"cpus":        {func(s *machines.Spec) { s.CPUs = math.NaN() }, "cpus: NaN"},
		"memory":      {func(s *machines.Spec) { s.MemoryBytes = -1 }, "memoryBytes: -1"},
		"environment": {func(s *machines.Spec) { s.Environment = map[string]string{"a=b": ""} }, `environment["a=b"]`},
		"label":       {func(s *machines.Spec) { s.Labels = map[string]string{"": "x"} }, "labels: a key"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			spec := valid()
			test.change(&spec)
			err := spec.Validate()
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("got %v, want a fault Invalid", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("message %q lacks %q", err, test.want)
			}
		})
	}
}

func twice() []machines.Port {
	return []machines.Port{{HostPort: 6443, MachinePort: 1}, {HostPort: 6443, MachinePort: 2, Protocol: machines.TCP}}
}

func TestSpecValidateReportsEverything(t *testing.T) {
	err := machines.Spec{CPUs: -1, MemoryBytes: -1}.Validate()
	for _, field := range []string{"cluster:", "name:", "hostname:", "image:", "cpus:", "memoryBytes:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("message %q lacks %s", err, field)
		}
	}
}

func TestValidateFiles(t *testing.T) {
	if err := machines.ValidateFiles([]machines.File{{Path: "/etc/x", Mode: 0o600}}); err != nil {
		t.Fatalf("a plain file: %v", err)
	}
	tests := map[string]machines.File{
		"relative":    {Path: "etc/x"},
		"parent":      {Path: "/etc/../x"},
		"folder":      {Path: "/etc/"},
		"root":        {Path: "/"},
		"nul":         {Path: "/etc/\x00"},
		"setuid mode": {Path: "/etc/x", Mode: fs.ModeSetuid | 0o755},
	}
	for name, file := range tests {
		t.Run(name, func(t *testing.T) {
			if err := machines.ValidateFiles([]machines.File{file}); !errors.Is(err, fault.Invalid) {
				t.Errorf("got %v, want a fault Invalid", err)
			}
		})
	}
}
