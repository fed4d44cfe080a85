package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/registry/store"
)

// The tests of this file are the rules of the OCI distribution specification,
// version 1.1. Each names the section whose MUST and SHOULD it holds the server to.

const (
	get    = http.MethodGet
	head   = http.MethodHead
	post   = http.MethodPost
	patch  = http.MethodPatch
	put    = http.MethodPut
	remove = http.MethodDelete
)

// "Determining Support" (end-1).
func TestDeterminingSupport(t *testing.T) {
	r := start(t, nil)
	r.header(r.want(200, get, "/v2/", ""), "Docker-Distribution-API-Version", "registry/2.0")
	r.refused(404, "UNSUPPORTED", get, "/v2/app/unheard/of", "")
	r.refused(405, "UNSUPPORTED", put, "/v2/app/blobs/"+digest.FromString("a").String(), "")
}

// "Pulling manifests" (end-3) and "Checking if content exists in the registry".
func TestPullingManifests(t *testing.T) {
	r := start(t, nil)
	d, text := r.pushImage("team/app", "v1")
	for _, reference := range []string{"v1", d.String()} {
		for _, method := range []string{get, head} {
			a := r.want(200, method, "/v2/team/app/manifests/"+reference, "", "Accept", ocispec.MediaTypeImageManifest)
			r.header(a, "Docker-Content-Digest", d.String())
			r.header(a, "Content-Type", ocispec.MediaTypeImageManifest)
			r.header(a, "Content-Length", fmt.Sprint(len(text)))
			if want := map[string]string{get: text, head: ""}[method]; a.body != want {
				t.Errorf("%s: got %q", method, a.body)
			}
		}
		r.want(304, get, "/v2/team/app/manifests/"+reference, "", "If-None-Match", `"`+d.String()+`"`)
	}
	r.refused(404, "MANIFEST_UNKNOWN", get, "/v2/team/app/manifests/v2", "")
	r.refused(404, "MANIFEST_UNKNOWN", get, "/v2/team/app/manifests/"+digest.FromString("other").String(), "")
	r.refused(404, "MANIFEST_UNKNOWN", get, "/v2/team/none/manifests/v1", "")
	r.refused(400, "DIGEST_INVALID", get, "/v2/team/app/manifests/sha256:short", "")
	r.refused(400, "NAME_INVALID", get, "/v2/Team/app/manifests/v1", "")
	if a := r.want(404, head, "/v2/team/app/manifests/v2", ""); a.body != "" {
		t.Errorf("a HEAD was answered %q", a.body)
	}
}

// "Pulling blobs" (end-2) and "Checking if content exists in the registry".
func TestPullingBlobs(t *testing.T) {
	r := start(t, nil)
	d := r.pushBlob("app", "0123456789")
	path := "/v2/app/blobs/" + d.String()
	if a := r.want(200, get, path, ""); a.body != "0123456789" || a.Header.Get("Docker-Content-Digest") != d.String() {
		t.Errorf("got %q, %v", a.body, a.Header)
	}
	if a := r.want(200, head, path, ""); a.ContentLength != 10 || a.Header.Get("Docker-Content-Digest") != d.String() {
		t.Errorf("got %d, %v", a.ContentLength, a.Header)
	}
	if a := r.want(206, get, path, "", "Range", "bytes=3-5"); a.body != "345" {
		t.Errorf("got %q", a.body)
	}
	if a := r.want(206, get, path, "", "Range", "bytes=8-"); a.body != "89" || a.Header.Get("Content-Range") != "bytes 8-9/10" {
		t.Errorf("got %q, %v", a.body, a.Header)
	}
	r.want(416, get, path, "", "Range", "bytes=10-")
	r.want(304, get, path, "", "If-None-Match", `"`+d.String()+`"`)
	r.refused(404, "BLOB_UNKNOWN", get, "/v2/other/blobs/"+d.String(), "")
	r.want(404, head, "/v2/app/blobs/"+digest.FromString("other").String(), "")
	r.refused(400, "DIGEST_INVALID", get, "/v2/app/blobs/md5:0123", "")
}

// "Pushing a blob monolithically": "POST then PUT" (end-4a, end-6).
func TestPostThenPut(t *testing.T) {
	r := start(t, nil)
	d := digest.FromString("content")
	begun := r.want(202, post, "/v2/app/blobs/uploads/", "")
	location := begun.Header.Get("Location")
	if location == "" || begun.Header.Get("Docker-Upload-UUID") == "" {
		t.Fatalf("got %v", begun.Header)
	}
	a := r.want(201, put, location+"?digest="+d.String(), "content", "Content-Type", "application/octet-stream")
	if pulled := r.want(200, get, a.Header.Get("Location"), ""); pulled.body != "content" {
		t.Errorf("Location leads to %q", pulled.body)
	}
	r.refused(404, "BLOB_UPLOAD_UNKNOWN", put, location+"?digest="+d.String(), "content")
	again := r.want(202, post, "/v2/app/blobs/uploads/", "").Header.Get("Location")
	r.refused(400, "DIGEST_INVALID", put, again+"?digest="+d.String(), "other")
	r.refused(404, "BLOB_UNKNOWN", get, "/v2/app/blobs/"+digest.FromString("other").String(), "")
	third := r.want(202, post, "/v2/app/blobs/uploads/", "").Header.Get("Location")
	r.refused(400, "DIGEST_INVALID", put, third, "content")
	r.refused(404, "BLOB_UPLOAD_UNKNOWN", put, "/v2/other/blobs/uploads/"+third[strings.LastIndex(third, "/")+1:]+"?digest="+d.String(), "content")
}

// "Pushing a blob monolithically": "Single POST" (end-4b).
func TestSinglePost(t *testing.T) {
	r := start(t, nil)
	d := r.pushBlob("app", "content")
	if a := r.want(200, get, "/v2/app/blobs/"+d.String(), ""); a.body != "content" {
		t.Errorf("got %q", a.body)
	}
	r.refused(400, "DIGEST_INVALID", post, "/v2/app/blobs/uploads/?digest="+d.String(), "other")
	empty := r.pushBlob("app", "")
	r.want(200, get, "/v2/app/blobs/"+empty.String(), "")
	long := digest.SHA512.FromString("content")
	r.want(201, post, "/v2/app/blobs/uploads/?digest="+long.String(), "content")
	r.want(200, get, "/v2/app/blobs/"+long.String(), "")
}

// "Pushing a blob in chunks" (end-5, end-6, end-13).
func TestPushingABlobInChunks(t *testing.T) {
	r := start(t, nil)
	location := r.want(202, post, "/v2/app/blobs/uploads/", "").Header.Get("Location")
	chunk := func(status int, from, to int, body string) answer {
		t.Helper()
		a := r.want(status, patch, location, body, "Content-Range", fmt.Sprintf("%d-%d", from, to), "Content-Type", "application/octet-stream")
		if a.Header.Get("Location") != "" {
			location = a.Header.Get("Location")
		}
		return a
	}
	r.header(chunk(202, 0, 3, "0123"), "Range", "0-3")
	r.header(chunk(416, 0, 3, "0123"), "Range", "0-3")
	r.header(chunk(416, 5, 8, "5678"), "Range", "0-3")
	chunk(400, 4, 6, "4567")
	r.want(416, patch, location, "4567", "Content-Range", "bytes 4-7/*")
	status := r.want(204, get, location, "")
	r.header(status, "Range", "0-3")
	r.header(chunk(202, 4, 7, "4567"), "Range", "0-7")
	d := digest.FromString("0123456789")
	r.want(416, put, location+"?digest="+d.String(), "89", "Content-Range", "9-10")
	a := r.want(201, put, location+"?digest="+d.String(), "89", "Content-Range", "8-9")
	if pulled := r.want(200, get, a.Header.Get("Location"), ""); pulled.body != "0123456789" {
		t.Errorf("got %q", pulled.body)
	}
	// Without Content-Range, as Docker's clients stream.
	location = r.want(202, post, "/v2/app/blobs/uploads/", "").Header.Get("Location")
	r.want(202, patch, location, "ab")
	r.want(202, patch, location, "cd")
	r.want(201, put, location+"?digest="+digest.FromString("abcd").String(), "")
}

// "Pushing a blob in chunks": what is canceled is gone.
func TestCancelingAnUpload(t *testing.T) {
	r := start(t, nil)
	location := r.want(202, post, "/v2/app/blobs/uploads/", "").Header.Get("Location")
	r.want(204, remove, location, "")
	r.refused(404, "BLOB_UPLOAD_UNKNOWN", get, location, "")
	r.refused(404, "BLOB_UPLOAD_UNKNOWN", patch, location, "a")
	r.refused(404, "BLOB_UPLOAD_UNKNOWN", remove, "/v2/app/blobs/uploads/no-such", "")
}

// "Mounting a blob from another repository" (end-11).
func TestMountingABlobFromAnotherRepository(t *testing.T) {
	r := start(t, nil)
	d := r.pushBlob("source", "content")
	a := r.want(201, post, "/v2/target/blobs/uploads/?mount="+d.String()+"&from=source", "")
	if pulled := r.want(200, get, a.Header.Get("Location"), ""); pulled.body != "content" || !strings.HasPrefix(a.Header.Get("Location"), "/v2/target/") {
		t.Errorf("got %q at %s", pulled.body, a.Header.Get("Location"))
	}
	for _, query := range []string{"mount=" + d.String() + "&from=empty", "mount=" + d.String(), "mount=" + digest.FromString("x").String() + "&from=source", "mount=x&from=source"} {
		if a := r.want(202, post, "/v2/third/blobs/uploads/?"+query, ""); a.Header.Get("Location") == "" {
			t.Errorf("%s: no upload was begun", query)
		}
	}
	r.want(404, get, "/v2/third/blobs/"+d.String(), "")
}

// "Pushing Manifests" (end-7).
func TestPushingManifests(t *testing.T) {
	r := start(t, nil)
	text := r.encode(image())
	d := digest.FromString(text)
	path := "/v2/app/manifests/"
	r.refused(404, "MANIFEST_BLOB_UNKNOWN", put, path+"v1", text, "Content-Type", ocispec.MediaTypeImageManifest)
	r.pushBlob("app", "{}")
	r.pushBlob("app", "layer")
	a := r.want(201, put, path+"v1", text, "Content-Type", ocispec.MediaTypeImageManifest)
	r.header(a, "Docker-Content-Digest", d.String())
	if pulled := r.want(200, get, a.Header.Get("Location"), ""); pulled.body != text {
		t.Errorf("Location leads to %q", pulled.body)
	}
	// By digest, by one of another algorithm, and by a wrong one.
	r.want(201, put, path+d.String(), text, "Content-Type", ocispec.MediaTypeImageManifest)
	long := digest.SHA512.FromString(text)
	r.want(201, put, path+long.String(), text, "Content-Type", ocispec.MediaTypeImageManifest)
	r.header(r.want(200, get, path+long.String(), ""), "Docker-Content-Digest", long.String())
	r.refused(400, "DIGEST_INVALID", put, path+digest.FromString("x").String(), text, "Content-Type", ocispec.MediaTypeImageManifest)
	r.refused(400, "MANIFEST_INVALID", put, path+"v1", "no json", "Content-Type", ocispec.MediaTypeImageManifest)
	r.refused(400, "MANIFEST_INVALID", put, path+"v1", text, "Content-Type", ocispec.MediaTypeImageIndex)
	r.refused(400, "MANIFEST_INVALID", put, path+"-bad", text, "Content-Type", ocispec.MediaTypeImageManifest)
	// "The registry SHOULD enforce some limit": 413, and four mebibytes are taken.
	r.refused(413, "SIZE_INVALID", put, path+"big", strings.Repeat(" ", store.MaxManifest)+text, "Content-Type", ocispec.MediaTypeImageManifest)
	r.want(201, put, path+"large", text+strings.Repeat(" ", store.MaxManifest-len(text)), "Content-Type", ocispec.MediaTypeImageManifest)
	index := r.encode(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{describe(ocispec.MediaTypeImageManifest, text)}})
	r.want(201, put, path+"index", index, "Content-Type", ocispec.MediaTypeImageIndex)
	r.refused(404, "MANIFEST_BLOB_UNKNOWN", put, "/v2/other/manifests/index", index, "Content-Type", ocispec.MediaTypeImageIndex)
}

// "Pushing Manifests with Subject" and "Listing Referrers" (end-12a, end-12b).
func TestReferrers(t *testing.T) {
	r := start(t, nil)
	subject, text := r.pushImage("app", "v1")
	list := func(path string) []ocispec.Descriptor {
		t.Helper()
		a := r.want(200, get, path, "")
		r.header(a, "Content-Type", ocispec.MediaTypeImageIndex)
		var index ocispec.Index
		if err := json.Unmarshal([]byte(a.body), &index); err != nil || index.SchemaVersion != 2 || index.Manifests == nil {
			t.Fatalf("got %s, %v", a.body, err)
		}
		return index.Manifests
	}
	path := "/v2/app/referrers/" + subject.String()
	if found := list(path); len(found) != 0 {
		t.Errorf("got %v", found)
	}
	var pushed []digest.Digest
	for _, artifactType := range []string{"application/signature", "application/sbom"} {
		about := describe(ocispec.MediaTypeImageManifest, text)
		m := image()
		m.Subject, m.ArtifactType, m.Annotations = &about, artifactType, map[string]string{"of": artifactType}
		raw := r.encode(m)
		a := r.want(201, put, "/v2/app/manifests/"+digest.FromString(raw).String(), raw, "Content-Type", ocispec.MediaTypeImageManifest)
		r.header(a, "OCI-Subject", subject.String())
		pushed = append(pushed, digest.FromString(raw))
	}
	found := list(path)
	if len(found) != 2 {
		t.Fatalf("got %v", found)
	}
	for _, d := range found {
		if !slices.Contains(pushed, d.Digest) || d.ArtifactType != d.Annotations["of"] || d.Size == 0 || d.MediaType != ocispec.MediaTypeImageManifest {
			t.Errorf("got %+v", d)
		}
	}
	// "If filtering is requested and applied, the response MUST include a header".
	a := r.want(200, get, path+"?artifactType=application/sbom", "")
	r.header(a, "OCI-Filters-Applied", "artifactType")
	if found := list(path + "?artifactType=application/sbom"); len(found) != 1 || found[0].Digest != pushed[1] {
		t.Errorf("got %v", found)
	}
	// A subject may be pushed later, or never; an artifact without a type has its config's.
	about := describe(ocispec.MediaTypeImageManifest, "later")
	m := image()
	m.Subject = &about
	r.want(201, put, "/v2/app/manifests/early", r.encode(m), "Content-Type", ocispec.MediaTypeImageManifest)
	if found := list("/v2/app/referrers/" + about.Digest.String()); len(found) != 1 || found[0].ArtifactType != ocispec.MediaTypeImageConfig {
		t.Errorf("got %v", found)
	}
	// "MUST NOT return a 404", and 400 for what is no digest.
	if found := list("/v2/none/referrers/" + subject.String()); len(found) != 0 {
		t.Errorf("got %v", found)
	}
	r.refused(400, "DIGEST_INVALID", get, "/v2/app/referrers/v1", "")
	r.want(202, remove, "/v2/app/manifests/"+pushed[0].String(), "")
	if found := list(path); len(found) != 1 {
		t.Errorf("a deleted referrer is listed: %v", found)
	}
}

// "Listing Tags" (end-8a, end-8b).
func TestListingTags(t *testing.T) {
	r := start(t, nil)
	for _, tag := range []string{"b", "a", "C", "1.0", "d"} {
		r.pushImage("app", tag)
	}
	list := func(path string) ([]string, string) {
		t.Helper()
		a := r.want(200, get, path, "")
		var content struct {
			Name string
			Tags []string
		}
		if err := json.Unmarshal([]byte(a.body), &content); err != nil || content.Name != "app" || content.Tags == nil {
			t.Fatalf("got %s, %v", a.body, err)
		}
		return content.Tags, a.Header.Get("Link")
	}
	for path, want := range map[string][]string{
		"":              {"1.0", "C", "a", "b", "d"},
		"?n=2":          {"1.0", "C"},
		"?n=0":          {},
		"?n=9":          {"1.0", "C", "a", "b", "d"},
		"?n=2&last=a":   {"b", "d"},
		"?last=a":       {"b", "d"},
		"?n=2&last=aa":  {"b", "d"},
		"?n=2&last=zzz": {},
	} {
		got, link := list("/v2/app/tags/list" + path)
		if !slices.Equal(got, want) || (link != "") != (path == "?n=2") {
			t.Errorf("%s: got %v and %q, want %v", path, got, link, want)
		}
	}
	var all []string
	for next := "/v2/app/tags/list?n=2"; next != ""; {
		got, link := list(next)
		all = append(all, got...)
		next, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
	}
	if !slices.Equal(all, []string{"1.0", "C", "a", "b", "d"}) {
		t.Errorf("pages hold %v", all)
	}
	r.refused(404, "NAME_UNKNOWN", get, "/v2/none/tags/list", "")
	r.refused(400, "UNSUPPORTED", get, "/v2/app/tags/list?n=-1", "")
	r.pushBlob("blobs", "only")
	r.want(200, get, "/v2/blobs/tags/list", "")
}

// "Deleting tags", "Deleting Manifests" (end-9), "Deleting Blobs" (end-10).
func TestContentManagement(t *testing.T) {
	r := start(t, nil)
	d, _ := r.pushImage("app", "v1")
	r.pushImage("app", "v2")
	r.want(202, remove, "/v2/app/manifests/v1", "")
	r.want(404, get, "/v2/app/manifests/v1", "")
	r.want(200, get, "/v2/app/manifests/"+d.String(), "")
	r.refused(404, "MANIFEST_UNKNOWN", remove, "/v2/app/manifests/v1", "")
	r.want(202, remove, "/v2/app/manifests/"+d.String(), "")
	r.want(404, get, "/v2/app/manifests/"+d.String(), "")
	r.want(404, get, "/v2/app/manifests/v2", "")
	r.refused(404, "MANIFEST_UNKNOWN", remove, "/v2/app/manifests/"+d.String(), "")
	r.refused(404, "MANIFEST_UNKNOWN", remove, "/v2/none/manifests/"+d.String(), "")
	blob := digest.FromString("layer")
	r.want(202, remove, "/v2/app/blobs/"+blob.String(), "")
	r.want(404, get, "/v2/app/blobs/"+blob.String(), "")
	r.refused(404, "BLOB_UNKNOWN", remove, "/v2/app/blobs/"+blob.String(), "")
	r.want(200, get, "/v2/app/tags/list", "")
}
