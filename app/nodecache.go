package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/registry/daemon"
)

// nodeCache leads the nodes of this host's clusters to the image cache that runs
// beside the garden. It listens where machines reach this host, on one port that it
// keeps, and lets them read. While no cache runs it says so, and nodes ask the
// registries themselves.
type nodeCache struct {
	ctx     context.Context // ends the listeners, which outlive the call that opens them
	dataDir string          // the garden's
	folder  string          // the cache's
	log     logr.Logger

	mu    sync.Mutex
	port  uint16
	known []netip.Addr
	open  map[netip.Addr]bool
}

// portFile keeps the port, which machines remember for as long as they live, and the
// addresses that they know, a line each.
const portFile = "image-cache-port"

// reopen listens where an earlier garden did: its machines run on. An address that
// this host does not have now is opened when a machine boots.
func (n *nodeCache) reopen() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	text, err := os.ReadFile(filepath.Join(n.dataDir, portFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := strings.Fields(string(text))
	for i, line := range lines {
		if i == 0 {
			port, err := strconv.ParseUint(line, 10, 16)
			if err != nil {
				return fmt.Errorf("the port of the image cache in %s: %w", portFile, err)
			}
			n.port = uint16(port)
			continue
		}
		host, err := netip.ParseAddr(line)
		if err != nil {
			return fmt.Errorf("an address of the image cache in %s: %w", portFile, err)
		}
		n.known = append(n.known, host)
		n.listen(host)
	}
	return nil
}

// remember writes down where the cache listens.
func (n *nodeCache) remember(host netip.Addr) error {
	if slices.Contains(n.known, host) {
		return nil
	}
	text := fmt.Sprintln(n.port)
	for _, known := range append(n.known, host) {
		text += fmt.Sprintln(known)
	}
	// Renamed, so that a kill leaves no half of a port.
	path := filepath.Join(n.dataDir, portFile)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	n.known = append(n.known, host)
	return nil
}

// at returns where a machine finds the cache, and listens there. Where this host has
// no such address, as with an engine that runs in a virtual machine of its own, the
// result is not valid.
func (n *nodeCache) at(m machines.Machine) (netip.AddrPort, error) {
	if len(m.Networks) == 0 {
		return netip.AddrPort{}, nil
	}
	// The driver gives the bridge, which is this host, the first address.
	host := m.Networks[0].Masked().Addr().Next()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.open[host] && !n.listen(host) {
		return netip.AddrPort{}, nil
	}
	return netip.AddrPortFrom(host, n.port), n.remember(host)
}

// listen says whether it could.
func (n *nodeCache) listen(host netip.Addr) bool {
	listener, err := net.Listen("tcp", netip.AddrPortFrom(host, n.port).String())
	if err != nil {
		n.log.Info("Nodes do not find the image cache", "address", host.String(), "problem", err.Error())
		return false
	}
	n.port = listener.Addr().(*net.TCPAddr).AddrPort().Port()
	server := &http.Server{Handler: n.handler(), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(n.ctx, func() { _ = server.Close() })
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error(err, "Nodes find the image cache no longer", "address", host.String())
		}
	}()
	n.open[host] = true
	return true
}

// handler passes on what nodes ask. The cache's own socket for them lets nobody write.
func (n *nodeCache) handler() http.Handler {
	socket := filepath.Join(n.folder, daemon.NodesSocket)
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "registry"}) },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			},
			DisableCompression: true,
			MaxIdleConns:       32, IdleConnTimeout: time.Minute,
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "no image cache runs on this host", http.StatusBadGateway)
		},
	}
}
