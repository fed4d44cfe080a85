package container_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/container"
	"github.com/loam-cloud/loam/test/docker"
)

// site is an installation on the daemon, empty when the test ends.
type site struct {
	*container.Driver
	daemon          *client.Client
	instance, image string
	ctx             context.Context
}

func newSite(t *testing.T, labels map[string]string) *site {
	t.Helper()
	daemon := docker.Require(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	instance := strings.ToLower(fmt.Sprintf("c%x", time.Now().UnixNano()))
	s := &site{
		Driver: newDriver(t, container.Config{Instance: instance}), daemon: daemon,
		instance: instance, image: docker.Image(t, daemon, labels), ctx: ctx,
	}
	t.Cleanup(func() {
		left, err := s.List(context.Background(), "")
		if err != nil {
			t.Error(err)
		}
		for _, machine := range left {
			if err := s.Delete(context.Background(), machine.Cluster, machine.Name); err != nil {
				t.Error(err)
			}
		}
		if left := objects(t, daemon, instance); len(left) > 0 {
			t.Errorf("the test leaves %v", left)
		}
	})
	return s
}

// own are the labels of an image as Loam builds it.
func own() map[string]string {
	return map[string]string{
		container.NodeLabel:    "1",
		container.VolumesLabel: "/var/lib/containerd,/var/lib/kubelet,/var/lib/etcd",
	}
}

func (s *site) spec(name string) machines.Spec {
	return machines.Spec{Cluster: "one", Name: name, Hostname: name, Image: s.image}
}

func (s *site) create(t *testing.T, spec machines.Spec) machines.Machine {
	t.Helper()
	machine, err := s.Create(s.ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	return machine
}

func (s *site) running(t *testing.T, spec machines.Spec) machines.Machine {
	t.Helper()
	machine := s.create(t, spec)
	if err := s.Start(s.ctx, spec.Cluster, spec.Name); err != nil {
		t.Fatal(err)
	}
	return machine
}

func (s *site) shell(t *testing.T, name, script string) string {
	t.Helper()
	var output bytes.Buffer
	err := s.Run(s.ctx, "one", name, machines.Command{Args: []string{"sh", "-c", script}, Stdout: &output, Stderr: &output})
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, output.String())
	}
	return strings.TrimSpace(output.String())
}

func TestNewRefusesBadConfig(t *testing.T) {
	tests := map[string]container.Config{
		"no instance":  {},
		"long":         {Instance: strings.Repeat("a", 33)},
		"capitals":     {Instance: "Loam"},
		"IPv6":         {Instance: "loam", Subnet: netip.MustParsePrefix("fd00::/64")},
		"small subnet": {Instance: "loam", Subnet: netip.MustParsePrefix("10.0.0.0/30")},
		"host":         {Instance: "loam", Host: "nowhere"},
	}
	for name, config := range tests {
		if _, err := container.New(config); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want Invalid", name, err)
		}
	}
}

func TestNoDaemon(t *testing.T) {
	driver := newDriver(t, container.Config{Instance: "loam", Host: "unix://" + filepath.Join(t.TempDir(), "none.sock")})
	_, err := driver.Create(context.Background(), machines.Spec{Cluster: "a", Name: "b", Hostname: "b", Image: "c"})
	for method, err := range map[string]error{"Ping": driver.Ping(context.Background()), "Create": err} {
		if !errors.Is(err, fault.Transient) || !strings.Contains(err.Error(), "Docker is not reachable at unix://") {
			t.Errorf("%s: got %v, want Transient that says what is not reachable", method, err)
		}
	}
}

func TestHost(t *testing.T) {
	s := newSite(t, own())
	if err := s.Ping(s.ctx); err != nil {
		t.Fatal(err)
	}
	host, err := s.Host(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if host.CPUs < 1 || host.MemoryBytes < 1<<20 || (host.CgroupVersion != 1 && host.CgroupVersion != 2) || host.Daemon == "" {
		t.Errorf("host %+v", host)
	}
}

func TestPublishedPorts(t *testing.T) {
	s := newSite(t, own())
	spec := s.spec("first")
	spec.Ports = []machines.Port{{MachinePort: 80}}
	port := s.running(t, spec).Ports[0]
	for range 2 {
		fetch(t, netip.AddrPortFrom(port.HostAddress, port.HostPort))
		if err := s.Stop(s.ctx, "one", "first", time.Second); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(s.ctx, "one", "first"); err != nil {
			t.Fatal(err)
		}
	}
}

func fetch(t *testing.T, address netip.AddrPort) {
	t.Helper()
	var last error
	for range 50 {
		response, err := http.Get("http://" + address.String())
		if err == nil {
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err == nil && string(body) == "loam" {
				return
			}
		}
		last = err
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s serves nothing: %v", address, last)
}

func TestPortTakenAtStart(t *testing.T) {
	s := newSite(t, own())
	spec := s.spec("first")
	spec.Ports = []machines.Port{{MachinePort: 80}}
	port := s.create(t, spec).Ports[0]
	listener, err := net.Listen("tcp", netip.AddrPortFrom(port.HostAddress, port.HostPort).String())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(s.ctx, "one", "first"); !errors.Is(err, fault.Exhausted) {
		t.Errorf("got %v, want Exhausted", err)
	}
	_ = listener.Close()
	if err := s.Start(s.ctx, "one", "first"); err != nil {
		t.Errorf("once the port is free: %v", err)
	}
}

func TestRights(t *testing.T) {
	s := newSite(t, own())
	s.running(t, s.spec("first"))
	scripts := map[string]string{
		"mount":             `mkdir -p /mnt && mount -t tmpfs none /mnt`,
		"write to /proc":    `echo 1 >/proc/sys/net/ipv4/ip_forward`,
		"remount /sys":      `mount -o remount,rw /sys`,
		"make devices":      `mknod /dev/kmsg c 1 11 && head -c 0 /dev/kmsg`,
		"run from /tmp":     `printf '#!/bin/sh\n' >/tmp/x && chmod +x /tmp/x && /tmp/x`,
		"run from /run":     `printf '#!/bin/sh\n' >/run/x && chmod +x /run/x && /run/x`,
		"own control group": `! grep -q docker /proc/self/cgroup`,
		"memory on /run":    `grep -q '^tmpfs /run tmpfs' /proc/mounts && grep -q '^tmpfs /tmp tmpfs' /proc/mounts`,
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) { s.shell(t, "first", script) })
	}
	if got := s.shell(t, "first", "hostname"); got != "first" {
		t.Errorf("hostname %q", got)
	}
}

func TestDisks(t *testing.T) {
	t.Run("own image", func(t *testing.T) {
		s := newSite(t, own())
		s.running(t, s.spec("first"))
		for _, path := range []string{"/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd"} {
			s.shell(t, "first", fmt.Sprintf("grep ' %s ' /proc/mounts | grep -qv overlay", path))
		}
	})
	t.Run("other image", func(t *testing.T) {
		s := newSite(t, nil)
		s.running(t, s.spec("first"))
		s.shell(t, "first", "grep ' /var ' /proc/mounts | grep -qv overlay")
		if got := s.shell(t, "first", "cat /var/seed"); got != "seed" {
			t.Errorf("/var/seed holds %q, want what the image has", got)
		}
	})
}

func TestImageWithWrongVolumes(t *testing.T) {
	s := newSite(t, map[string]string{container.VolumesLabel: "var/lib"})
	if _, err := s.Create(s.ctx, s.spec("first")); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "var/lib") {
		t.Errorf("got %v, want Invalid that names the path", err)
	}
}

func TestBoundsEnvironmentAndMounts(t *testing.T) {
	s := newSite(t, own())
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "file"), []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := s.spec("first")
	spec.CPUs, spec.MemoryBytes = 0.5, 64<<20
	spec.Environment = map[string]string{"HTTP_PROXY": "http://proxy"}
	spec.Mounts = []machines.Mount{
		{HostPath: folder, MachinePath: "/host", ReadOnly: true},
		{HostPath: folder, MachinePath: "/writable", Propagation: "None"},
		{HostPath: folder, MachinePath: "/labelled", ReadOnly: true, SELinuxRelabel: true},
	}
	spec.DNSSearch = []string{"corp.example"}
	machine := s.running(t, spec)
	inspected, err := s.daemon.ContainerInspect(s.ctx, machine.ID, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	host := inspected.Container.HostConfig
	if host.NanoCPUs != 5e8 || host.Memory != 64<<20 || host.MemorySwap != 64<<20 {
		t.Errorf("bounds %d, %d, %d", host.NanoCPUs, host.Memory, host.MemorySwap)
	}
	if got := s.shell(t, "first", `tr '\0' '\n' </proc/1/environ | grep HTTP_PROXY`); got != "HTTP_PROXY=http://proxy" {
		t.Errorf("environment %q", got)
	}
	if want := folder + ":/labelled:Z,rprivate,ro"; len(host.Binds) != 1 || host.Binds[0] != want {
		t.Errorf("relabelled mounts are %v, want %s", host.Binds, want)
	}
	if got := s.shell(t, "first", "grep ^search /etc/resolv.conf"); got != "search corp.example" {
		t.Errorf("the resolver has %q", got)
	}
	s.shell(t, "first", `cat /labelled/file >/dev/null; ! touch /labelled/new 2>/dev/null`)
	s.shell(t, "first", `test "$(cat /host/file)" = "of the host" && ! touch /host/new 2>/dev/null && touch /writable/new`)

	// An empty list of search domains is none, not the host's.
	none := s.spec("none")
	none.DNSSearch = []string{}
	s.running(t, none)
	if got := s.shell(t, "none", "grep -c '^search [a-z]' /etc/resolv.conf || true"); got != "0" {
		t.Errorf("a machine without search domains has %q", got)
	}

	// Whether a host can propagate mounts is its own affair: not started.
	spec = s.spec("second")
	spec.Mounts = []machines.Mount{
		{HostPath: folder, MachinePath: "/down", Propagation: "HostToContainer"},
		{HostPath: folder, MachinePath: "/both", Propagation: "Bidirectional"},
	}
	inspected, err = s.daemon.ContainerInspect(s.ctx, s.create(t, spec).ID, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	propagations := map[string]mount.Propagation{}
	for _, point := range inspected.Container.Mounts {
		propagations[point.Destination] = point.Propagation
	}
	if propagations["/down"] != mount.PropagationRSlave || propagations["/both"] != mount.PropagationRShared {
		t.Errorf("propagations %v", propagations)
	}

	spec = s.spec("third")
	spec.Mounts = []machines.Mount{{HostPath: filepath.Join(folder, "missing"), MachinePath: "/host"}}
	if _, err := s.Create(s.ctx, spec); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "missing") {
		t.Errorf("got %v, want Invalid that names the path", err)
	}
}

func TestStopCutsThePower(t *testing.T) {
	s := newSite(t, own())
	spec := s.spec("first")
	spec.Environment = map[string]string{"STUBBORN": "1"}
	s.running(t, spec)
	begin := time.Now()
	if err := s.Stop(s.ctx, "one", "first", 1500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 1500*time.Millisecond {
		t.Errorf("the machine had %v of its grace period", took)
	}
	if machine, err := s.Get(s.ctx, "one", "first"); err != nil || machine.State != machines.StateStopped {
		t.Errorf("got %+v, %v, want it stopped", machine, err)
	}
}

func TestStartWakesAPausedMachine(t *testing.T) {
	s := newSite(t, own())
	machine := s.running(t, s.spec("first"))
	if _, err := s.daemon.ContainerPause(s.ctx, machine.ID, client.ContainerPauseOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(s.ctx, "one", "first"); err != nil {
		t.Fatal(err)
	}
	s.shell(t, "first", "true")
}

func TestFilesThroughALinkedFolder(t *testing.T) {
	s := newSite(t, own())
	s.create(t, s.spec("first"))
	if err := s.PutFiles(s.ctx, "one", "first", []machines.File{{Path: "/lib/systemd/unit", Content: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(s.ctx, "one", "first"); err != nil {
		t.Fatal(err)
	}
	s.shell(t, "first", "test -L /lib && test -f /usr/lib/systemd/unit")
}

func TestTwoProcessesOfOneInstallation(t *testing.T) {
	s := newSite(t, own())
	other := newDriver(t, container.Config{Instance: s.instance})
	var wait sync.WaitGroup
	var mutex sync.Mutex
	addresses := map[netip.Addr]bool{}
	for i := range 6 {
		driver := []*container.Driver{s.Driver, other}[i%2]
		wait.Go(func() {
			machine, err := driver.Create(s.ctx, s.spec(fmt.Sprintf("machine-%d", i)))
			if err != nil {
				t.Error(err)
				return
			}
			mutex.Lock()
			defer mutex.Unlock()
			if addresses[machine.Addresses[0]] {
				t.Errorf("address %s is given twice", machine.Addresses[0])
			}
			addresses[machine.Addresses[0]] = true
			if err := driver.Start(s.ctx, "one", machine.Name); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

func TestRemoteDaemon(t *testing.T) {
	s := newSite(t, own())
	s.running(t, s.spec("local"))
	remote := newDriver(t, container.Config{Instance: s.instance, Host: "tcp://" + forward(t, s.daemon)})
	spec := s.spec("first")
	spec.Ports = []machines.Port{{MachinePort: 80}}
	machine, err := remote.Create(s.ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Start(s.ctx, "one", "first"); err != nil {
		t.Fatal(err)
	}
	fetch(t, netip.AddrPortFrom(machine.Ports[0].HostAddress, machine.Ports[0].HostPort))
	effective := "grep CapEff /proc/1/status"
	if got, want := s.shell(t, "first", effective), s.shell(t, "local", effective); got != want {
		t.Errorf("capabilities %s by way of a remote daemon, %s by way of its socket", got, want)
	}
}

// forward lends the daemon's socket a TCP address.
func forward(t *testing.T, daemon *client.Client) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := daemon.Dialer()(context.Background())
			if err != nil {
				_ = from.Close()
				continue
			}
			go func() { _, _ = io.Copy(to, from); _ = to.(client.CloseWriter).CloseWrite() }()
			go func() { _, _ = io.Copy(from, to); _ = from.Close() }()
		}
	}()
	return listener.Addr().String()
}

func TestConfiguredSubnet(t *testing.T) {
	s := newSite(t, own())
	s.Driver = newDriver(t, container.Config{Instance: s.instance, Subnet: netip.MustParsePrefix("198.51.100.72/29")})
	var got []string
	for i := range 5 {
		got = append(got, s.create(t, s.spec(fmt.Sprintf("machine-%d", i))).Addresses[0].String())
	}
	want := []string{"198.51.100.74", "198.51.100.75", "198.51.100.76", "198.51.100.77", "198.51.100.78"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
	if _, err := s.Create(s.ctx, s.spec("machine-5")); !errors.Is(err, fault.Exhausted) {
		t.Errorf("got %v, want Exhausted", err)
	}
}
