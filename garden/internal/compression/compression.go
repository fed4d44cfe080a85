// Package compression sends long lists compressed, with a faster implementation
// than the API server's own: in a garden with ten thousand Shoots it is most of
// what a list costs.
//
// Both API servers, the garden's and the aggregated one, put it into their chain
// of handlers. It must not know what is listed.
package compression

import (
	"fmt"
	"net/http"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

// minBytes is what the API server does not compress either: the time of both
// sides is worth more than the bytes.
const minBytes = 128 << 10

// Chain puts the compression of lists into a server's chain of handlers, behind
// everything that could refuse the request.
func Chain(config *genericapiserver.Config) error {
	wrap, err := gzhttp.NewWrapper(
		gzhttp.MinSize(minBytes),
		gzhttp.CompressionLevel(gzip.BestSpeed),
		gzhttp.ContentTypeFilter(gzhttp.CompressAllContentTypeFilter),
		gzhttp.EnableZstd(false),
	)
	if err != nil {
		return fmt.Errorf("configuring compression: %w", err)
	}
	build := config.BuildHandlerChainFunc
	config.BuildHandlerChainFunc = func(api http.Handler, config *genericapiserver.Config) http.Handler {
		return build(lists(wrap, api), config)
	}
	return nil
}

func lists(wrap func(http.Handler) http.HandlerFunc, api http.Handler) http.Handler {
	compressed := wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Else the API server compresses what it writes.
		r.Header.Del("Accept-Encoding")
		api.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if info, ok := request.RequestInfoFrom(r.Context()); ok && info.IsResourceRequest && info.Verb == "list" {
			compressed.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}
