package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/loam-cloud/loam/fault"
)

// The index's buckets. Keys are parts separated by NUL, which none of them holds:
// a repository is its upstream and its name.
const (
	metaBucket         = "meta"
	repositoriesBucket = "repositories" // repository: repositoryRecord
	manifestsBucket    = "manifests"    // repository, digest: manifestRecord
	linksBucket        = "links"        // repository, digest: linkRecord, of blobs
	tagsBucket         = "tags"         // repository, tag: tagRecord
	referrersBucket    = "referrers"    // repository, subject, digest: a mark
	blobsBucket        = "blobs"        // digest: blobRecord
	ownersBucket       = "owners"       // digest, repository: a mark
)

var buckets = [...]string{metaBucket, repositoriesBucket, manifestsBucket, linksBucket, tagsBucket, referrersBucket, blobsBucket, ownersBucket}

const (
	formatKey = "format"
	totalsKey = "totals"
)

// Repository names a repository: of an upstream (docker.io, library/nginx), or a
// private one, whose upstream is empty.
type Repository struct {
	Upstream, Name string
}

// Cached says that what the repository holds can be fetched again.
func (r Repository) Cached() bool { return r.Upstream != "" }

func (r Repository) String() string {
	if r.Upstream == "" {
		return r.Name
	}
	return r.Upstream + "/" + r.Name
}

func (r Repository) check() error {
	if r.Name == "" || strings.ContainsRune(r.Name+r.Upstream, 0) {
		return fault.New(fault.Invalid, "repository name %q must not be empty nor hold NUL", r.String())
	}
	return nil
}

// key begins every key of the repository.
func (r Repository) key(parts ...string) []byte {
	return []byte(strings.Join(append([]string{r.Upstream, r.Name}, parts...), "\x00"))
}

// prefix is what keys of the repository's things begin with.
func (r Repository) prefix(parts ...string) []byte { return append(r.key(parts...), 0) }

func ownerKey(d digest.Digest, r Repository) []byte {
	return []byte(d.String() + "\x00" + r.Upstream + "\x00" + r.Name)
}

func parseRepository(key []byte) Repository {
	upstream, name, _ := strings.Cut(string(key), "\x00")
	return Repository{upstream, name}
}

// lastPart is what a key ends in.
func lastPart(key []byte) string { return string(key[bytes.LastIndexByte(key, 0)+1:]) }

type repositoryRecord struct {
	Created time.Time `json:"created"`
}

type linkRecord struct {
	Linked time.Time `json:"linked"`
}

// blobRecord is of a blob's file, whoever links to it.
type blobRecord struct {
	Size   int64     `json:"size"`
	Stored time.Time `json:"stored"`
	Used   time.Time `json:"used,omitzero"`
	Pulls  int64     `json:"pulls,omitempty"`
}

type manifestRecord struct {
	Linked       time.Time         `json:"linked"`
	MediaType    string            `json:"mediaType"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Subject      digest.Digest     `json:"subject,omitempty"`
	// Blobs and Manifests are what it refers to.
	Blobs     []digest.Digest `json:"blobs,omitempty"`
	Manifests []digest.Digest `json:"manifests,omitempty"`
	// Bytes is the size of what it refers to, as it says.
	Bytes int64 `json:"bytes,omitempty"`
}

func (m manifestRecord) descriptor(d digest.Digest) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: m.MediaType, Digest: d, Size: m.Size, ArtifactType: m.ArtifactType, Annotations: m.Annotations}
}

type tagRecord struct {
	Digest  digest.Digest `json:"digest"`
	Updated time.Time     `json:"updated"`
	// Checked is when the upstream last said that it is so.
	Checked time.Time `json:"checked,omitzero"`
	Used    time.Time `json:"used,omitzero"`
	Pulls   int64     `json:"pulls,omitempty"`
	// Expiring is since when a retention rule wants it gone.
	Expiring time.Time `json:"expiring,omitzero"`
}

// get reads a record; false means that there is none.
func get(tx *bbolt.Tx, bucket string, key []byte, into any) (bool, error) {
	raw := tx.Bucket([]byte(bucket)).Get(key)
	if raw == nil {
		return false, nil
	}
	return true, json.Unmarshal(raw, into)
}

func has(tx *bbolt.Tx, bucket string, key []byte) bool {
	return tx.Bucket([]byte(bucket)).Get(key) != nil
}

func put(tx *bbolt.Tx, bucket string, key []byte, record any) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(bucket)).Put(key, raw)
}

func remove(tx *bbolt.Tx, bucket string, key []byte) error {
	return tx.Bucket([]byte(bucket)).Delete(key)
}

// scan calls do for every record whose key begins with prefix and is behind after,
// in order, until do says that it is enough. do must not change the bucket.
func scan(tx *bbolt.Tx, bucket string, prefix, after []byte, do func(key, raw []byte) (more bool, err error)) error {
	c := tx.Bucket([]byte(bucket)).Cursor()
	from := prefix
	if len(after) > 0 {
		from = after
	}
	k, v := c.Seek(from)
	if k != nil && len(after) > 0 && bytes.Equal(k, after) {
		k, v = c.Next()
	}
	for ; k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if more, err := do(k, v); err != nil || !more {
			return err
		}
	}
	return nil
}

// anyKey says whether some key begins with prefix.
func anyKey(tx *bbolt.Tx, bucket string, prefix []byte) bool {
	k, _ := tx.Bucket([]byte(bucket)).Cursor().Seek(prefix)
	return k != nil && bytes.HasPrefix(k, prefix)
}

func readTotals(tx *bbolt.Tx) Totals {
	raw := tx.Bucket([]byte(metaBucket)).Get([]byte(totalsKey))
	if len(raw) != 16 {
		return Totals{}
	}
	return Totals{Blobs: int64(binary.BigEndian.Uint64(raw)), Bytes: int64(binary.BigEndian.Uint64(raw[8:]))}
}

func addTotals(tx *bbolt.Tx, blobs, size int64) error {
	t := readTotals(tx)
	raw := binary.BigEndian.AppendUint64(nil, uint64(t.Blobs+blobs))
	return tx.Bucket([]byte(metaBucket)).Put([]byte(totalsKey), binary.BigEndian.AppendUint64(raw, uint64(t.Bytes+size)))
}
