package upstream_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/faulty"
	"github.com/loam-cloud/loam/registry/upstream"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func TestWhereTheAPIIs(t *testing.T) {
	for url, want := range map[string]string{
		"https://registry-1.docker.io":      "https://registry-1.docker.io/v2",
		"https://registry-1.docker.io/":     "https://registry-1.docker.io/v2",
		"http://127.0.0.1:5000/mirror":      "http://127.0.0.1:5000/mirror/v2",
		"https://harbor.example/v2/proxy":   "https://harbor.example/v2/proxy",
		"https://harbor.example/v2/proxy//": "https://harbor.example/v2/proxy",
	} {
		c, err := upstream.New(upstream.Options{URL: url})
		if err != nil || c.Root() != want {
			t.Errorf("%s: got %v, %v", url, c, err)
		}
	}
	for _, url := range []string{"", "docker.io", "ftp://docker.io", "https://", "https://user:secret@docker.io", "https://docker.io?a=b", "https://docker.io#a", "https://docker.io:port"} {
		if _, err := upstream.New(upstream.Options{Name: "docker.io", URL: url}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q is taken: %v", url, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("a password is shown: %v", err)
		}
	}
}

func TestManifest(t *testing.T) {
	content := []byte(`{"schemaVersion":2,"mediaType":"` + manifestType + `","layers":[]}`)
	for name, faults := range map[string][]faulty.Fault{
		"well":            nil,
		"cut":             {faulty.Cut},
		"stalled":         {faulty.Stall},
		"other bytes":     {faulty.WrongByte, faulty.WrongEnd},
		"short and long":  {faulty.Short, faulty.Long, faulty.Ended},
		"a page":          {faulty.Page},
		"errors":          {faulty.Failed, faulty.Bad, faulty.Unavailable, faulty.TooMany, faulty.Loop},
		"expired, twice":  {faulty.Expired, faulty.Expired},
		"never answering": {faulty.Silence},
	} {
		t.Run(name, func(t *testing.T) {
			u, c := serve(t, upstream.Options{})
			want := u.AddManifest(repository, "latest", manifestType, content)
			for _, reference := range []string{"latest", want.String()} {
				u.Next(faults...)
				m, err := c.Manifest(t.Context(), repository, reference)
				if err != nil || string(m.Content) != string(content) || m.Digest != want || m.MediaType != manifestType {
					t.Errorf("%s: got %+v, %v", reference, m, err)
				}
			}
			if d, err := c.Resolve(t.Context(), repository, "latest"); err != nil || d != want {
				t.Errorf("resolved to %s, %v", d, err)
			}
		})
	}
}

func TestManifestIsNeverTakenWrong(t *testing.T) {
	for name, f := range map[string]faulty.Fault{"byte": faulty.WrongByte, "end": faulty.WrongEnd, "short": faulty.Short, "long": faulty.Long, "page": faulty.Page, "ended": faulty.Ended} {
		t.Run(name, func(t *testing.T) {
			u, c := serve(t, upstream.Options{Attempts: 2})
			d := u.AddManifest(repository, "latest", manifestType, []byte(`{"schemaVersion":2}`))
			u.Mix(1, f)
			for _, reference := range []string{"latest", d.String()} {
				if m, err := c.Manifest(t.Context(), repository, reference); !errors.Is(err, fault.Transient) {
					t.Errorf("%s: got %+v, %v", reference, m, err)
				}
			}
		})
	}
	u, c := serve(t, upstream.Options{Attempts: 2})
	u.AddManifest(repository, "huge", manifestType, []byte(`{"a":"`+strings.Repeat("a", upstream.MaxManifest)+`"}`))
	if _, err := c.Manifest(t.Context(), repository, "huge"); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v", err)
	}
}

// TestManifestsOfSchema1AreNotCached: they have no digest of their bytes, and an error
// that is worth another try would be none.
func TestManifestsOfSchema1AreNotCached(t *testing.T) {
	u, c := serve(t, upstream.Options{})
	u.AddManifest(repository, "old", "application/vnd.docker.distribution.manifest.v1+prettyjws; charset=utf-8", []byte(`{"schemaVersion":1,"signatures":[]}`))
	if m, err := c.Manifest(t.Context(), repository, "old"); fault.KindOf(err) != fault.Missing || !strings.Contains(err.Error(), "schema 1") {
		t.Errorf("got %+v, %v", m, err)
	}
	if n := u.Counts().Manifests; n != 1 {
		t.Errorf("asked %d times", n)
	}
	if h := c.Health(); h.Down() {
		t.Errorf("the upstream is taken to be down: %+v", h)
	}
}

func TestTokens(t *testing.T) {
	u, _ := serve(t, upstream.Options{})
	server := httptest.NewServer(u)
	t.Cleanup(server.Close)
	u.Login("me", "secret")
	u.AddManifest(repository, "latest", manifestType, []byte(`{"schemaVersion":2}`))
	clock := clocktesting.NewFakeClock(time.Unix(0, 0))
	with := func(user, password string) *upstream.Client {
		return client(t, upstream.Options{Name: "test", URL: server.URL, Clock: clock, Stall: time.Hour, Credentials: func(context.Context) (authn.AuthConfig, error) {
			return authn.AuthConfig{Username: user, Password: password}, nil
		}})
	}
	c := with("me", "secret")
	pull := func(tokens int) {
		t.Helper()
		if _, err := c.Manifest(t.Context(), repository, "latest"); err != nil {
			t.Fatal(err)
		}
		if got := u.Counts().Tokens; got != tokens {
			t.Errorf("%d tokens were asked for, want %d", got, tokens)
		}
	}
	pull(1)
	pull(1)
	// It lives for 300 s, and is not used in the last tenth of them.
	clock.Step(271 * time.Second)
	pull(2)
	u.Expire()
	pull(3)
	for name, c := range map[string]*upstream.Client{"wrong": with("me", "other"), "nobody": client(t, upstream.Options{Name: "test", URL: server.URL})} {
		before := u.Counts().Manifests
		_, err := c.Manifest(t.Context(), repository, "latest")
		if !errors.Is(err, fault.Denied) || u.Counts().Manifests != before {
			t.Errorf("%s: got %v", name, err)
		}
		if strings.Contains(err.Error(), "other") {
			t.Errorf("a password is shown: %v", err)
		}
	}
	broken := client(t, upstream.Options{Name: "test", URL: server.URL, Credentials: upstream.CredentialsFromFile(filepath.Join(t.TempDir(), "none"), "x")})
	if _, err := broken.Manifest(t.Context(), repository, "latest"); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "none") {
		t.Errorf("got %v", err)
	}
}

func TestCredentialsGoNowhereElse(t *testing.T) {
	u, c := serve(t, upstream.Options{Credentials: func(context.Context) (authn.AuthConfig, error) {
		return authn.AuthConfig{Username: "me", Password: "secret"}, nil
	}})
	elsewhere := httptest.NewServer(u)
	t.Cleanup(elsewhere.Close)
	u.Login("me", "secret")
	d := u.AddBlob(repository, some(1000))
	u.Elsewhere(elsewhere.URL)
	u.Next(faulty.None, faulty.Cut)
	var got sink
	if err := c.Download(t.Context(), repository, d, 0, &got); err != nil || got.Len() != 1000 {
		t.Fatalf("got %d bytes, %v", got.Len(), err)
	}
	if n := u.Counts(); n.Leaks != 0 || n.Tokens == 0 {
		t.Errorf("%+v", n)
	}
}

// registry.k8s.io redirects to registries that have tokens of their own for
// everybody.
func TestRedirectsToOtherRegistries(t *testing.T) {
	other := faulty.New(1)
	d := other.AddManifest(repository, "latest", manifestType, []byte(`{"schemaVersion":2}`))
	nearest := httptest.NewServer(other)
	t.Cleanup(nearest.Close)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, nearest.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(origin.Close)
	c := client(t, upstream.Options{Name: "test", URL: origin.URL, Attempts: 2})
	if m, err := c.Manifest(t.Context(), repository, "latest"); err != nil || m.Digest != d || other.Counts().Tokens != 0 {
		t.Errorf("where none is needed: got %+v, %v", m, err)
	}
	other.Demand()
	if m, err := c.Manifest(t.Context(), repository, "latest"); err != nil || m.Digest != d || other.Counts().Tokens != 1 {
		t.Errorf("where everybody needs one: got %+v, %v, %d tokens", m, err, other.Counts().Tokens)
	}
	other.Login("me", "secret")
	if _, err := c.Manifest(t.Context(), repository, "latest"); err == nil {
		t.Error("got in where only others are let in")
	}
}

func TestRedirectsAreNotFollowedAnywhere(t *testing.T) {
	var to string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}))
	t.Cleanup(server.Close)
	c := client(t, upstream.Options{Name: "test", URL: server.URL, Transport: server.Client().Transport, Attempts: 2})
	for location, want := range map[string]fault.Kind{"http://127.0.0.1:1/": fault.Denied, "file:///etc/passwd": fault.Transient, "": fault.Transient, "::": fault.Transient} {
		to = location
		if _, err := c.Manifest(t.Context(), repository, "latest"); fault.KindOf(err) != want {
			t.Errorf("%q: got %v", location, err)
		}
	}
}

func TestPausesAreKept(t *testing.T) {
	u, _ := serve(t, upstream.Options{})
	server := httptest.NewServer(u)
	t.Cleanup(server.Close)
	u.AddManifest(repository, "latest", manifestType, []byte(`{"schemaVersion":2}`))
	clock := clocktesting.NewFakeClock(time.Unix(0, 0))
	c := client(t, upstream.Options{Name: "test", URL: server.URL, Clock: clock, Stall: 24 * time.Hour, Patience: 10 * time.Second})

	u.Pause(time.Hour)
	u.Next(faulty.TooMany)
	_, err := c.Manifest(t.Context(), repository, "latest")
	if !errors.Is(err, fault.Exhausted) || pause(err) != time.Hour {
		t.Errorf("got %v, pause %s", err, pause(err))
	}
	clock.Step(30 * time.Minute)
	if _, err := c.Manifest(t.Context(), repository, "latest"); !errors.Is(err, fault.Exhausted) || pause(err) != 30*time.Minute {
		t.Errorf("got %v", err)
	}
	if n := u.Counts().Manifests; n != 1 {
		t.Errorf("%d requests reached an upstream that wants to be left alone", n)
	}
	// The rest of it is short enough to be waited for.
	clock.Step(30*time.Minute - 5*time.Second)
	done := make(chan error)
	go func() {
		_, err := c.Manifest(t.Context(), repository, "latest")
		done <- err
	}()
	for !clock.HasWaiters() {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-done:
		t.Errorf("did not wait: %v", err)
	default:
	}
	clock.Step(5 * time.Second)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHas(t *testing.T) {
	u, c := serve(t, upstream.Options{})
	d := u.AddBlob(repository, some(1000))
	if n, err := c.Has(t.Context(), repository, d); err != nil || n != 1000 {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := c.Has(t.Context(), repository, digest.FromString("x")); !errors.Is(err, fault.Missing) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
	u.Down(true)
	short := client(t, upstream.Options{Name: "test", URL: c.Root(), Attempts: 1})
	if _, err := short.Check(t.Context()); !errors.Is(err, fault.Transient) {
		t.Errorf("got %v", err)
	}
}

func TestCredentialsFromFile(t *testing.T) {
	for name, tc := range map[string]struct {
		host, content, user, password string
		want                          fault.Kind
	}{
		"a line":             {"a", "me:se:cret\n", "me", "se:cret", ""},
		"docker":             {"a.example", `{"auths":{"a.example":{"auth":"bWU6c2VjcmV0"}}}`, "me", "secret", ""},
		"docker, by URL":     {"a.example", `{"auths":{"https://a.example":{"username":"me","password":"secret"}}}`, "me", "secret", ""},
		"docker, for Hub":    {"registry-1.docker.io", `{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6c2VjcmV0"}}}`, "me", "secret", ""},
		"docker, of another": {"a.example", `{"auths":{"b.example":{"auth":"bWU6c2VjcmV0"}}}`, "", "", fault.Missing},
		"docker, broken":     {"a.example", `{"auths":secret`, "", "", fault.Invalid},
		"docker, no base64":  {"a.example", `{"auths":{"a.example":{"auth":"secret!"}}}`, "", "", fault.Invalid},
		"two lines":          {"a", "me:secret\nyou:secret\n", "", "", fault.Invalid},
		"no colon":           {"a", "secret", "", "", fault.Invalid},
		"empty":              {"a", "", "", "", fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "credentials")
			if err := os.WriteFile(file, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := upstream.CredentialsFromFile(file, tc.host)(t.Context())
			if got.Username != tc.user || got.Password != tc.password || tc.want != "" && !errors.Is(err, tc.want) || tc.want == "" && err != nil {
				t.Errorf("got %+v, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("a secret is shown: %v", err)
			}
		})
	}
	t.Setenv("LOAM_TEST_USER", "me")
	t.Setenv("LOAM_TEST_PASSWORD", "secret")
	if got, err := upstream.CredentialsFromEnvironment("LOAM_TEST_USER", "LOAM_TEST_PASSWORD")(t.Context()); err != nil || got.Username != "me" || got.Password != "secret" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := upstream.CredentialsFromEnvironment("LOAM_TEST_USER", "LOAM_TEST_NONE")(t.Context()); !errors.Is(err, fault.Missing) {
		t.Errorf("got %v", err)
	}
}

func pause(err error) time.Duration {
	var p interface{ RetryAfter() time.Duration }
	if !errors.As(err, &p) {
		return 0
	}
	return p.RetryAfter()
}
