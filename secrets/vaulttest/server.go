// Package vaulttest is a server that answers as Vault's HTTP API is documented to,
// as far as Loam asks: KV version 2, logins with AppRole and with Kubernetes,
// tokens that expire and are renewed, seals, standbys. Tests of what reads secrets
// use it.
//
// It must not know who asks.
package vaulttest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Server is the server; its methods may be called while it runs.
type Server struct {
	// Clock decides when tokens expire.
	Clock clock.PassiveClock
	// Life and MaxLife are those of tokens.
	Life, MaxLife time.Duration
	// Namespace is the one that it has; requests for others find nothing.
	Namespace string

	mu      sync.Mutex
	mounts  map[string]map[string][]version
	tokens  map[string]*token
	proofs  map[string]string
	denied  map[string]bool
	sealed  bool
	active  string
	faults  []http.HandlerFunc
	logins  int
	renewed int
}

type version struct {
	data               map[string]any
	deleted, destroyed bool
}

type token struct{ made, expires time.Time }

// New makes a server with an engine at "secret".
func New(c clock.PassiveClock) *Server {
	return &Server{Clock: c, Life: time.Hour, MaxLife: 24 * time.Hour,
		mounts: map[string]map[string][]version{"secret": {}}, tokens: map[string]*token{}, proofs: map[string]string{}, denied: map[string]bool{}}
}

// Mount adds an engine.
func (s *Server) Mount(name string) { s.locked(func() { s.mounts[name] = map[string][]version{} }) }

// Put adds a version of a secret.
func (s *Server) Put(mount, path string, data map[string]any) {
	s.locked(func() { s.mounts[mount][path] = append(s.mounts[mount][path], version{data: data}) })
}

// Delete marks a version deleted, or destroys it.
func (s *Server) Delete(mount, path string, number int, destroy bool) {
	s.locked(func() {
		v := &s.mounts[mount][path][number-1]
		v.deleted, v.destroyed = true, destroy
	})
}

// Proof lets those log in at auth/<mount> who show it: a secret id or a JWT.
func (s *Server) Proof(mount, role, proof string) {
	s.locked(func() { s.proofs[mount+" "+role+" "+proof] = mount })
}

// Forget takes a proof away.
func (s *Server) Forget(mount, role, proof string) {
	s.locked(func() { delete(s.proofs, mount+" "+role+" "+proof) })
}

// Issue makes a token.
func (s *Server) Issue(name string) {
	s.locked(func() {
		now := s.Clock.Now()
		s.tokens[name] = &token{made: now, expires: now.Add(s.Life)}
	})
}

// Revoke takes all tokens away.
func (s *Server) Revoke() { s.locked(func() { clear(s.tokens) }) }

// Deny lets no policy allow a path: mount/data/path.
func (s *Server) Deny(path string) { s.locked(func() { s.denied[path] = true }) }

// Seal seals or unseals.
func (s *Server) Seal(sealed bool) { s.locked(func() { s.sealed = sealed }) }

// Standby makes it lead all requests to another server; an empty URL makes it the
// active one.
func (s *Server) Standby(active string) { s.locked(func() { s.active = active }) }

// Next answers the next requests, one each.
func (s *Server) Next(faults ...http.HandlerFunc) {
	s.locked(func() { s.faults = append(s.faults, faults...) })
}

// Counts returns how many logins and renewals there were.
func (s *Server) Counts() (logins, renewals int) {
	s.locked(func() { logins, renewals = s.logins, s.renewed })
	return
}

func (s *Server) locked(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// Cut is a fault: the connection ends in the middle of an answer.
func Cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"data": {"data": {"pass`)) // it is cut anyway
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// Hang is a fault: the connection ends before an answer.
func Hang(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if len(s.faults) > 0 {
		next := s.faults[0]
		s.faults = s.faults[1:]
		s.mu.Unlock()
		next(w, r)
		return
	}
	defer s.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	switch {
	case s.sealed:
		fail(w, http.StatusServiceUnavailable, "Vault is sealed")
	case s.active != "":
		http.Redirect(w, r, s.active+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	case r.Header.Get("X-Vault-Namespace") != s.Namespace:
		fail(w, http.StatusNotFound, "no handler for route \""+path+"\". route entry not found.")
	case strings.HasPrefix(path, "auth/") && strings.HasSuffix(path, "/login"):
		s.login(w, r, strings.TrimSuffix(strings.TrimPrefix(path, "auth/"), "/login"))
	default:
		s.inside(w, r, path)
	}
}

func (s *Server) login(w http.ResponseWriter, r *http.Request, mount string) {
	var proof map[string]string
	if err := json.NewDecoder(r.Body).Decode(&proof); err != nil {
		fail(w, http.StatusBadRequest, "error parsing JSON")
		return
	}
	shown := proof["role_id"] + proof["role"] + " " + proof["secret_id"] + proof["jwt"]
	if _, ok := s.proofs[mount+" "+shown]; !ok {
		if mount == "approle" {
			fail(w, http.StatusBadRequest, "invalid role or secret ID")
		} else {
			fail(w, http.StatusForbidden, "permission denied")
		}
		return
	}
	s.logins++
	name := "hvs.made" + strconv.Itoa(s.logins)
	now := s.Clock.Now()
	s.tokens[name] = &token{made: now, expires: now.Add(s.Life)}
	answer(w, http.StatusOK, map[string]any{"auth": map[string]any{"client_token": name, "lease_duration": int(s.Life.Seconds()), "renewable": true}})
}

func (s *Server) inside(w http.ResponseWriter, r *http.Request, path string) {
	held := s.tokens[r.Header.Get("X-Vault-Token")]
	now := s.Clock.Now()
	if held == nil || !now.Before(held.expires) || s.denied[path] {
		fail(w, http.StatusForbidden, "permission denied")
		return
	}
	switch path {
	case "auth/token/lookup-self":
		answer(w, http.StatusOK, map[string]any{"data": map[string]any{"ttl": int(held.expires.Sub(now).Seconds()), "renewable": true}})
		return
	case "auth/token/renew-self":
		s.renewed++
		held.expires = now.Add(s.Life)
		if last := held.made.Add(s.MaxLife); held.expires.After(last) {
			held.expires = last
		}
		answer(w, http.StatusOK, map[string]any{"auth": map[string]any{
			"client_token": r.Header.Get("X-Vault-Token"), "lease_duration": int(held.expires.Sub(now).Seconds()), "renewable": true,
		}})
		return
	}
	mount, name, ok := strings.Cut(path, "/data/")
	secrets := s.mounts[mount]
	if !ok || secrets == nil {
		fail(w, http.StatusNotFound, "no handler for route \""+path+"\". route entry not found.")
		return
	}
	versions := secrets[name]
	number := len(versions)
	if asked := r.URL.Query().Get("version"); asked != "" {
		number, _ = strconv.Atoi(asked) // a wrong one is none
	}
	if number < 1 || number > len(versions) {
		answer(w, http.StatusNotFound, map[string]any{"errors": []string{}})
		return
	}
	s.show(w, number, versions[number-1])
}

func (s *Server) show(w http.ResponseWriter, number int, v version) {
	metadata := map[string]any{"version": number, "deletion_time": "", "destroyed": v.destroyed}
	status, data := http.StatusOK, v.data
	if v.deleted {
		status, data = http.StatusNotFound, nil
		if !v.destroyed {
			metadata["deletion_time"] = s.Clock.Now().UTC().Format(time.RFC3339)
		}
	}
	answer(w, status, map[string]any{"data": map[string]any{"data": data, "metadata": metadata}})
}

func fail(w http.ResponseWriter, status int, text string) {
	answer(w, status, map[string]any{"errors": []string{text}})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}
