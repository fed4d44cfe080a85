package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-logr/logr"
	"github.com/opencontainers/go-digest"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/access"
	"github.com/loam-cloud/loam/registry/admin"
	"github.com/loam-cloud/loam/registry/collect"
	"github.com/loam-cloud/loam/registry/config"
	"github.com/loam-cloud/loam/registry/listen"
	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/through"
	"github.com/loam-cloud/loam/registry/upstream"
	"github.com/loam-cloud/loam/secrets/vault"
)

// RegistrySocket is where, in its folder, a running image cache listens for its
// owner.
const RegistrySocket = "admin.sock"

// NodesSocket is where, in its folder, it listens for the nodes of this host's
// clusters, to which the garden leads them.
const NodesSocket = "nodes.sock"

// Registry runs the image cache until the context ends. The configuration has its
// defaults and no problems. ready is called once, when all listeners are open; it
// may be nil.
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
	keeping, stop := context.WithCancel(logr.NewContext(ctx, log))
	var kept sync.WaitGroup
	defer kept.Wait()
	defer stop()
	secrets, err := openVault(c.Vault)
	if err != nil {
		return err
	}
	if secrets != nil {
		kept.Go(func() { secrets.Keep(keeping) })
	}
	caches, err := openCaches(c, s, secrets, log)
	if err != nil {
		return err
	}
	defer caches.close()
	guard, err := openGuard(c, log)
	if err != nil {
		return err
	}
	keeper := &collect.Keeper{Collector: collect.Collector{Store: s, Clock: clock.RealClock{}, Log: log}, Plan: RegistryPlan(c, fetcher{s, caches})}
	upstreams := caches.report(c)
	metrics := admin.NewMetrics(s, upstreams)
	srv := server.New(server.Options{
		Store: s, Sources: caches.sources(s), PrivateHosts: append(localNames(c.Listen), c.Hosts...), Guard: guard, Watch: metrics.Watch, Log: log,
	})
	looking := admin.Options{Store: s, Keeper: keeper, Upstreams: upstreams, Guard: guard, Metrics: metrics, Log: log}
	doors := []listen.Door{
		{Name: "private repositories and ?ns=", Address: c.Listen, Handler: srv.Handler("")},
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
		listen.Door{Name: "the folder's owner", Socket: filepath.Join(c.DataDir, RegistrySocket), Handler: admin.Handler(looking)},
		listen.Door{Name: "nodes of this host's clusters", Socket: filepath.Join(c.DataDir, NodesSocket), Handler: readOnly(srv.Handler(""))})
	options := listen.Options{Log: log}
	if c.TLS != nil {
		options.CertFile, options.KeyFile = c.TLS.CertFile, c.TLS.KeyFile
	}
	open, err := listen.Open(doors, options)
	if err != nil {
		return err
	}
	kept.Go(func() { keeper.Run(keeping) })
	if ready != nil {
		ready()
	}
	return open.Serve(ctx)
}

// RegistryPlan is the housekeeping that a configuration wants; fetch may be nil.
func RegistryPlan(c config.Configuration, fetch collect.Fetcher) collect.Plan {
	plan := collect.Plan{
		Interval: c.Collection.Interval.Duration,
		Garbage: collect.Garbage{
			Grace: c.Collection.Grace.Duration, Unfinished: c.Collection.Unfinished.Duration,
			Untagged: func(string) bool { return c.Collection.Untagged },
		},
		ScrubInterval: c.Scrub.Interval.Duration,
		Reading:       collect.Reading{Rate: c.Scrub.Rate.Value(), Fetcher: fetch},
	}
	if c.Cap.Size != nil {
		plan.Cap = c.Cap.Size.Value()
	}
	for _, r := range c.Retention {
		rule := collect.Rule{Repositories: r.Repositories, Count: -1, Age: r.Age.Duration, Keep: r.Keep, Delay: r.Delay.Duration}
		if r.Count != nil {
			rule.Count = *r.Count
		}
		plan.Rules = append(plan.Rules, rule)
	}
	return plan
}

// Caretaker looks after an image cache: one that runs, or a folder.
type Caretaker interface {
	Status(ctx context.Context) (admin.Status, error)
	Check(ctx context.Context) (collect.CheckReport, error)
	CollectNow(ctx context.Context, dryRun bool) (collect.GarbageReport, error)
	RetainNow(ctx context.Context, dryRun bool) (collect.RetentionReport, error)
	ScrubNow(ctx context.Context, dryRun bool) (collect.ScrubReport, error)
	Close() error
}

// RegistryCaretaker looks after the image cache of a configuration: through the
// process that runs it, with that one's configuration, or on its folder when none
// does. Nothing is fetched then.
func RegistryCaretaker(ctx context.Context, c config.Configuration) (Caretaker, error) {
	client, err := admin.Dial(ctx, filepath.Join(c.DataDir, RegistrySocket))
	if err == nil {
		return client, nil
	}
	if !errors.Is(err, fault.Missing) {
		return nil, err
	}
	if _, err := os.Stat(c.DataDir); err != nil {
		return nil, fault.New(fault.Invalid, "there is no image cache: %w", err)
	}
	s, err := store.Open(c.DataDir, store.Options{})
	if err != nil {
		return nil, err
	}
	return folder{&collect.Keeper{Collector: collect.Collector{Store: s, Clock: clock.RealClock{}, Log: logr.Discard()}, Plan: RegistryPlan(c, nil)}}, nil
}

// folder is an image cache that does not run.
type folder struct{ *collect.Keeper }

// Status implements Caretaker.
func (f folder) Status(context.Context) (admin.Status, error) { return admin.FolderStatus(f.Keeper) }

// Close implements Caretaker.
func (f folder) Close() error { return f.Store.Close() }

// localNames are those by which images are named that are pushed on this host.
func localNames(address string) []string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	return []string{net.JoinHostPort("localhost", port), net.JoinHostPort("127.0.0.1", port)}
}

// readOnly refuses all that is not reading: whoever runs in a cluster reaches what
// its nodes reach.
func readOnly(next http.Handler) http.Handler {
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

// caches are those of all upstreams, by name.
type caches map[string]*through.Cache

func openCaches(c config.Configuration, s *store.Store, secrets *vault.Client, log logr.Logger) (caches, error) {
	all := caches{}
	for _, u := range c.Upstreams {
		client, err := openUpstream(u, secrets)
		if err != nil {
			all.close()
			return nil, err
		}
		all[u.Name] = through.New(s, client, through.Options{TTL: u.TTL.Duration, Patience: u.Patience.Duration, Offline: u.Offline, Log: log})
	}
	return all, nil
}

func openUpstream(u config.Upstream, secrets *vault.Client) (*upstream.Client, error) {
	o := upstream.Options{Name: u.Name, URL: u.URL, Stall: u.Stall.Duration}
	switch c := u.Credentials; {
	case c == nil:
	case c.Environment != nil:
		o.Credentials = upstream.CredentialsFromEnvironment(c.Environment.User, c.Environment.Password)
	case c.Vault != nil:
		o.Credentials = vaultCredentials(secrets, *c.Vault)
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
