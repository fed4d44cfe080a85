package app

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/registry/daemon"
)

// TestNodeCache leads a machine to a cache that comes later, and again to the same
// port when the garden was restarted.
func TestNodeCache(t *testing.T) {
	dir := t.TempDir()
	begin := func() (*nodeCache, context.CancelFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		return &nodeCache{ctx: ctx, dataDir: dir, folder: filepath.Join(dir, "registry"), log: logr.Discard(), open: map[netip.Addr]bool{}}, cancel
	}
	here := machines.Machine{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.5/8")}}
	first, end := begin()
	at, err := first.at(here)
	if err != nil || at.Addr().String() != "127.0.0.1" {
		t.Fatalf("found at %v: %v", at, err)
	}
	if again, err := first.at(here); err != nil || again != at {
		t.Errorf("asked again: %v, %v, want %v", again, err, at)
	}
	get := func() (int, string) {
		t.Helper()
		response, err := http.Get("http://" + at.String() + "/v2/app/manifests/v1?ns=example.org")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	if status, body := get(); status != http.StatusBadGateway || !strings.Contains(body, "no image cache") {
		t.Errorf("without a cache: %d %s", status, body)
	}
	serve(t, filepath.Join(dir, "registry", daemon.NodesSocket))
	if status, body := get(); status != http.StatusOK || body != "/v2/app/manifests/v1?ns=example.org" {
		t.Errorf("with one: %d %s", status, body)
	}
	end()
	// Machines that run on ask without being booted again.
	var second *nodeCache
	for range 500 {
		if second, end = begin(); second.reopen() != nil {
			t.Fatal("it cannot be opened again")
		}
		if second.open[at.Addr()] {
			break
		}
		end()
		time.Sleep(10 * time.Millisecond) // until the first one has let go
	}
	defer end()
	if status, _ := get(); status != http.StatusOK {
		t.Errorf("after a restart: %d", status)
	}
	if again, err := second.at(here); err != nil || again != at {
		t.Errorf("after a restart: %v, %v, want %v", again, err, at)
	}

	elsewhere := machines.Machine{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	if at, err := second.at(elsewhere); err != nil || at.IsValid() {
		t.Errorf("where this host has no address: %v, %v", at, err)
	}
}

// serve answers with what it is asked for.
func serve(t *testing.T, socket string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: daemon.ReadOnly(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.RequestURI())
	}))}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
}
