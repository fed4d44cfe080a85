// Package daemon is the image cache as one process runs it: it makes store,
// upstreams, server, keeper and listeners of a configuration, and serves until it
// is told to stop. The wiring calls it, for `loam registry serve` and for a garden.
//
// It must not read a configuration's file, and knows no clusters.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/registry/access"
	"github.com/loam-cloud/loam/registry/admin"
	"github.com/loam-cloud/loam/registry/collect"
	"github.com/loam-cloud/loam/registry/config"
	"github.com/loam-cloud/loam/registry/listen"
	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/upstream"
)

// Sockets that a running cache has in its folder.
const (
	// ownerSocket is for who owns the folder, to look after the cache.
	ownerSocket = "admin.sock"
	// NodesSocket is for the nodes of this host's clusters, who only read.
	NodesSocket = "nodes.sock"
)

// Private is what the listener of private repositories, and of all others by
// ?ns=, is called among the addresses of a cache.
const Private = "private repositories and ?ns="

// Options say how a cache is run.
type Options struct {
	// Yield leaves out addresses that somebody else has, and says so.
	Yield bool
	// Vault makes what reads an upstream's credentials from there; it may be nil where
	// no upstream has any.
	Vault func(config.VaultCredentials) upstream.Credentials
	// Ready is called once, when all listeners are open; it may be nil.
	Ready func()
	Log   logr.Logger
}

// Run serves until the context ends. The configuration has its defaults and no
// problems.
//
// Faults: Invalid for what the user has to change before it can start, Waiting
// when another process has the folder.
func Run(ctx context.Context, c config.Configuration, o Options) (err error) {
	s, err := store.Open(c.DataDir, store.Options{})
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("%w: an image cache runs there, perhaps that of a garden", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	caches, err := openCaches(c, s, o)
	if err != nil {
		return err
	}
	defer caches.close()
	guard, err := openGuard(c, o.Log)
	if err != nil {
		return err
	}
	keeper := &collect.Keeper{Collector: collect.Collector{Store: s, Clock: clock.RealClock{}, Log: o.Log}, Plan: plan(c, fetcher{s, caches})}
	open, err := openDoors(c, o, s, caches, keeper, guard)
	if err != nil {
		return err
	}
	keeping, stop := context.WithCancel(ctx)
	var kept sync.WaitGroup
	kept.Go(func() { keeper.Run(keeping) })
	defer kept.Wait()
	defer stop()
	if o.Ready != nil {
		o.Ready()
	}
	return open.Serve(ctx)
}

// openDoors opens the listeners of everybody who comes.
func openDoors(c config.Configuration, o Options, s *store.Store, caches caches, keeper *collect.Keeper, guard *access.Guard) (*listen.Doors, error) {
	upstreams := caches.report(c)
	metrics := admin.NewMetrics(s, upstreams)
	srv := server.New(server.Options{
		Store: s, Sources: caches.sources(s), PrivateHosts: append(localNames(c.Listen), c.Hosts...), Guard: guard, Watch: metrics.Watch, Log: o.Log,
	})
	var open *listen.Doors
	looking := admin.Options{
		Store: s, Keeper: keeper, Upstreams: upstreams, Guard: guard, Metrics: metrics, Log: o.Log,
		Addresses: func() map[string]string { return open.Addresses() },
	}
	doors := []listen.Door{
		{Name: Private, Address: c.Listen, Handler: srv.Handler("")},
		{Name: "metrics and state", Address: c.AdminListen, Handler: admin.Handler(looking)},
	}
	for _, u := range c.Upstreams {
		if u.Listen != "" {
			doors = append(doors, listen.Door{Name: u.Name, Address: u.Listen, Handler: srv.Handler(u.Name)})
		}
	}
	// The folder's owner looks after the cache without logging in.
	looking.Guard = nil
	doors = append(doors,
		listen.Door{Name: "the folder's owner", Socket: filepath.Join(c.DataDir, ownerSocket), Handler: admin.Handler(looking)},
		listen.Door{Name: "nodes of this host's clusters", Socket: filepath.Join(c.DataDir, NodesSocket), Handler: ReadOnly(srv.Handler(""))})
	options := listen.Options{Yield: o.Yield, Log: o.Log}
	if c.TLS != nil {
		options.CertFile, options.KeyFile = c.TLS.CertFile, c.TLS.KeyFile
	}
	var err error
	open, err = listen.Open(doors, options)
	return open, err
}

// localNames are those by which images are named that are pushed on this host.
func localNames(address string) []string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	return []string{net.JoinHostPort("localhost", port), net.JoinHostPort("127.0.0.1", port)}
}

// ReadOnly refuses all that is not reading: whoever runs in a cluster reaches what
// its nodes reach.
func ReadOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "nodes only read", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func openGuard(c config.Configuration, log logr.Logger) (*access.Guard, error) {
	if c.Access == nil {
		// Without users everybody may do everything: the configuration lets only
		// this host reach such a cache.
		return nil, nil
	}
	grants := make([]access.Grant, len(c.Access.Grants))
	for i, g := range c.Access.Grants {
		grants[i] = access.Grant(g)
	}
	return access.NewGuard(access.Options{HtpasswdFile: c.Access.HtpasswdFile, TokensFile: c.Access.TokensFile, Grants: grants, Log: log})
}
