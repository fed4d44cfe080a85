package server_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"golang.org/x/crypto/bcrypt"

	"github.com/loam-cloud/loam/registry/access"
	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
)

func reference(t *testing.T, r registry, text string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(strings.TrimPrefix(strings.TrimPrefix(r.url, "http://"), "https://") + "/" + text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// go-containerregistry is what crane is made of.
func TestCranesLibraryPushesAndPulls(t *testing.T) {
	r := start(t, nil)
	index, err := random.Index(20000, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref := reference(t, r, "team/app:v1")
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(pulled); err != nil {
		t.Error(err)
	}
	want, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pulled.Digest(); err != nil || got != want {
		t.Errorf("pulled %v, %v, want %v", got, err, want)
	}
	// A second repository mounts, a second push sends nothing.
	if err := remote.WriteIndex(reference(t, r, "team/other:v1"), pulled); err != nil {
		t.Fatal(err)
	}
	repositories, err := remote.Catalog(t.Context(), ref.Context().Registry)
	if err != nil || fmt.Sprint(repositories) != "[team/app team/other]" {
		t.Errorf("catalog: %v, %v", repositories, err)
	}
	if tags, err := remote.List(ref.Context()); err != nil || fmt.Sprint(tags) != "[v1]" {
		t.Errorf("tags: %v, %v", tags, err)
	}
	if err := remote.Delete(ref.Context().Digest(want.String())); err != nil {
		t.Error(err)
	}
	if _, err := remote.Head(ref); err == nil {
		t.Error("the deleted index is still there")
	}
}

func randomImage(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUsersAndTokens(t *testing.T) {
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	htpasswd, tokens := filepath.Join(dir, "htpasswd"), filepath.Join(dir, "tokens.yaml")
	write(t, htpasswd, "ann:"+string(hash)+"\n")
	// The digest is of "robot".
	write(t, tokens, "tokens:\n- name: ci\n  sha256: 18d63be10ad544a04a22c944dee01d6d864ec69b797a58edae92e6a44ad8fdbf\n  repositories: [team/*]\n  actions: [pull]\n")
	guard, err := access.NewGuard(access.Options{
		HtpasswdFile: htpasswd, TokensFile: tokens, Log: logr.Discard(),
		Grants: []access.Grant{
			{Users: []string{access.Everyone}, Repositories: []string{"*"}, Actions: []access.Action{access.Pull, access.Push}},
			{Users: []string{access.Anonymous}, Repositories: []string{"public/*"}, Actions: []access.Action{access.Pull}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, guard)
	ann := remote.WithAuth(&authn.Basic{Username: "ann", Password: "secret"})
	for _, repository := range []string{"team/app:v1", "public/app:v1", "secret/app:v1"} {
		if err := remote.Write(reference(t, r, repository), randomImage(t), ann); err != nil {
			t.Fatal(err)
		}
	}
	if err := remote.Write(reference(t, r, "team/app:v2"), randomImage(t), remote.WithAuth(&authn.Basic{Username: "ann", Password: "wrong"})); err == nil {
		t.Error("a wrong password was taken")
	}
	if _, err := remote.Image(reference(t, r, "public/app:v1")); err != nil {
		t.Errorf("anonymous: %v", err)
	}
	if _, err := remote.Image(reference(t, r, "team/app:v1")); err == nil {
		t.Error("anonymous may pull what is not public")
	}
	r.refused(401, "UNAUTHORIZED", get, "/v2/team/app/manifests/v1", "")
	// Docker and skopeo ask here whether to log in; a mirror they use without.
	r.refused(401, "UNAUTHORIZED", get, "/v2/", "")
	r.want(200, get, "/v2/", "", "Authorization", "Bearer robot")
	r.want(200, get, "/v2/?ns=docker.io", "")
	for _, robot := range []authn.Authenticator{&authn.Basic{Username: "any", Password: "robot"}, &authn.Bearer{Token: "robot"}} {
		if _, err := remote.Image(reference(t, r, "team/app:v1"), remote.WithAuth(robot)); err != nil {
			t.Errorf("token: %v", err)
		}
		if _, err := remote.Image(reference(t, r, "secret/app:v1"), remote.WithAuth(robot)); err == nil {
			t.Error("a token is worth more than its scope")
		}
		if err := remote.Write(reference(t, r, "team/app:v3"), randomImage(t), remote.WithAuth(robot)); err == nil {
			t.Error("a token that may pull may push")
		}
	}
	// "Mounting" must not get around rights: the token may not read secret/app.
	r.refused(403, "DENIED", get, "/v2/secret/app/manifests/v1", "", "Authorization", "Bearer robot")
	if a := r.want(200, get, "/v2/_catalog", "", "Authorization", "Bearer robot"); a.body != `{"repositories":["team/app"]}` {
		t.Errorf("the catalog shows a token %s", a.body)
	}
}

func TestWhatIsCachedIsFoundByNamespaceAndCannotBeWritten(t *testing.T) {
	r := start(t, nil)
	text := r.encode(image())
	repository := store.Repository{Upstream: "docker.io", Name: "library/nginx"}
	if _, err := r.store.PutManifest(repository, store.Put{Content: []byte(text), Tag: "1", Sparse: true}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v2/library/nginx/manifests/1?ns=docker.io", "/v2/nginx/manifests/1?ns=docker.io"} {
		if a := r.want(200, get, path, ""); a.body != text {
			t.Errorf("%s: got %s", path, a.body)
		}
	}
	r.refused(404, "MANIFEST_UNKNOWN", get, "/v2/library/nginx/manifests/1", "")
	r.refused(404, "MANIFEST_UNKNOWN", get, "/v2/library/nginx/manifests/1?ns=registry.example", "")
	r.refused(404, "NAME_UNKNOWN", get, "/v2/library/nginx/manifests/1?ns=quay.io", "")
	own := httptest.NewServer(r.server.Handler("docker.io"))
	defer own.Close()
	mirror := registry{t, r.store, r.server, own.URL}
	mirror.want(200, get, "/v2/library/nginx/manifests/1", "")
	mirror.want(200, get, "/v2/library/nginx/manifests/1?ns=docker.io", "")
	mirror.refused(404, "NAME_UNKNOWN", post, "/v2/app/blobs/uploads/?ns=registry.example", "")
	r.refused(405, "UNSUPPORTED", post, "/v2/library/nginx/blobs/uploads/?ns=docker.io", "")
	r.refused(405, "UNSUPPORTED", remove, "/v2/library/nginx/manifests/1?ns=docker.io", "")
}

func TestWhatMayBeOutOfDateIsMarked(t *testing.T) {
	srv := server.New(server.Options{Log: logr.Discard(), Sources: map[string]server.Source{"docker.io": cutSource{}}})
	web := httptest.NewServer(srv.Handler("docker.io"))
	defer web.Close()
	r := registry{t, nil, srv, web.URL}
	r.header(r.want(200, get, "/v2/app/referrers/"+cutDigest.String(), ""), "Warning", `110 - "Response is Stale: it is made for tests"`)
}

// A client that reads on when the connection is cut gets an error, not a short
// blob, over TLS too.
func TestContentThatEndsEarlyIsNeverAnsweredComplete(t *testing.T) {
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv := server.New(server.Options{Store: s, Log: logr.Discard(), Sources: map[string]server.Source{"docker.io": cutSource{}}})
	for name, begin := range map[string]func(*httptest.Server){
		"plain":  func(w *httptest.Server) { w.Start() },
		"TLS":    func(w *httptest.Server) { w.StartTLS() },
		"HTTP/2": func(w *httptest.Server) { w.EnableHTTP2 = true; w.StartTLS() },
	} {
		t.Run(name, func(t *testing.T) {
			web := httptest.NewUnstartedServer(srv.Handler("docker.io"))
			begin(web)
			defer web.Close()
			client := web.Client()
			client.Timeout = time.Minute
			if transport, ok := client.Transport.(*http.Transport); ok && name == "TLS" {
				transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
			}
			n, err := download(client, web.URL+"/v2/app/blobs/"+cutDigest.String())
			if err == nil {
				t.Errorf("%d bytes were taken for all of them", n)
			}
		})
	}
}
