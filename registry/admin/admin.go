// Package admin is the image cache's side for those who look after it: metrics,
// its state as JSON, and housekeeping by hand. A console, Prometheus and the
// command line use it; the wiring serves it on a listener, and on a socket in the
// cache's folder for its owner.
//
// It must not change anything but through the keeper.
package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/access"
	"github.com/loam-cloud/loam/registry/collect"
	"github.com/loam-cloud/loam/registry/store"
)

// Upstream is how a cached registry does, and what was asked of its cache since
// the process began.
type Upstream struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Offline bool   `json:"offline,omitempty"`
	// Up says that what was last asked of it was answered.
	Up          bool      `json:"up"`
	Failure     string    `json:"failure,omitempty"`
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	LastFailure time.Time `json:"lastFailure,omitzero"`
	PausedUntil time.Time `json:"pausedUntil,omitzero"`
	// Hits were answered from the folder, Misses needed the upstream, Joined of them
	// shared a download.
	Hits   int64 `json:"hits"`
	Misses int64 `json:"misses"`
	Joined int64 `json:"joined"`
	// HitRatio is hits of all, 0 to 1; 0 when nothing was asked.
	HitRatio float64 `json:"hitRatio"`
	Stale    int64   `json:"stale"`
	Resumed  int64   `json:"resumed"`
	// Wrong downloads brought other bytes than their digest says.
	Wrong   int64 `json:"wrong"`
	Running int64 `json:"running"`
	// Requests, Failures and Bytes are what went to and came from it.
	Requests int64 `json:"requests"`
	Failures int64 `json:"failures"`
	Bytes    int64 `json:"bytes"`
}

// Options are what an admin side is made of.
type Options struct {
	Store  *store.Store
	Keeper *collect.Keeper
	// Upstreams asks how all upstreams do.
	Upstreams func() []Upstream
	// Addresses says where the cache listens, and what for; it may be nil.
	Addresses func() map[string]string
	// Guard decides who may see the state and do housekeeping: those who are granted
	// admin on "*". Everybody may when it is nil.
	Guard   *access.Guard
	Metrics *Metrics
	Log     logr.Logger
}

type admin struct{ Options }

// Handler answers under /metrics, /healthz and /api/v1/.
func Handler(o Options) http.Handler {
	a := admin{o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		// Who asks may have gone.
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics.registry, promhttp.HandlerOpts{}))
	a.get(mux, "status", a.status)
	a.get(mux, "repositories", a.repositories)
	a.get(mux, "tags", a.tags)
	a.get(mux, "check", func(r *http.Request) (any, error) { return a.Keeper.Check(r.Context()) })
	post(a, mux, "gc", a.Keeper.CollectNow)
	post(a, mux, "retention", a.Keeper.RetainNow)
	post(a, mux, "scrub", a.Keeper.ScrubNow)
	return mux
}

func (a admin) get(mux *http.ServeMux, name string, do func(*http.Request) (any, error)) {
	mux.HandleFunc("GET /api/v1/"+name, a.guarded(do))
}

// post is work by hand; ?dryRun=true only says what it would do.
func post[T any](a admin, mux *http.ServeMux, name string, do func(context.Context, bool) (T, error)) {
	mux.HandleFunc("POST /api/v1/"+name, a.guarded(func(r *http.Request) (any, error) {
		dryRun := false
		if text := r.URL.Query().Get("dryRun"); text != "" {
			var err error
			if dryRun, err = strconv.ParseBool(text); err != nil {
				return nil, fault.New(fault.Invalid, "dryRun is %q, must be true or false", text)
			}
		}
		return do(r.Context(), dryRun)
	}))
}

// Problem is the body of an answer that is an error.
type Problem struct {
	Error string `json:"error"`
}

func (a admin) guarded(do func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := a.Guard.Identify(r)
		switch {
		case err != nil || who.Anonymous() && !who.May(access.Admin, everything):
			w.Header().Set("WWW-Authenticate", `Basic realm="Loam image cache", charset="UTF-8"`)
			a.answer(w, http.StatusUnauthorized, Problem{"log in as somebody who is granted admin"})
			return
		case !who.May(access.Admin, everything):
			a.answer(w, http.StatusForbidden, Problem{who.Name() + ` is not granted admin on "*"`})
			return
		}
		content, err := do(r)
		if err != nil {
			a.answer(w, status(err), Problem{err.Error()})
			return
		}
		a.answer(w, http.StatusOK, content)
	}
}

// everything is what who may act on all repositories is granted; no repository
// has this name.
const everything = "*"

func status(err error) int {
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Missing:
		return http.StatusNotFound
	case fault.Exhausted:
		return http.StatusInsufficientStorage
	case fault.Waiting, fault.Transient:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func (a admin) answer(w http.ResponseWriter, status int, content any) {
	raw, err := json.Marshal(content)
	if err != nil {
		a.Log.Error(err, "Could not write an answer down")
		status, raw = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written down"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// Who asks may have gone.
	_, _ = w.Write(append(raw, '\n'))
}
