package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/registry/access"
)

// tags: "Listing Tags".
func (q *request) tags() error {
	limit, err := q.limit()
	if err != nil {
		return err
	}
	// One more than wanted tells whether there are more.
	names, stale, err := q.source.Tags(q.context(), q.repository, q.r.URL.Query().Get("last"), more(limit))
	if err != nil {
		return err
	}
	if names == nil {
		names = []string{}
	}
	q.warn(stale)
	names = q.cut(names, limit)
	return q.json("application/json", map[string]any{"name": q.route.name, "tags": names})
}

// catalog lists the repositories that the client may pull from. The specification
// leaves it to registries; clients know it from Docker's.
func (q *request) catalog() error {
	limit, err := q.limit()
	if err != nil {
		return err
	}
	after, names := q.r.URL.Query().Get("last"), []string{}
	all, err := q.server.store.Repositories(q.repository.Upstream, after, -1)
	if err != nil {
		return err
	}
	for _, r := range all {
		if limit >= 0 && len(names) > limit {
			break
		}
		if q.who.May(access.Pull, r.String()) {
			names = append(names, r.Name)
		}
	}
	return q.json("application/json", map[string]any{"repositories": q.cut(names, limit)})
}

// limit reads ?n=; without one there is none.
func (q *request) limit() (int, error) {
	n := q.r.URL.Query().Get("n")
	if n == "" {
		return -1, nil
	}
	limit, err := strconv.Atoi(n)
	if err != nil || limit < 0 {
		return 0, refuse(http.StatusBadRequest, codeUnsupported, "n is %q, must be a number from 0 on", n)
	}
	return limit, nil
}

func more(limit int) int {
	if limit <= 0 {
		return limit
	}
	return limit + 1
}

// cut takes a list down to its limit, and says where the rest is.
func (q *request) cut(names []string, limit int) []string {
	if limit < 0 || len(names) <= limit {
		return names
	}
	if names = names[:limit]; limit > 0 {
		query := url.Values{"n": {strconv.Itoa(limit)}, "last": {names[limit-1]}}
		if ns := q.r.URL.Query().Get("ns"); ns != "" {
			query.Set("ns", ns)
		}
		q.w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, q.r.URL.EscapedPath(), query.Encode()))
	}
	return names
}

// referrers: "Listing Referrers".
func (q *request) referrers() error {
	subject, err := q.digest()
	if err != nil {
		return err
	}
	artifactType := q.r.URL.Query().Get("artifactType")
	found, stale, err := q.source.Referrers(q.context(), q.repository, subject, artifactType)
	if err != nil {
		return err
	}
	if found == nil {
		found = []ocispec.Descriptor{}
	}
	q.warn(stale)
	if artifactType != "" {
		q.w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return q.json(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: found,
	})
}

func (q *request) json(mediaType string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", mediaType)
	q.w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	q.w.WriteHeader(http.StatusOK)
	if q.r.Method != http.MethodHead {
		// The client may have gone; there is nobody else to tell.
		_, _ = q.w.Write(raw)
	}
	return nil
}
