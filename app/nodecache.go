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

	mu   sync.Mutex
	port uint16
	open map[netip.Addr]bool
}

// portFile keeps the port, which machines remember for as long as they live.
const portFile = "image-cache-port"

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
	if !n.open[host] {
		opened, err := n.listen(host)
		if err != nil || !opened {
			return netip.AddrPort{}, err
		}
	}
	return netip.AddrPortFrom(host, n.port), nil
}

func (n *nodeCache) listen(host netip.Addr) (bool, error) {
	path := filepath.Join(n.dataDir, portFile)
	if text, err := os.ReadFile(path); err == nil {
		port, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 16)
		if err != nil {
			return false, fmt.Errorf("the port of the image cache in %s: %w", path, err)
		}
		n.port = uint16(port)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(host, n.port).String())
	if err != nil {
		n.log.Info("Nodes do not find the image cache", "address", host.String(), "problem", err.Error())
		return false, nil
	}
	if n.port == 0 {
		port := listener.Addr().(*net.TCPAddr).AddrPort().Port()
		if err := os.WriteFile(path, []byte(strconv.Itoa(int(port))+"\n"), 0o600); err != nil {
			return false, errors.Join(err, listener.Close())
		}
		n.port = port
	}
	server := &http.Server{Handler: n.handler(), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(n.ctx, func() { _ = server.Close() })
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error(err, "Nodes find the image cache no longer", "address", host.String())
		}
	}()
	n.open[host] = true
	return true, nil
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
