package server

import "testing"

func TestParseRoute(t *testing.T) {
	for path, want := range map[string]route{
		"/v2":                                {kind: base},
		"/v2/":                               {kind: base},
		"/v2/_catalog":                       {kind: catalog},
		"/v2/a/tags/list":                    {tags, "a", ""},
		"/v2/a/blobs/uploads/":               {uploads, "a", ""},
		"/v2/a/blobs/uploads":                {uploads, "a", ""},
		"/v2/a/b/blobs/uploads/id":           {upload, "a/b", "id"},
		"/v2/a/blobs/sha256:1":               {blobs, "a", "sha256:1"},
		"/v2/a/manifests/v1":                 {manifests, "a", "v1"},
		"/v2/a/referrers/sha256:1":           {referrers, "a", "sha256:1"},
		"/v2/manifests/blobs/manifests/tags": {manifests, "manifests/blobs", "tags"},
		"/v2/blobs/blobs/sha256:1":           {blobs, "blobs", "sha256:1"},
		"/v1/a":                              {},
		"/v2/a":                              {},
		"/":                                  {},
	} {
		if got := parseRoute(path); got != want {
			t.Errorf("%s: got %+v, want %+v", path, got, want)
		}
	}
}

func FuzzParseRoute(f *testing.F) {
	f.Add("/v2/a/blobs/uploads/x")
	f.Fuzz(func(t *testing.T, path string) {
		if got := parseRoute(path); got.kind == upload && got.reference == "" {
			t.Errorf("%q is an upload without an id", path)
		}
	})
}
