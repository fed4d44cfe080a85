package vault_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	clocktesting "k8s.io/utils/clock/testing"

	spec "github.com/loam-cloud/loam/api/vault"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/secrets/vault"
	"github.com/loam-cloud/loam/secrets/vaulttest"
)

const password = "correct horse"

var hub = spec.Reference{Path: "registries/hub"}

// rig is a server with one secret, registries/hub, and time that stands still.
type rig struct {
	*vaulttest.Server
	t     *testing.T
	clock *clocktesting.FakeClock
	http  *httptest.Server
	dir   string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC))
	r := &rig{Server: vaulttest.New(clock), t: t, clock: clock, dir: t.TempDir()}
	r.http = httptest.NewTLSServer(r.Server)
	t.Cleanup(r.http.Close)
	r.Put("secret", "registries/hub", map[string]any{"user": "loam", "password": password, "port": 443})
	return r
}

func (r *rig) file(name, content string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (r *rig) server(login spec.Login) spec.Server {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.http.Certificate().Raw})
	return spec.Server{Address: r.http.URL, CAFile: r.file("ca.crt", string(ca)), Login: login}
}

func (r *rig) client(server spec.Server) *vault.Client {
	r.t.Helper()
	c, err := vault.New(server, r.clock)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// appRole is a client that logs in with a secret id.
func (r *rig) appRole() *vault.Client {
	r.Proof("approle", "role", "id")
	return r.client(r.server(spec.Login{AppRole: &spec.AppRole{RoleID: "role", SecretIDFile: r.file("id", "id\n")}}))
}

func (r *rig) reads(c *vault.Client) {
	r.t.Helper()
	if got, err := c.Value(r.t.Context(), hub, "password"); err != nil || got != password {
		r.t.Fatalf("got %q, %v", got, err)
	}
}

func (r *rig) counts(logins, renewals int) {
	r.t.Helper()
	if l, n := r.Counts(); l != logins || n != renewals {
		r.t.Errorf("%d logins and %d renewals, want %d and %d", l, n, logins, renewals)
	}
}

func TestEveryLogin(t *testing.T) {
	t.Setenv("LOAM_TEST_TOKEN", "given")
	// What is meant for another server goes nowhere.
	t.Setenv("VAULT_TOKEN", "others")
	t.Setenv("VAULT_NAMESPACE", "others")
	for name, login := range map[string]func(r *rig) spec.Login{
		"token in a file": func(r *rig) spec.Login {
			r.Issue("given")
			return spec.Login{Token: &spec.Token{File: r.file("token", "given\n")}}
		},
		"token in a variable": func(r *rig) spec.Login {
			r.Issue("given")
			return spec.Login{Token: &spec.Token{Environment: "LOAM_TEST_TOKEN"}}
		},
		"approle": func(r *rig) spec.Login {
			r.Proof("approle", "role", "id")
			return spec.Login{AppRole: &spec.AppRole{RoleID: "role", SecretIDFile: r.file("id", "id")}}
		},
		"approle elsewhere": func(r *rig) spec.Login {
			r.Proof("site/approle", "role", "id")
			return spec.Login{AppRole: &spec.AppRole{Mount: "site/approle", RoleID: "role", SecretIDFile: r.file("id", "id")}}
		},
		"kubernetes": func(r *rig) spec.Login {
			r.Proof("kubernetes", "loam", "a.b.c")
			return spec.Login{Kubernetes: &spec.Kubernetes{Role: "loam", TokenFile: r.file("jwt", "a.b.c")}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.reads(r.client(r.server(login(r))))
		})
	}
}

func TestRefusedLoginsAreDenied(t *testing.T) {
	for name, login := range map[string]func(r *rig) spec.Login{
		"token": func(r *rig) spec.Login { return spec.Login{Token: &spec.Token{File: r.file("token", password)}} },
		"approle": func(r *rig) spec.Login {
			return spec.Login{AppRole: &spec.AppRole{RoleID: "role", SecretIDFile: r.file("id", password)}}
		},
		"kubernetes": func(r *rig) spec.Login {
			return spec.Login{Kubernetes: &spec.Kubernetes{Role: "loam", TokenFile: r.file("jwt", password)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			_, err := r.client(r.server(login(r))).Read(t.Context(), hub)
			if !errors.Is(err, fault.Denied) || strings.Contains(err.Error(), password) {
				t.Errorf("got %v", err)
			}
		})
	}
	r := newRig(t)
	for _, file := range []string{filepath.Join(r.dir, "none"), r.file("two", "a\nb"), r.file("empty", "")} {
		_, err := r.client(r.server(spec.Login{Token: &spec.Token{File: file}})).Read(t.Context(), hub)
		if !errors.Is(err, fault.Missing) && !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestTokensAreRenewedAndReplaced(t *testing.T) {
	r := newRig(t)
	c := r.appRole()
	r.reads(c)
	r.clock.Step(39 * time.Minute)
	r.reads(c)
	r.counts(1, 0)
	r.clock.Step(2 * time.Minute) // two thirds of an hour are over
	r.reads(c)
	r.counts(1, 1)
	r.clock.Step(2 * time.Hour) // it expired while nobody read
	r.reads(c)
	r.counts(2, 1)
	r.Revoke()
	r.reads(c)
	r.counts(3, 1)
	r.MaxLife = time.Hour // a renewal gives no more than a few minutes
	r.clock.Step(50 * time.Minute)
	r.reads(c)
	r.counts(4, 2)
}

func TestWhatNoPolicyAllowsIsNoReasonForManyLogins(t *testing.T) {
	r := newRig(t)
	c := r.appRole()
	r.reads(c)
	r.Deny("secret/data/registries/none")
	for range 5 {
		if _, err := c.Read(t.Context(), spec.Reference{Path: "registries/none"}); !errors.Is(err, fault.Denied) {
			t.Errorf("got %v", err)
		}
	}
	r.counts(2, 0)
	r.reads(c)
	r.counts(2, 0)
}

func TestAnAliveTokenOutlivesAFailedRenewal(t *testing.T) {
	r := newRig(t)
	c := r.appRole()
	r.reads(c)
	r.clock.Step(45 * time.Minute)
	r.Forget("approle", "role", "id")
	broken := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	r.Next(broken, broken, broken)
	r.reads(c)
	r.counts(1, 0)
	r.clock.Step(time.Minute)
	r.reads(c)
	r.counts(1, 1)
}

func TestAGivenTokenIsKeptAlive(t *testing.T) {
	r := newRig(t)
	r.Issue("given")
	c := r.client(r.server(spec.Login{Token: &spec.Token{File: r.file("token", "given")}}))
	r.reads(c)
	done := make(chan struct{})
	var lines strings.Builder
	ctx := logr.NewContext(t.Context(), funcr.New(func(_, args string) { lines.WriteString(args) }, funcr.Options{}))
	go func() { defer close(done); c.Keep(ctx) }()
	for range 6 {
		waitFor(t, r.clock.HasWaiters)
		r.clock.Step(41 * time.Minute)
	}
	waitFor(t, func() bool { _, renewals := r.Counts(); return renewals >= 5 })
	r.reads(c)
	if lines.Len() > 0 {
		t.Errorf("logged %s", lines.String())
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within 30 s")
		}
	}
}

func TestEveryFailureIsNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		break_    func(r *rig)
		reference spec.Reference
		key       string
		kind      fault.Kind
		says      string
	}{
		"sealed":             {func(r *rig) { r.Seal(true) }, hub, "password", fault.Transient, "is sealed: unseal it"},
		"no policy":          {func(r *rig) { r.Deny("secret/data/registries/hub") }, hub, "password", fault.Denied, "no policy allows it"},
		"no such path":       {nil, spec.Reference{Path: "registries/none"}, "password", fault.Missing, "has no such secret"},
		"no such key":        {nil, hub, "pass", fault.Missing, `has no key "pass"; its keys: password, port, user`},
		"no text":            {nil, hub, "port", fault.Invalid, "is no text"},
		"no such mount":      {nil, spec.Reference{Mount: "kv", Path: "a"}, "a", fault.Missing, `no KV engine at mount "kv"`},
		"no such version":    {nil, spec.Reference{Path: "registries/hub", Version: 7}, "password", fault.Missing, "of version 7"},
		"deleted":            {func(r *rig) { r.Delete("secret", "registries/hub", 1, false) }, hub, "password", fault.Missing, "vault kv undelete"},
		"destroyed":          {func(r *rig) { r.Delete("secret", "registries/hub", 1, true) }, hub, "password", fault.Missing, "version 1 is destroyed"},
		"cut in the middle":  {cut, hub, "password", fault.Transient, "something else than a secret"},
		"too many requests":  {answers(http.StatusTooManyRequests, `{"errors":["request path \"x\": rate limit quota exceeded"]}`), hub, "password", fault.Transient, "too many requests: request path"},
		"a page of a proxy":  {answers(http.StatusBadGateway, "<html>"+password), hub, "password", fault.Transient, "answers 502"},
		"KV of version 1":    {answers(http.StatusOK, `{"data":{"password":"x"}}`), hub, "password", fault.Invalid, "no KV engine of version 2"},
		"standbys in a ring": {func(r *rig) { r.Standby(r.http.URL) }, hub, "password", fault.Transient, "api_addr"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of them wait for the third try
			r := newRig(t)
			c := r.appRole()
			r.reads(c)
			if tc.break_ != nil {
				tc.break_(r)
			}
			_, err := c.Value(t.Context(), tc.reference, tc.key)
			if fault.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), password) {
				t.Errorf("got %q (%s), want %s with %q", err, fault.KindOf(err), tc.kind, tc.says)
			}
		})
	}
}

func cut(r *rig) { r.Next(vaulttest.Cut) }

func answers(status int, body string) func(*rig) {
	return func(r *rig) {
		for range 3 {
			r.Next(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = w.Write([]byte(body)) })
		}
	}
}

func TestMomentsAreMended(t *testing.T) {
	r := newRig(t)
	c := r.appRole()
	r.Next(vaulttest.Hang)
	r.reads(c)
	r.Next(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	r.reads(c)
}

func TestStandbysLeadToTheActiveServer(t *testing.T) {
	r := newRig(t)
	standby := vaulttest.New(r.clock)
	standby.Standby(r.http.URL)
	front := httptest.NewTLSServer(standby)
	t.Cleanup(front.Close)
	r.Proof("approle", "role", "id")
	server := r.server(spec.Login{AppRole: &spec.AppRole{RoleID: "role", SecretIDFile: r.file("id", "id")}})
	server.Address = front.URL
	r.reads(r.client(server))
	// Never from TLS to none: the token would be readable.
	standby.Standby("http://127.0.0.1:1")
	if _, err := r.client(server).Read(t.Context(), hub); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "https to http") {
		t.Errorf("got %v", err)
	}
}

func TestNamespaces(t *testing.T) {
	r := newRig(t)
	r.Namespace = "platform/"
	r.Proof("approle", "role", "id")
	server := r.server(spec.Login{AppRole: &spec.AppRole{RoleID: "role", SecretIDFile: r.file("id", "id")}})
	server.Namespace = "platform/"
	r.reads(r.client(server))
}

func TestCertificatesAreChecked(t *testing.T) {
	r := newRig(t)
	r.Proof("approle", "role", "id")
	login := spec.Login{AppRole: &spec.AppRole{RoleID: "role", SecretIDFile: r.file("id", "id")}}
	unknown := r.server(login)
	unknown.CAFile = ""
	other := r.server(login)
	other.ServerName = "vault.elsewhere"
	for _, server := range []spec.Server{unknown, other} {
		if _, err := r.client(server).Read(t.Context(), hub); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "not to be trusted") {
			t.Errorf("got %v", err)
		}
	}
	named := r.server(login)
	named.ServerName = "example.com" // httptest's certificate has it
	r.reads(r.client(named))
	for _, file := range []string{filepath.Join(r.dir, "none"), r.file("empty.crt", "")} {
		if _, err := vault.New(spec.Server{Address: r.http.URL, CAFile: file}, nil); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	r := newRig(t)
	secret, err := r.appRole().Read(t.Context(), hub)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v", secret), fmt.Sprintf("%+v", secret), fmt.Sprintf("%#v", secret), fmt.Sprint(&secret)} {
		if strings.Contains(text, password) {
			t.Errorf("printed as %s", text)
		}
	}
}
