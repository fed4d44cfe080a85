package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"

	"github.com/go-logr/logr"
	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/access"
	"github.com/loam-cloud/loam/registry/config"
	"github.com/loam-cloud/loam/registry/listen"
	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/through"
	"github.com/loam-cloud/loam/registry/upstream"
)

// Registry runs the image cache until the context ends. The configuration has its
// defaults and no problems. ready is called once, with the addresses in the order
// of doors, when all of them are open; it may be nil.
//
// Faults: Invalid for what the user has to change before it can start, Waiting
// when another process has the folder.
func Registry(ctx context.Context, c config.Configuration, out io.Writer, ready func()) (err error) {
	log := newLogger(out).WithName("registry")
	s, err := store.Open(c.DataDir, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	caches, err := openCaches(c, s, log)
	if err != nil {
		return err
	}
	defer caches.close()
	guard, err := openGuard(c, log)
	if err != nil {
		return err
	}
	srv := server.New(server.Options{
		Store: s, Sources: caches.sources(s), PrivateHosts: c.Hosts, Guard: guard, Log: log,
	})
	doors := []listen.Door{{Name: "private repositories and ?ns=", Address: c.Listen, Handler: srv.Handler("")}}
	for _, u := range c.Upstreams {
		if u.Listen != "" {
			doors = append(doors, listen.Door{Name: u.Name, Address: u.Listen, Handler: srv.Handler(u.Name)})
		}
	}
	options := listen.Options{Log: log}
	if c.TLS != nil {
		options.CertFile, options.KeyFile = c.TLS.CertFile, c.TLS.KeyFile
	}
	open, err := listen.Open(doors, options)
	if err != nil {
		return err
	}
	if ready != nil {
		ready()
	}
	return open.Serve(ctx)
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

// caches are those of all upstreams, by name.
type caches map[string]*through.Cache

func openCaches(c config.Configuration, s *store.Store, log logr.Logger) (caches, error) {
	all := caches{}
	for _, u := range c.Upstreams {
		client, err := openUpstream(u)
		if err != nil {
			all.close()
			return nil, err
		}
		all[u.Name] = through.New(s, client, through.Options{TTL: u.TTL.Duration, Patience: u.Patience.Duration, Offline: u.Offline, Log: log})
	}
	return all, nil
}

func openUpstream(u config.Upstream) (*upstream.Client, error) {
	o := upstream.Options{Name: u.Name, URL: u.URL, Stall: u.Stall.Duration}
	switch c := u.Credentials; {
	case c == nil:
	case c.Environment != nil:
		o.Credentials = upstream.CredentialsFromEnvironment(c.Environment.User, c.Environment.Password)
	default:
		o.Credentials = upstream.CredentialsFromFile(c.File, u.Name)
	}
	if u.CAFile != "" {
		pem, err := os.ReadFile(u.CAFile)
		if err != nil {
			return nil, fault.New(fault.Invalid, "upstream %s: caFile: %w", u.Name, err)
		}
		roots, err := x509.SystemCertPool()
		if err != nil {
			return nil, err
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Invalid, "upstream %s: caFile: %s holds no certificate", u.Name, u.CAFile)
		}
		transport := upstream.Transport()
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		o.Transport = transport
	}
	return upstream.New(o)
}

func (c caches) close() {
	for _, cache := range c {
		cache.Close()
	}
}

// sources are what the server answers from.
func (c caches) sources(s *store.Store) map[string]server.Source {
	sources := map[string]server.Source{"": server.Private{Store: s}}
	for name, cache := range c {
		sources[name] = cachedSource{cache}
	}
	return sources
}

// cachedSource is a cache as the server wants it.
type cachedSource struct{ *through.Cache }

// Manifest implements server.Source.
func (c cachedSource) Manifest(ctx context.Context, r store.Repository, reference string) (server.Manifest, error) {
	m, err := c.Cache.Manifest(ctx, r, reference)
	return server.Manifest(m), err
}

// Refetch brings back a blob that the scrub found broken.
func (c caches) Refetch(ctx context.Context, r store.Repository, d digest.Digest) error {
	cache, ok := c[r.Upstream]
	if !ok {
		return fault.New(fault.Missing, "%s is not of an upstream that is cached", r)
	}
	return cache.Refetch(ctx, r, d)
}
