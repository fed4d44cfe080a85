package boot_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"

	"github.com/loam-cloud/loam/nodeconfig/profile"
	"github.com/loam-cloud/loam/registry/faulty"
	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/through"
	"github.com/loam-cloud/loam/registry/upstream"
	"github.com/loam-cloud/loam/test/boot"
)

// registryHost is what images are named by: nobody can reach it.
const registryHost = "images.example"

// cache is the image cache before a registry with one image.
type cache struct {
	upstream      *faulty.Upstream
	image         string
	origin        *httptest.Server
	plain, secure *httptest.Server

	mu sync.Mutex
	// asked are the cache's and the registry's requests.
	asked []string
}

type cachedSource struct{ *through.Cache }

func (s cachedSource) Manifest(ctx context.Context, r store.Repository, reference string) (server.Manifest, error) {
	m, err := s.Cache.Manifest(ctx, r, reference)
	return server.Manifest(m), err
}

// watch writes down what a server is asked.
func (c *cache) watch(who string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.asked = append(c.asked, who+" "+r.URL.Path)
		c.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (c *cache) wasAsked(what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Contains(strings.Join(c.asked, "\n"), what)
}

func openCache(t *testing.T) *cache {
	t.Helper()
	c := &cache{upstream: faulty.New(1)}
	c.image = c.upstream.AddImage("library/thing", "v1", []byte("one layer"), []byte("another")).String()
	c.origin = httptest.NewServer(c.watch("registry", c.upstream))
	t.Cleanup(func() { c.upstream.Close(); c.origin.Close() })
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := upstream.New(upstream.Options{Name: registryHost, URL: c.origin.URL, Stall: 5 * time.Second, Attempts: 3, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	behind := through.New(s, client, through.Options{TTL: time.Nanosecond, Log: testr.New(t)})
	front := server.New(server.Options{Store: s, Sources: map[string]server.Source{"": server.Private{Store: s}, registryHost: cachedSource{behind}}, Log: testr.New(t)})
	c.plain = httptest.NewServer(c.watch("cache", front.Handler(registryHost)))
	// All upstreams are behind one door: containerd says ?ns=.
	c.secure = httptest.NewTLSServer(c.watch("cache", front.Handler("")))
	t.Cleanup(func() {
		c.plain.Close()
		c.secure.Close()
		behind.Close()
		_ = s.Close()
	})
	return c
}

// pull starts containerd as a machine does and fetches by the name that the image has.
const pull = `
# Only its part about mirrors: there are no services here.
/usr/local/lib/loam/apply-profile >/dev/null 2>&1
containerd >/tmp/log 2>&1 &
i=0
until ctr version >/dev/null 2>&1; do
  i=$((i+1)); test $i -lt 600 || { cat /tmp/log; exit 1; }
  sleep 0.1
done
ctr content fetch --hosts-dir /etc/containerd/certs.d ` + registryHost + `/library/thing:v1 2>&1
ctr images ls
`

// TestContainerdPullsThroughMirrors has both containerds fetch an image through the
// image cache, as rendered hosts.toml leads them.
func TestContainerdPullsThroughMirrors(t *testing.T) {
	for _, c := range containerds {
		t.Run(c.name, func(t *testing.T) {
			for name, tc := range map[string]struct {
				mirror func(*cache) profile.Mirror
				gone   bool
			}{
				"tags of the registry": {func(k *cache) profile.Mirror {
					return profile.Mirror{Endpoint: k.plain.URL, Upstream: k.origin.URL}
				}, false},
				"TLS by address": {func(k *cache) profile.Mirror {
					return profile.Mirror{Endpoint: k.secure.URL, Upstream: k.origin.URL, CA: authority(k.secure)}
				}, false},
				"TLS by the name of its certificate": {func(k *cache) profile.Mirror {
					return profile.Mirror{Endpoint: k.secure.URL, Upstream: k.origin.URL, CA: authority(k.secure), ServerName: "example.com"}
				}, false},
				"offline": {func(k *cache) profile.Mirror {
					return profile.Mirror{Endpoint: k.secure.URL, CA: authority(k.secure), Offline: true}
				}, true},
			} {
				t.Run(name, func(t *testing.T) {
					k := openCache(t)
					mirror := tc.mirror(k)
					mirror.Registry = registryHost
					if tc.gone {
						k.fill(t)
						k.upstream.Down(true)
					}
					made := render(t, "kubernetes", func(in *profile.Input) {
						in.ContainerdVersion, in.Mirrors = c.version, []profile.Mirror{mirror}
					})
					out, err := boot.Try(t, append(files(made), c.programs(t)...), pull)
					if err != nil || !strings.Contains(out, k.image) {
						t.Fatalf("%v, %s is not in\n%s", err, k.image, out)
					}
					if !k.wasAsked("cache /v2/library/thing/blobs/") {
						t.Errorf("the cache was not asked for blobs: %v", k.asked)
					}
					if byTag := "/v2/library/thing/manifests/v1"; k.wasAsked("cache "+byTag) != tc.gone || !tc.gone && !k.wasAsked("registry "+byTag) {
						t.Errorf("the tag was resolved by the wrong one: %v", k.asked)
					}
				})
			}
		})
	}
}

// fill has the cache hold the image.
func (c *cache) fill(t *testing.T) {
	t.Helper()
	mirror := profile.Mirror{Registry: registryHost, Endpoint: c.plain.URL, Offline: true}
	made := render(t, "kubernetes", func(in *profile.Input) { in.ContainerdVersion, in.Mirrors = "1.6.20", []profile.Mirror{mirror} })
	if out, err := boot.Try(t, files(made), pull); err != nil || !strings.Contains(out, c.image) {
		t.Fatalf("%v:\n%s", err, out)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = nil
}

func authority(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
