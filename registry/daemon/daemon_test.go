package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr/testr"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/config"
	"github.com/loam-cloud/loam/registry/daemon"
	"github.com/loam-cloud/loam/registry/store"
)

// configuration is one whose listeners take any port.
func configuration(t *testing.T) config.Configuration {
	t.Helper()
	// Short, for the sockets' sake.
	dir, err := os.MkdirTemp("", "loam-cache-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := config.Configuration{
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", Offline: true,
		Upstreams: []config.Upstream{{Name: "images.example", Listen: "127.0.0.1:0"}},
	}
	c.APIVersion, c.Kind = config.APIVersion, config.Kind
	c.Default(filepath.Join(dir, "registry"))
	if err := c.Validate().ToAggregate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs a cache until the test ends.
func run(t *testing.T, c config.Configuration, yield bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, c, daemon.Options{Yield: yield, Ready: func() { close(ready) }, Log: testr.New(t)})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// through asks by way of a socket.
func through(t *testing.T, socket, method, path string) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	request, err := http.NewRequestWithContext(t.Context(), method, "http://cache"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// TestTakenAddressesAreLeftOut is a cache beside a garden: others may have its
// ports, and nodes reach it all the same.
func TestTakenAddressesAreLeftOut(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	c := configuration(t)
	c.Listen = taken.Addr().String()
	if err := daemon.Run(t.Context(), c, daemon.Options{Log: testr.New(t)}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("alone it says %v", err)
	}
	run(t, c, true)
	client, err := daemon.Running(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	status, err := client.Status(t.Context())
	if err != nil || len(status.Addresses) != 2 || status.Addresses[daemon.Private] != "" || status.Addresses["images.example"] == "" {
		t.Errorf("it listens on %v, %v", status.Addresses, err)
	}
	nodes := filepath.Join(c.DataDir, daemon.NodesSocket)
	for request, want := range map[[2]string]int{
		{http.MethodGet, "/v2/"}:                                 http.StatusOK,
		{http.MethodGet, "/v2/a/manifests/v1?ns=images.example"}: http.StatusNotFound,
		// What is pushed to that port of this host is not here.
		{http.MethodGet, fmt.Sprintf("/v2/a/manifests/v1?ns=%s", c.Listen)}: http.StatusNotFound,
		{http.MethodPost, "/v2/a/blobs/uploads/"}:                           http.StatusMethodNotAllowed,
	} {
		if got := through(t, nodes, request[0], request[1]); got != want {
			t.Errorf("nodes that ask %v get %d, want %d", request, got, want)
		}
	}
}

// TestOneProcessHasAFolder says who has it, and lets the other be.
func TestOneProcessHasAFolder(t *testing.T) {
	c := configuration(t)
	if _, err := daemon.Running(t.Context(), c); fault.KindOf(err) != fault.Missing {
		t.Errorf("none runs: %v", err)
	}
	run(t, c, false)
	err := daemon.Run(t.Context(), c, daemon.Options{Yield: true, Log: testr.New(t)})
	if !errors.Is(err, store.ErrLocked) || fault.KindOf(err) != fault.Waiting {
		t.Errorf("a second one says %v", err)
	}
	if got := through(t, filepath.Join(c.DataDir, daemon.NodesSocket), http.MethodGet, "/v2/"); got != http.StatusOK {
		t.Errorf("the first one answers %d", got)
	}
}
