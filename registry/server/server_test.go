package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/registry/access"
	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
)

// registry is a server with a store of its own.
type registry struct {
	t      *testing.T
	store  *store.Store
	server *server.Server
	url    string
}

func start(t *testing.T, guard *access.Guard) registry {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	srv := server.New(server.Options{
		Store: s, Guard: guard, Log: logr.Discard(), PrivateHosts: []string{"registry.example"},
		Sources: map[string]server.Source{"": server.Private{Store: s}, "docker.io": server.Private{Store: s}},
	})
	web := httptest.NewServer(srv.Handler(""))
	t.Cleanup(web.Close)
	return registry{t, s, srv, web.URL}
}

// answer is a response whose body was read.
type answer struct {
	*http.Response
	body string
}

// do sends a request; headers are NAME, VALUE, ...
func (r registry) do(method, path, body string, headers ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.at(path), strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{resp, string(got)}
}

// at makes an address of what may be one already: a Location is either.
func (r registry) at(path string) string {
	if strings.HasPrefix(path, "/") {
		return r.url + path
	}
	return path
}

// want checks a status.
func (r registry) want(status int, method, path, body string, headers ...string) answer {
	r.t.Helper()
	a := r.do(method, path, body, headers...)
	if a.StatusCode != status {
		r.t.Fatalf("%s %s: %s, want %d: %s", method, path, a.Status, status, a.body)
	}
	return a
}

// refused checks a status and the code of the error.
func (r registry) refused(status int, code, method, path, body string, headers ...string) {
	r.t.Helper()
	a := r.want(status, method, path, body, headers...)
	var problems struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(a.body), &problems); err != nil || len(problems.Errors) == 0 || problems.Errors[0].Code != code || problems.Errors[0].Message == "" {
		r.t.Errorf("%s %s: got %s (%v), want code %s", method, path, a.body, err, code)
	}
}

func (r registry) header(a answer, name, want string) {
	r.t.Helper()
	if got := a.Header.Get(name); got != want {
		r.t.Errorf("%s %s: header %s is %q, want %q", a.Request.Method, a.Request.URL, name, got, want)
	}
}

// pushBlob uploads by a single POST.
func (r registry) pushBlob(name, content string) digest.Digest {
	r.t.Helper()
	d := digest.FromString(content)
	r.want(http.StatusCreated, http.MethodPost, "/v2/"+name+"/blobs/uploads/?digest="+d.String(), content)
	return d
}

// pushImage pushes an image with one layer and returns its manifest.
func (r registry) pushImage(name, tag string) (digest.Digest, string) {
	r.t.Helper()
	r.pushBlob(name, "{}")
	r.pushBlob(name, "layer")
	text := r.encode(image())
	r.want(http.StatusCreated, http.MethodPut, "/v2/"+name+"/manifests/"+tag, text, "Content-Type", ocispec.MediaTypeImageManifest)
	return digest.FromString(text), text
}

func (r registry) encode(v any) string {
	r.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(raw)
}

func image() ocispec.Manifest {
	return ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: describe(ocispec.MediaTypeImageConfig, "{}"), Layers: []ocispec.Descriptor{describe(ocispec.MediaTypeImageLayer, "layer")},
	}
}

func describe(mediaType, content string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
}
