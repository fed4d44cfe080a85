package container_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/container"
)

func (s *site) volume(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	if _, err := s.daemon.VolumeCreate(s.ctx, client.VolumeCreateOptions{Name: name, Labels: labels}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = s.daemon.VolumeRemove(context.Background(), name, client.VolumeRemoveOptions{Force: true})
	})
}

func (s *site) network(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	if _, err := s.daemon.NetworkCreate(s.ctx, name, client.NetworkCreateOptions{Labels: labels}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = s.daemon.NetworkRemove(context.Background(), name, client.NetworkRemoveOptions{})
	})
}

func TestForeignNetworkAndVolume(t *testing.T) {
	t.Run("network", func(t *testing.T) {
		s := newSite(t, own())
		s.network(t, s.instance, nil)
		_, err := s.Create(s.ctx, s.spec("first"))
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), s.instance) {
			t.Errorf("got %v, want Invalid that names the network", err)
		}
		s.expect(t, "network "+s.instance)
	})
	t.Run("volume", func(t *testing.T) {
		s := newSite(t, own())
		name := s.instance + "-one-first-var-lib-etcd"
		s.volume(t, name, map[string]string{container.LabelInstance: "somebody-else"})
		_, err := s.Create(s.ctx, s.spec("first"))
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want Invalid that names the volume", err)
		}
		s.expect(t, "volume "+name)
	})
}

// TestReplaceEndedAnywhere makes each request of a replacement to the daemon the
// last one, and has the next attempt find what that left.
func TestReplaceEndedAnywhere(t *testing.T) {
	s := newSite(t, own())
	// Keeps the network while the other machine comes and goes.
	s.create(t, s.spec("another"))
	for at, more := 0, true; more; at++ {
		spec := s.spec("first")
		s.running(t, spec)
		s.shell(t, "first", "mkdir -p /etc/kept && echo kept >/etc/kept/file && echo disk >/var/lib/etcd/file")
		spec.Labels = map[string]string{"version": "2"}
		r := machines.Replacement{Keep: []string{"/etc/kept"}, Files: []machines.File{{Path: "/etc/kept/new", Content: []byte("new")}}}

		driver, cut := cutAfter(t, s.instance, at)
		_, err := driver.Replace(s.ctx, spec, r)
		if more = cut(); !more && (err != nil || at < 8) {
			t.Errorf("with all of %d requests: %v", at, err)
		}
		list, err := s.List(s.ctx, "one")
		if err != nil || len(list) != 2 {
			t.Fatalf("after %d requests the machines are %+v, %v", at, list, err)
		}
		if list[1].Labels["version"] == "" {
			// Not replaced: still the old machine, with all it had.
			if err := s.Start(s.ctx, "one", "first"); err != nil {
				t.Errorf("after %d requests: %v", at, err)
			}
			if got := s.shell(t, "first", "cat /etc/kept/file; ls /etc/kept"); got != "kept\nfile" {
				t.Errorf("after %d requests the old machine holds %q", at, got)
			}
		}
		if _, err := s.Replace(s.ctx, spec, r); err != nil {
			t.Fatalf("again after %d requests: %v", at, err)
		}
		if err := s.Start(s.ctx, "one", "first"); err != nil {
			t.Fatal(err)
		}
		if got := s.shell(t, "first", "cat /etc/kept/file /etc/kept/new /var/lib/etcd/file"); got != "kept\nnewdisk" {
			t.Errorf("again after %d requests: the machine holds %q", at, got)
		}
		containers := slices.DeleteFunc(objects(t, s.daemon, s.instance), func(o string) bool { return !strings.HasPrefix(o, "container ") || strings.HasSuffix(o, "another") })
		if want := "container /" + s.instance + "-one-first"; len(containers) != 1 || containers[0] != want {
			t.Errorf("again after %d requests there are %v, want %s", at, containers, want)
		}
		if err := s.Delete(s.ctx, "one", "first"); err != nil {
			t.Fatal(err)
		}
	}
}

// cutAfter returns a driver whose connection ends after a number of requests,
// and whether it was.
func cutAfter(t *testing.T, instance string, requests int) (*container.Driver, func() bool) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(client.DefaultDockerHost, "unix://"))
	}}
	var seen atomic.Int64
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_ping") {
			proxy.ServeHTTP(w, r)
			return
		}
		if seen.Add(1) > int64(requests) {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return newDriver(t, container.Config{Instance: instance, Host: "unix://" + socket}), func() bool { return seen.Load() > int64(requests) }
}

// expect demands that nothing of the installation's name is there but this.
func (s *site) expect(t *testing.T, want ...string) {
	t.Helper()
	// Daemons list volumes in any order.
	got := slices.Sorted(slices.Values(objects(t, s.daemon, s.instance)))
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("there is %v, want %v", got, want)
	}
}

// What is left by a process that was killed between two steps of Create.
func TestCreateAfterAKill(t *testing.T) {
	s := newSite(t, own())
	s.network(t, s.instance+"-range", map[string]string{container.LabelInstance: s.instance, "loam.dev/purpose": "range"})
	labels := map[string]string{container.LabelInstance: s.instance, container.LabelCluster: "one", container.LabelMachine: "first"}
	s.volume(t, s.instance+"-one-first-var-lib-kubelet", labels)
	s.volume(t, s.instance+"-one-first-of-another-version", labels)
	s.running(t, s.spec("first"))
	if err := s.Delete(s.ctx, "one", "first"); err != nil {
		t.Fatal(err)
	}
	s.expect(t)
}

// Somebody removed the container by hand: its disks must not come back.
func TestCreateAfterTheContainerWasRemoved(t *testing.T) {
	s := newSite(t, own())
	machine := s.running(t, s.spec("first"))
	s.shell(t, "first", "echo old >/var/lib/etcd/data")
	if _, err := s.daemon.ContainerRemove(s.ctx, machine.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	s.running(t, s.spec("first"))
	s.shell(t, "first", "test ! -e /var/lib/etcd/data")
}

func TestDeleteAfterTheContainerWasRemoved(t *testing.T) {
	s := newSite(t, own())
	machine := s.running(t, s.spec("first"))
	if _, err := s.daemon.ContainerRemove(s.ctx, machine.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(s.ctx, "one", "first"); err != nil {
		t.Fatal(err)
	}
	s.expect(t)
}

// While all machines are switched off, `docker network prune` takes their
// network away.
func TestStartAfterTheNetworkWasRemoved(t *testing.T) {
	s := newSite(t, own())
	spec := s.spec("first")
	spec.Ports = []machines.Port{{MachinePort: 80}}
	first := s.running(t, spec)
	second := s.running(t, s.spec("second"))
	created := s.create(t, s.spec("third"))
	for _, machine := range []machines.Machine{first, second} {
		if err := s.Stop(s.ctx, "one", machine.Name, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.daemon.NetworkRemove(s.ctx, s.instance, client.NetworkRemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(s.ctx, "one", "first"); err != nil {
		t.Fatalf("with the network gone: %v", err)
	}
	fourth := s.running(t, s.spec("fourth"))
	for _, name := range []string{"second", "third"} {
		if err := s.Start(s.ctx, "one", name); err != nil {
			t.Fatalf("with another network in its place: %v", err)
		}
	}
	for _, machine := range []machines.Machine{first, second, created, fourth} {
		want := machine.Addresses[0].String()
		if got := s.shell(t, machine.Name, "hostname -i"); got != want {
			t.Errorf("%s has address %s, want %s", machine.Name, got, want)
		}
	}
	s.shell(t, "second", "ping -c 1 -W 5 "+first.Addresses[0].String())
}

// A container of the user's on the network keeps it, and its address.
func TestForeignContainerOnTheNetwork(t *testing.T) {
	s := newSite(t, own())
	s.create(t, s.spec("first"))
	stillThere := occupy(t, s.daemon, "x"+s.instance)
	_, err := s.daemon.NetworkConnect(s.ctx, s.instance, client.NetworkConnectOptions{Container: "x" + s.instance})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(s.ctx, "one", "first"); err != nil {
		t.Fatal(err)
	}
	if !stillThere() {
		t.Error("somebody else's container is gone")
	}
	s.expect(t, "network "+s.instance)
	if _, err := s.daemon.NetworkDisconnect(s.ctx, s.instance, client.NetworkDisconnectOptions{Container: "x" + s.instance}); err != nil {
		t.Fatal(err)
	}
	// Deleting what is gone already cleans up as well.
	if err := s.Delete(s.ctx, "one", "first"); err != nil {
		t.Fatal(err)
	}
	s.expect(t)
}

// Containers of others on the network take addresses while machines are off.
func TestAddressesAreNotGivenToOthers(t *testing.T) {
	s := newSite(t, own())
	first := s.running(t, s.spec("first"))
	s.create(t, s.spec("second"))
	if err := s.Stop(s.ctx, "one", "first", time.Second); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		name := fmt.Sprintf("x%s-%d", s.instance, i)
		occupy(t, s.daemon, name)
		if _, err := s.daemon.NetworkConnect(s.ctx, s.instance, client.NetworkConnectOptions{Container: name}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.daemon.ContainerStart(s.ctx, name, client.ContainerStartOptions{}); err != nil {
			t.Fatal(err)
		}
		// Before the installation goes, whose network it is.
		t.Cleanup(func() {
			_, _ = s.daemon.ContainerRemove(context.Background(), name, client.ContainerRemoveOptions{Force: true})
		})
	}
	for _, name := range []string{"first", "second"} {
		if err := s.Start(s.ctx, "one", name); err != nil {
			t.Errorf("with other containers on the network: %v", err)
		}
	}
	if got := s.shell(t, "first", "hostname -i"); got != first.Addresses[0].String() {
		t.Errorf("it has address %s, and had %s", got, first.Addresses[0])
	}
}

// Of the disks of a lost machine all have to be there.
func TestRecoverWithADiskGone(t *testing.T) {
	s := newSite(t, own())
	machine := s.running(t, s.spec("first"))
	if _, err := s.daemon.ContainerRemove(s.ctx, machine.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	gone := s.instance + "-one-first-var-lib-etcd"
	if _, err := s.daemon.VolumeRemove(s.ctx, gone, client.VolumeRemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	spec := s.spec("first")
	spec.Recover = true
	if _, err := s.Create(s.ctx, spec); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), gone+" are gone") {
		t.Errorf("got %v, want Invalid that names the disk", err)
	}
	s.expect(t, "volume "+s.instance+"-one-first-var-lib-containerd", "volume "+s.instance+"-one-first-var-lib-kubelet")
	if err := s.Delete(s.ctx, "one", "first"); err != nil {
		t.Fatal(err)
	}
	s.expect(t)
}

// Its address may have gone to a container of somebody else's who asked for it.
func TestRecoverWithTheAddressTaken(t *testing.T) {
	s := newSite(t, own())
	machine := s.running(t, s.spec("first"))
	s.create(t, s.spec("second"))
	if _, err := s.daemon.ContainerRemove(s.ctx, machine.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	occupy(t, s.daemon, "x"+s.instance)
	_, err := s.daemon.NetworkConnect(s.ctx, s.instance, client.NetworkConnectOptions{
		Container:      "x" + s.instance,
		EndpointConfig: &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: machine.Addresses[0]}},
	})
	if err != nil {
		t.Fatal(err)
	}
	spec := s.spec("first")
	spec.Recover = true
	if _, err := s.Create(s.ctx, spec); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), machine.Addresses[0].String()) {
		t.Errorf("got %v, want Invalid that names the address", err)
	}
	if _, err := s.daemon.ContainerRemove(s.ctx, "x"+s.instance, client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if recovered := s.create(t, spec); recovered.Addresses[0] != machine.Addresses[0] {
		t.Errorf("it has address %s, and had %s", recovered.Addresses[0], machine.Addresses[0])
	}
}
