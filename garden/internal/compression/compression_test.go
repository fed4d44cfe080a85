package compression_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/apiserver/pkg/endpoints/request"
	genericapiserver "k8s.io/apiserver/pkg/server"

	"github.com/loam-cloud/loam/garden/internal/compression"
)

// TestChain wants long lists compressed for those who take it, and nothing else.
func TestChain(t *testing.T) {
	long, short := bytes.Repeat([]byte("shoot "), 100_000), []byte("shoot")
	for name, test := range map[string]struct {
		verb, accepts string
		body          []byte
		want          string
	}{
		"a long list":                    {"list", "gzip", long, "gzip"},
		"a long list, among others":      {"list", "zstd, gzip;q=0.5", long, "gzip"},
		"a short list":                   {"list", "gzip", short, ""},
		"a long list for who takes none": {"list", "", long, ""},
		"a watch":                        {"watch", "gzip", long, ""},
		"a read":                         {"get", "gzip", long, ""},
	} {
		t.Run(name, func(t *testing.T) {
			config := &genericapiserver.Config{BuildHandlerChainFunc: func(api http.Handler, _ *genericapiserver.Config) http.Handler { return api }}
			if err := compression.Chain(config); err != nil {
				t.Fatal(err)
			}
			handler := config.BuildHandlerChainFunc(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.verb == "list" && test.want != "" && r.Header.Get("Accept-Encoding") != "" {
					t.Error("the server would compress too")
				}
				w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
				if _, err := w.Write(test.body); err != nil {
					t.Error(err)
				}
			}), config)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r = r.WithContext(request.WithRequestInfo(r.Context(), &request.RequestInfo{IsResourceRequest: true, Verb: test.verb}))
			if test.accepts != "" {
				r.Header.Set("Accept-Encoding", test.accepts)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if got := w.Header().Get("Content-Encoding"); got != test.want {
				t.Fatalf("encoded as %q, want %q", got, test.want)
			}
			var body io.Reader = w.Body
			if test.want != "" {
				var err error
				if body, err = gzip.NewReader(w.Body); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, test.body) {
				t.Errorf("%d bytes came, %v; want %d", len(got), err, len(test.body))
			}
		})
	}
}
