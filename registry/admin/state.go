package admin

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/collect"
	"github.com/loam-cloud/loam/registry/store"
)

// Status is the state of the cache.
type Status struct {
	// Blobs and Bytes are what is stored, manifests among them; PartialBytes what is
	// arriving, or was and can be resumed.
	Blobs        int64 `json:"blobs"`
	Bytes        int64 `json:"bytes"`
	PartialBytes int64 `json:"partialBytes"`
	// Cap is what all may take, 0 when there is no bound.
	Cap int64 `json:"cap,omitempty"`
	// Addresses are where the cache listens, by what for.
	Addresses map[string]string `json:"addresses,omitempty"`
	Upstreams []Upstream        `json:"upstreams"`
}

func (a admin) status(*http.Request) (any, error) {
	status, err := FolderStatus(a.Keeper)
	status.Upstreams = a.Upstreams()
	if a.Addresses != nil {
		status.Addresses = a.Addresses()
	}
	return status, err
}

// FolderStatus is the state of a cache's folder, without what only a process that
// serves it knows.
func FolderStatus(k *collect.Keeper) (Status, error) {
	totals, err := k.Store.Totals()
	if err != nil {
		return Status{}, err
	}
	partial, err := k.Store.PartialBytes()
	return Status{Blobs: totals.Blobs, Bytes: totals.Bytes, PartialBytes: partial, Cap: k.Plan.Cap, Upstreams: []Upstream{}}, err
}

// Repository is one, with what it has.
type Repository struct {
	// Upstream is whose it is; empty when it is private.
	Upstream string `json:"upstream,omitempty"`
	Name     string `json:"name"`
	// Tags and Manifests count them; Bytes is the size of all blobs that the
	// repository has, each once, whoever else has it.
	Tags      int   `json:"tags"`
	Manifests int   `json:"manifests"`
	Bytes     int64 `json:"bytes"`
	// Pulls are those by a tag.
	Pulls    int64     `json:"pulls"`
	LastPull time.Time `json:"lastPull,omitzero"`
}

// repositories lists those of ?upstream=, private ones without it, behind ?last=,
// ?n= of them at most.
func (a admin) repositories(r *http.Request) (any, error) {
	limit, err := number(r, "n", -1)
	if err != nil {
		return nil, err
	}
	all, err := a.Store.Repositories(r.URL.Query().Get("upstream"), r.URL.Query().Get("last"), limit)
	if err != nil {
		return nil, err
	}
	list := make([]Repository, 0, len(all))
	for _, repository := range all {
		one, err := a.describe(repository)
		if errors.Is(err, fault.Missing) {
			// It was empty, and a collection has forgotten it.
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

func (a admin) describe(r store.Repository) (Repository, error) {
	d := Repository{Upstream: r.Upstream, Name: r.Name}
	tags, err := a.Store.Tags(r, "", -1)
	if err != nil {
		return d, err
	}
	for _, tag := range tags {
		d.Pulls += tag.Pulls
		if tag.Used.After(d.LastPull) {
			d.LastPull = tag.Used
		}
	}
	manifests, err := a.Store.Manifests(r)
	d.Tags, d.Manifests = len(tags), len(manifests)
	if err != nil {
		return d, err
	}
	d.Bytes, err = a.Store.RepositoryBytes(r)
	return d, err
}

// Tag is a tag with what it leads to.
type Tag struct {
	Name      string        `json:"name"`
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType,omitempty"`
	// Bytes is the size of what the manifest refers to, as it says; of an index that
	// of all its manifests.
	Bytes   int64     `json:"bytes"`
	Updated time.Time `json:"updated"`
	// Checked is when the upstream last confirmed it.
	Checked  time.Time `json:"checked,omitzero"`
	Pulls    int64     `json:"pulls"`
	LastPull time.Time `json:"lastPull,omitzero"`
	// Expiring is since when a retention rule wants it gone.
	Expiring time.Time `json:"expiring,omitzero"`
}

// tags lists those of ?upstream= and ?name=, behind ?last=, ?n= of them at most.
func (a admin) tags(r *http.Request) (any, error) {
	limit, err := number(r, "n", -1)
	if err != nil {
		return nil, err
	}
	query := r.URL.Query()
	repository := store.Repository{Upstream: query.Get("upstream"), Name: query.Get("name")}
	all, err := a.Store.Tags(repository, query.Get("last"), limit)
	if err != nil {
		return nil, err
	}
	manifests, err := a.Store.Manifests(repository)
	if err != nil {
		return nil, err
	}
	known := map[digest.Digest]store.ManifestInfo{}
	for _, m := range manifests {
		known[m.Digest] = m
	}
	list := make([]Tag, len(all))
	for i, t := range all {
		m := known[t.Digest]
		list[i] = Tag{t.Name, t.Digest, m.MediaType, size(m, known), t.Updated, t.Checked, t.Pulls, t.Used, t.Expiring}
	}
	return list, nil
}

// size adds up what a manifest refers to, and what the manifests in it do.
func size(m store.ManifestInfo, known map[digest.Digest]store.ManifestInfo) int64 {
	total := m.Bytes
	for _, d := range m.References {
		if child, ok := known[d]; ok {
			total += size(child, known)
		}
	}
	return total
}

func number(r *http.Request, name string, otherwise int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fault.New(fault.Invalid, "%s is %q, must be a number from 0 on", name, text)
	}
	return n, nil
}
