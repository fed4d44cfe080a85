package container_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/container"
)

// A machine keeps its IPv6 address over everything that happens to it, as it does its
// IPv4 one.
func TestIPv6(t *testing.T) {
	s := newSite(t, own())
	spec := s.spec("first")
	spec.IPv6 = true
	made := s.running(t, spec)
	if len(made.Addresses) != 2 || len(made.Networks) != 2 || !made.Addresses[0].Is4() || !made.Networks[1].Contains(made.Addresses[1]) {
		t.Fatalf("it has addresses %v of networks %v, want an IPv4 one and an IPv6 one", made.Addresses, made.Networks)
	}
	if !netip.MustParsePrefix("fd00::/8").Contains(made.Addresses[1]) || made.Networks[1].Bits() != 64 {
		t.Errorf("network %s is no /64 of local addresses", made.Networks[1])
	}
	second := s.running(t, s.spec("second"))

	works := func(when string) {
		t.Helper()
		got, err := s.Get(s.ctx, "one", "first")
		if err != nil || !slices.Equal(got.Addresses, made.Addresses) || !slices.Equal(got.Networks, made.Networks) {
			t.Fatalf("%s: it has addresses %v of %v, %v, want %v", when, got.Addresses, got.Networks, err, made.Addresses)
		}
		if has := s.shell(t, "first", "ip -6 addr show dev eth0 || ifconfig eth0"); !strings.Contains(has, made.Addresses[1].String()) {
			t.Errorf("%s: %s is not on\n%s", when, made.Addresses[1], has)
		}
		fetch(t, netip.AddrPortFrom(made.Addresses[1], 80))
	}
	works("new")
	s.shell(t, "second", "ping -c 1 -W 5 "+made.Addresses[1].String())
	if got := s.shell(t, "first", "cat /proc/sys/net/ipv6/conf/all/forwarding"); got != "1" {
		t.Errorf("forwarding of IPv6 is %q", got)
	}

	off := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if err := s.Stop(s.ctx, "one", name, time.Second); err != nil {
				t.Fatal(err)
			}
		}
	}
	on := func() {
		t.Helper()
		if err := s.Start(s.ctx, "one", "first"); err != nil {
			t.Fatal(err)
		}
	}
	off("first")
	on()
	works("started again")

	spec.Labels = map[string]string{"version": "2"}
	if _, err := s.Replace(s.ctx, spec, machines.Replacement{}); err != nil {
		t.Fatal(err)
	}
	on()
	works("replaced")

	lose(t, s.daemon, s.instance+"-one-first")
	spec.Recover = true
	s.running(t, spec)
	works("recovered")

	off("first", "second")
	if _, err := s.daemon.NetworkRemove(s.ctx, s.instance, client.NetworkRemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	on()
	works("with its network made anew")
	if third := s.create(t, s.spec("third")); third.Networks[1] != made.Networks[1] || slices.Contains([]netip.Addr{made.Addresses[1], second.Addresses[1]}, third.Addresses[1]) {
		t.Errorf("another machine has %v of %v", third.Addresses, third.Networks)
	}
}

// The network of an older Loam stays as it is, and so does what is on it.
func TestNetworkWithoutIPv6(t *testing.T) {
	s := newSite(t, own())
	_, err := s.daemon.NetworkCreate(s.ctx, s.instance, client.NetworkCreateOptions{
		Labels: map[string]string{container.LabelInstance: s.instance},
		IPAM:   &network.IPAM{Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix("198.51.100.0/28")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if made := s.running(t, s.spec("first")); len(made.Addresses) != 1 || len(made.Networks) != 1 {
		t.Errorf("it has addresses %v of %v, want one", made.Addresses, made.Networks)
	}
	for name, want := range map[string]string{"first": "made without an IPv6 address", "second": "before Loam gave networks any"} {
		spec := s.spec(name)
		spec.IPv6 = true
		if _, err := s.Create(s.ctx, spec); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "delete") {
			t.Errorf("%s, which needs IPv6: got %v, want Invalid that says %q and what to do", name, err, want)
		}
	}
}

// Where the engine cannot make a network with IPv6, clusters of IPv4 go on, and others
// are told the engine's reason.
func TestDaemonWithoutIPv6(t *testing.T) {
	s := newSite(t, own())
	const reason = "this kernel has not got it"
	driver := newDriver(t, container.Config{Instance: s.instance, Host: refusing(t, `"EnableIPv6":true`, reason)})
	made, err := driver.Create(s.ctx, s.spec("first"))
	if err != nil {
		t.Fatal(err)
	}
	if len(made.Addresses) != 1 {
		t.Errorf("it has addresses %v, want one", made.Addresses)
	}
	spec := s.spec("second")
	spec.IPv6 = true
	if _, err := driver.Create(s.ctx, spec); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), reason) {
		t.Errorf("got %v, want Invalid with the engine's reason", err)
	}
}

// refusing is the address of a daemon that has no part in requests which hold a text.
func refusing(t *testing.T, text, reason string) string {
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
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if strings.Contains(string(body), text) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"message":"`+reason+`"}`)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "unix://" + socket
}
