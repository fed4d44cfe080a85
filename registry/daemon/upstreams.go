package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/admin"
	"github.com/loam-cloud/loam/registry/config"
	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/through"
	"github.com/loam-cloud/loam/registry/upstream"
)

// caches are those of all upstreams, by name.
type caches map[string]*through.Cache

func openCaches(c config.Configuration, s *store.Store, o Options) (caches, error) {
	all := caches{}
	for _, u := range c.Upstreams {
		client, err := openUpstream(u, o)
		if err != nil {
			all.close()
			return nil, err
		}
		all[u.Name] = through.New(s, client, through.Options{TTL: u.TTL.Duration, Patience: u.Patience.Duration, Offline: u.Offline, StopAbandoned: u.StopAbandoned, Log: o.Log})
	}
	return all, nil
}

func openUpstream(u config.Upstream, options Options) (*upstream.Client, error) {
	o := upstream.Options{Name: u.Name, URL: u.URL, Stall: u.Stall.Duration}
	switch c := u.Credentials; {
	case c == nil:
	case c.Environment != nil:
		o.Credentials = upstream.CredentialsFromEnvironment(c.Environment.User, c.Environment.Password)
	case c.Vault != nil:
		o.Credentials = options.Vault(*c.Vault)
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

// report asks how all upstreams do.
func (c caches) report(configuration config.Configuration) func() []admin.Upstream {
	return func() []admin.Upstream {
		all := make([]admin.Upstream, 0, len(configuration.Upstreams))
		for _, u := range configuration.Upstreams {
			cache := c[u.Name]
			health, traffic := cache.Health()
			stats := cache.Stats()
			one := admin.Upstream{
				Name: u.Name, URL: u.URL, Offline: u.Offline,
				Up: !health.Down(), Failure: health.Failure, LastSuccess: health.LastSuccess, LastFailure: health.LastFailure, PausedUntil: health.PausedUntil,
				Hits: stats.Hits, Misses: stats.Misses, Joined: stats.Joined, Stale: stats.Stale, Resumed: stats.Resumed, Wrong: stats.Wrong, Running: stats.Running,
				Requests: traffic.Requests, Failures: traffic.Failures, Bytes: traffic.Bytes,
			}
			if asked := stats.Hits + stats.Misses; asked > 0 {
				one.HitRatio = float64(stats.Hits) / float64(asked)
			}
			all = append(all, one)
		}
		return all
	}
}

// fetcher brings back what the scrub found broken.
type fetcher struct {
	store  *store.Store
	caches caches
}

// Refetch implements collect.Fetcher.
func (f fetcher) Refetch(ctx context.Context, r store.Repository, d digest.Digest) error {
	cache, ok := f.caches[r.Upstream]
	if !ok {
		return fault.New(fault.Missing, "%s is not of an upstream that is cached", r)
	}
	manifest, err := f.store.IsManifest(r, d)
	if err != nil {
		return err
	}
	if manifest {
		_, err = cache.Manifest(ctx, r, d.String())
		return err
	}
	return cache.Refetch(ctx, r, d)
}
