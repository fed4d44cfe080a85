package admin_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/opencontainers/go-digest"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/access"
	"github.com/loam-cloud/loam/registry/admin"
	"github.com/loam-cloud/loam/registry/collect"
	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
)

// options are of a store with one private image, app:v1.
func options(t *testing.T) admin.Options {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r := store.Repository{Name: "app"}
	p, err := s.StartUpload(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(p, "{}"); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(r, digest.FromString("{}")); err != nil {
		t.Fatal(err)
	}
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"` + digest.FromString("{}").String() + `"},"layers":[]}`
	if _, err := s.PutManifest(r, store.Put{Content: []byte(manifest), Tag: "v1"}); err != nil {
		t.Fatal(err)
	}
	s.CountTagPull(r, "v1")
	upstreams := func() []admin.Upstream {
		return []admin.Upstream{{Name: "docker.io", Up: true, Hits: 3, Misses: 1, HitRatio: 0.75}}
	}
	return admin.Options{
		Store: s, Upstreams: upstreams, Metrics: admin.NewMetrics(s, upstreams), Log: logr.Discard(),
		Keeper: &collect.Keeper{Collector: collect.Collector{Store: s, Clock: clock.RealClock{}, Log: logr.Discard()}, Plan: collect.Plan{
			Garbage: collect.Garbage{Grace: time.Hour, Unfinished: time.Hour}, Rules: []collect.Rule{{Repositories: []string{"*"}, Count: 0}},
		}},
	}
}

func get(t *testing.T, h http.Handler, method, path string, into any, auth ...string) int {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	if len(auth) == 1 {
		r.Header.Set("Authorization", "Bearer "+auth[0])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if into != nil && w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("%s: %v: %s", path, err, w.Body)
		}
	}
	return w.Code
}

func TestStateForAConsole(t *testing.T) {
	h := admin.Handler(options(t))
	var status admin.Status
	if code := get(t, h, "GET", "/api/v1/status", &status); code != 200 || status.Blobs != 2 || status.Bytes == 0 || status.Upstreams[0].HitRatio != 0.75 {
		t.Errorf("%d: %+v", code, status)
	}
	var repositories []admin.Repository
	if code := get(t, h, "GET", "/api/v1/repositories", &repositories); code != 200 || len(repositories) != 1 || repositories[0].Name != "app" || repositories[0].Tags != 1 || repositories[0].Pulls != 1 || repositories[0].Bytes != status.Bytes {
		t.Errorf("%d: %+v", code, repositories)
	}
	if code := get(t, h, "GET", "/api/v1/repositories?upstream=docker.io", &repositories); code != 200 || len(repositories) != 0 {
		t.Errorf("%d: %+v", code, repositories)
	}
	var tags []admin.Tag
	if code := get(t, h, "GET", "/api/v1/tags?name=app", &tags); code != 200 || len(tags) != 1 || tags[0].Bytes != 2 || tags[0].Pulls != 1 || tags[0].LastPull.IsZero() {
		t.Errorf("%d: %+v", code, tags)
	}
	for path, want := range map[string]int{"/api/v1/tags?name=none": 404, "/api/v1/tags?name=app&n=x": 400, "/api/v1/none": 404, "/healthz": 200} {
		if code := get(t, h, "GET", path, nil); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if code := get(t, h, "POST", "/api/v1/gc?dryRun=perhaps", nil); code != 400 {
		t.Errorf("got %d", code)
	}
}

func TestMetrics(t *testing.T) {
	o := options(t)
	o.Metrics.Watch(server.Event{Operation: "get-blob", Status: 200, Bytes: 7})
	web := httptest.NewServer(admin.Handler(o))
	defer web.Close()
	resp, err := http.Get(web.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`loam_registry_requests_total{code="200",operation="get-blob",upstream="private"} 1`,
		`loam_registry_sent_bytes_total{upstream="private"} 7`,
		`loam_registry_blobs 2`, `loam_registry_hits_total{upstream="docker.io"} 3`, `loam_registry_upstream_up{upstream="docker.io"} 1`,
	} {
		if !strings.Contains(string(text), want+"\n") {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}

func TestOnlyAdminsLookAfterACache(t *testing.T) {
	o := options(t)
	tokens := filepath.Join(t.TempDir(), "tokens")
	content := ""
	for secret, actions := range map[string]string{"boss": "admin", "robot": "pull, push"} {
		content += "- name: " + secret + "\n  sha256: " + digest.FromString(secret).Encoded() + "\n  repositories: ['*']\n  actions: [" + actions + "]\n"
	}
	content += "- name: part\n  sha256: " + digest.FromString("part").Encoded() + "\n  repositories: ['team/*']\n  actions: [admin]\n"
	if err := writeFile(tokens, "tokens:\n"+content); err != nil {
		t.Fatal(err)
	}
	var err error
	if o.Guard, err = access.NewGuard(access.Options{TokensFile: tokens, Log: logr.Discard()}); err != nil {
		t.Fatal(err)
	}
	h := admin.Handler(o)
	for secret, want := range map[string]int{"boss": 200, "robot": 403, "part": 403, "wrong": 401} {
		for _, call := range [][2]string{{"GET", "/api/v1/status"}, {"POST", "/api/v1/gc?dryRun=true"}} {
			if code := get(t, h, call[0], call[1], nil, secret); code != want {
				t.Errorf("%s of %s: %d, want %d", call, secret, code, want)
			}
		}
	}
	if code := get(t, h, "POST", "/api/v1/scrub", nil); code != 401 {
		t.Errorf("anonymous: %d", code)
	}
}

func TestClientLooksAfterACacheThatRuns(t *testing.T) {
	o := options(t)
	socket := filepath.Join(o.Store.Dir(), "admin.sock")
	if _, err := admin.Dial(t.Context(), socket); !errors.Is(err, fault.Missing) {
		t.Errorf("got %v", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: admin.Handler(o), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	defer web.Close()
	c, err := admin.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s, err := c.Status(t.Context()); err != nil || s.Blobs != 2 {
		t.Errorf("got %+v, %v", s, err)
	}
	if r, err := c.Check(t.Context()); err != nil || r.Blobs != 2 || r.Manifests != 1 || len(r.Problems) != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := c.ScrubNow(t.Context(), false); err != nil || r.Blobs != 2 || len(r.Broken) != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := c.RetainNow(t.Context(), true); err != nil || !r.DryRun || len(r.Tags) != 1 || !r.Tags[0].Gone {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := c.RetainNow(t.Context(), false); err != nil || r.DryRun || len(r.Tags) != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := c.CollectNow(t.Context(), true); err != nil || !r.DryRun || len(r.Removed) != 0 {
		t.Errorf("what is young goes: %+v, %v", r, err)
	}
	web.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
