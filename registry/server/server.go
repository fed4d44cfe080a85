// Package server is the image cache's HTTP side: the OCI distribution
// specification, version 1.1, for private repositories and for those of
// upstreams. The process that serves makes one Server and a handler per listener.
//
// It must not know how blobs are fetched or kept: pulls ask a Source, pushes a
// store. Who may do what it asks a guard.
package server

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/go-logr/logr"
	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/access"
	"github.com/loam-cloud/loam/registry/store"
)

// Options are what a server is made of.
type Options struct {
	// Store takes what is pushed.
	Store *store.Store
	// Sources answer pulls: by upstream, private repositories under "".
	Sources map[string]Source
	// PrivateHosts are names that private repositories are known by, for clients
	// that say in ?ns= whom they mean.
	PrivateHosts []string
	// Guard decides who may do what; everybody may do everything when it is nil.
	Guard *access.Guard
	// Watch is told of every answer; it may be nil.
	Watch func(Event)
	Log   logr.Logger
}

// Event is an answer, for those who count.
type Event struct {
	// Upstream is whose repository was asked for; empty for private ones.
	Upstream, Operation string
	Status              int
	Bytes               int64
}

// Server answers clients of the image cache.
type Server struct {
	store   *store.Store
	sources map[string]Source
	private map[string]bool
	guard   *access.Guard
	watch   func(Event)
	log     logr.Logger
}

// New makes a server.
func New(o Options) *Server {
	s := &Server{store: o.Store, sources: o.Sources, private: map[string]bool{}, guard: o.Guard, watch: o.Watch, log: o.Log}
	for _, host := range o.PrivateHosts {
		s.private[host] = true
	}
	if s.watch == nil {
		s.watch = func(Event) {}
	}
	return s
}

// Handler answers on one listener: for one upstream, or, when it is empty, for
// private repositories and for every upstream that a request names with ?ns=HOST,
// as containerd does towards mirrors.
func (s *Server) Handler(upstream string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
		seen := &counted{ResponseWriter: w}
		q := &request{server: s, w: seen, r: r, route: parseRoute(r.URL.Path)}
		defer func() {
			s.watch(Event{Upstream: q.repository.Upstream, Operation: q.operation(), Status: seen.status, Bytes: seen.bytes})
		}()
		if missing, err := q.answer(upstream); err != nil {
			s.fail(seen, r, missing, err)
		}
	})
}

// request is one being answered.
type request struct {
	server     *Server
	w          *counted
	r          *http.Request
	route      route
	repository store.Repository
	source     Source
	who        access.Identity
}

var operations = map[kind]string{base: "base", catalog: "catalog", manifests: "manifest", blobs: "blob", uploads: "upload", upload: "upload", tags: "tags", referrers: "referrers"}

func (q *request) operation() string {
	name := operations[q.route.kind]
	if name == "" {
		return "other"
	}
	switch q.r.Method {
	case http.MethodGet, http.MethodHead:
		return strings.ToLower(q.r.Method) + "-" + name
	case http.MethodDelete:
		return "delete-" + name
	}
	return "push-" + name
}

// answer does what is asked, or returns the error and, for fault.Missing, its code.
func (q *request) answer(upstream string) (missing string, err error) {
	if err := q.enter(upstream); err != nil {
		return codeNameUnknown, err
	}
	read := q.r.Method == http.MethodGet || q.r.Method == http.MethodHead
	switch k := q.route.kind; {
	case k == base && read:
		return "", q.base()
	case k == catalog && read:
		return codeNameUnknown, q.catalog()
	case k == tags && read:
		return codeNameUnknown, q.tags()
	case k == referrers && read:
		return codeNameUnknown, q.referrers()
	case k == manifests && read:
		return codeManifestUnknown, q.pullManifest()
	case k == manifests && q.r.Method == http.MethodPut:
		return codeManifestUnknown, q.pushManifest()
	case k == manifests && q.r.Method == http.MethodDelete:
		return codeManifestUnknown, q.deleteManifest()
	case k == blobs && read:
		return codeBlobUnknown, q.pullBlob()
	case k == blobs && q.r.Method == http.MethodDelete:
		return codeBlobUnknown, q.deleteBlob()
	case k == uploads && q.r.Method == http.MethodPost:
		return codeUploadUnknown, q.startUpload()
	case k == upload:
		return codeUploadUnknown, q.continueUpload()
	case k == unknown:
		return "", refuse(http.StatusNotFound, codeUnsupported, "there is nothing under %s", q.r.URL.Path)
	}
	return "", q.unsupported()
}

func (q *request) unsupported() error {
	return refuse(http.StatusMethodNotAllowed, codeUnsupported, "%s is not possible for %s", q.r.Method, q.r.URL.Path)
}

// enter finds out which repository is meant, and whether the client may do there
// what it asks.
func (q *request) enter(upstream string) error {
	var err error
	if q.who, err = q.server.guard.Identify(q.r); err != nil {
		return q.challenge(err)
	}
	if upstream, err = q.server.choose(upstream, q.r.URL.Query().Get("ns")); err != nil {
		return err
	}
	name := q.route.name
	if q.route.kind == base || q.route.kind == catalog || q.route.kind == unknown {
		q.repository.Upstream = upstream
	} else if !validName(name) {
		return refuse(http.StatusBadRequest, codeNameInvalid, "%q is not a repository's name", name)
	}
	if upstream == "docker.io" && name != "" && !strings.Contains(name, "/") {
		// What Docker Hub itself calls its own images.
		name = "library/" + name
	}
	q.repository = store.Repository{Upstream: upstream, Name: name}
	q.source = q.server.sources[upstream]
	return q.admit()
}

// admit asks the guard, and keeps what is cached from being written.
func (q *request) admit() error {
	action := access.Pull
	switch q.r.Method {
	case http.MethodGet, http.MethodHead:
		if q.route.kind == upload {
			action = access.Push
		}
	case http.MethodDelete:
		action = access.Delete
		if q.route.kind == upload {
			action = access.Push
		}
	default:
		action = access.Push
	}
	if q.route.kind == base {
		// Docker and skopeo log in when this is refused, or never: who may push has to
		// be asked here, whatever the others may without.
		asked := q.server.guard != nil && q.who.Anonymous() && !q.repository.Cached()
		if asked || !q.who.MayAny() {
			return q.challenge(errors.New("log in first"))
		}
		return nil
	}
	if q.route.kind != catalog && q.route.kind != unknown && !q.who.May(action, q.repository.String()) {
		err := errors.New(q.who.Name() + " may not " + string(action) + " " + q.repository.String())
		if q.who.Anonymous() {
			return q.challenge(err)
		}
		return fault.Wrap(fault.Denied, err)
	}
	if q.repository.Cached() && action != access.Pull {
		return refuse(http.StatusMethodNotAllowed, codeUnsupported, "%s holds what %s has, and cannot be written", q.repository, q.repository.Upstream)
	}
	return nil
}

// challenge asks the client to log in.
func (q *request) challenge(err error) error {
	if fault.KindOf(err) == fault.Transient {
		return err
	}
	q.w.Header().Set("WWW-Authenticate", `Basic realm="Loam image cache", charset="UTF-8"`)
	return refuse(http.StatusUnauthorized, codeUnauthorized, "%w", err)
}

// choose finds the upstream that a request means.
func (s *Server) choose(listener, ns string) (string, error) {
	switch {
	case ns == "":
		ns = listener
	case listener != "" && ns != listener:
		// A listener of its own may be open to others than those who may push.
		return "", refuse(http.StatusNotFound, codeNameUnknown, "%q is asked for where only %s is cached", ns, listener)
	case s.private[ns]:
		ns = ""
	}
	if _, ok := s.sources[ns]; ok {
		return ns, nil
	}
	if ns == "" {
		return "", refuse(http.StatusNotFound, codeNameUnknown, "there are no private repositories here")
	}
	return "", refuse(http.StatusNotFound, codeNameUnknown, "%q is none of the registries that are cached here", ns)
}

// base: "Determining Support".
func (q *request) base() error {
	return q.json("application/json", struct{}{})
}

// digest reads the digest that the path ends in.
func (q *request) digest() (digest.Digest, error) {
	d := digest.Digest(q.route.reference)
	if err := store.CheckDigest(d); err != nil {
		return "", refuse(http.StatusBadRequest, codeDigestInvalid, "%w", err)
	}
	return d, nil
}

// context ends when the client goes.
func (q *request) context() context.Context { return q.r.Context() }
