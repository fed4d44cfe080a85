package server

import (
	"regexp"
	"strings"
)

// what a request is about.
type kind int

const (
	unknown kind = iota
	base
	catalog
	manifests
	blobs
	uploads // to start one
	upload  // one that was started
	tags
	referrers
)

// route is a request's path, taken apart.
type route struct {
	kind kind
	// name is the repository's; reference what is behind it: a tag, a digest, the
	// id of an upload.
	name, reference string
}

// Grammar of names and tags: OCI distribution specification, "Pulling manifests".
var (
	nameGrammar = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// maxName is how long a name may be; with the host's it has to fit into 255, as
// clients have it.
const maxName = 255

func validName(name string) bool { return len(name) <= maxName && nameGrammar.MatchString(name) }

// parseRoute takes a path apart. Names may hold the words that separate them from
// what follows, so it looks from the end.
func parseRoute(path string) route {
	rest, ok := strings.CutPrefix(path, "/v2/")
	switch {
	case path == "/v2" || ok && rest == "":
		return route{kind: base}
	case !ok:
		return route{}
	case rest == "_catalog":
		return route{kind: catalog}
	}
	if name, ok := strings.CutSuffix(rest, "/tags/list"); ok {
		return route{tags, name, ""}
	}
	if name, ok := strings.CutSuffix(strings.TrimSuffix(rest, "/"), "/blobs/uploads"); ok {
		return route{uploads, name, ""}
	}
	head, reference := rest[:max(0, strings.LastIndexByte(rest, '/'))], rest[strings.LastIndexByte(rest, '/')+1:]
	for suffix, k := range map[string]kind{"/blobs/uploads": upload, "/blobs": blobs, "/manifests": manifests, "/referrers": referrers} {
		if name, ok := strings.CutSuffix(head, suffix); ok {
			return route{k, name, reference}
		}
	}
	return route{}
}
