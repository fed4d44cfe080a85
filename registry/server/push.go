package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/access"
	"github.com/loam-cloud/loam/registry/store"
)

// startUpload: "POST then PUT", "Single POST", "Pushing a blob in chunks",
// "Mounting a blob from another repository".
func (q *request) startUpload() error {
	query := q.r.URL.Query()
	if mount := query.Get("mount"); mount != "" {
		if done, err := q.mount(digest.Digest(mount), query.Get("from")); done || err != nil {
			return err
		}
	}
	p, err := q.server.store.StartUpload(q.repository)
	if err != nil {
		return err
	}
	if query.Has("digest") {
		return q.finish(p, query.Get("digest"))
	}
	if err := p.Close(); err != nil {
		return err
	}
	return q.progress(http.StatusAccepted, p.ID, 0)
}

// mount links a blob of another repository that the client may read. What cannot
// be mounted is uploaded: the specification wants an upload begun then.
func (q *request) mount(d digest.Digest, from string) (bool, error) {
	if possible := store.CheckDigest(d) == nil && validName(from) && q.who.May(access.Pull, from); !possible {
		return false, nil
	}
	_, err := q.server.store.StatBlob(store.Repository{Name: from}, d)
	if err == nil {
		err = q.server.store.Link(q.repository, d)
	}
	switch {
	case err == nil:
		q.created("blobs", d)
		return true, nil
	case errors.Is(err, fault.Missing):
		return false, nil
	}
	return false, err
}

// continueUpload: "Pushing a blob in chunks", and its status and its end.
func (q *request) continueUpload() error {
	switch q.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPut, http.MethodDelete:
	default:
		return q.unsupported()
	}
	p, err := q.server.store.Upload(q.repository, q.route.reference)
	if err != nil {
		return err
	}
	switch q.r.Method {
	case http.MethodPatch:
		return q.patch(p)
	case http.MethodPut:
		if problem := q.inOrder(p); problem != nil {
			return errors.Join(problem, p.Close())
		}
		return q.finish(p, q.r.URL.Query().Get("digest"))
	case http.MethodDelete:
		if err := p.Discard(); err != nil {
			return err
		}
		q.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err := p.Close(); err != nil {
		return err
	}
	return q.progress(http.StatusNoContent, p.ID, p.Size())
}

func (q *request) patch(p *store.Partial) error {
	if problem := q.inOrder(p); problem != nil {
		return errors.Join(problem, p.Close())
	}
	err := q.receive(p)
	// What arrived stays, also of a request that was cut: the client asks how much
	// it is, and continues there.
	if err := errors.Join(err, p.Close()); err != nil {
		return err
	}
	return q.progress(http.StatusAccepted, p.ID, p.Size())
}

var rangeGrammar = regexp.MustCompile(`^([0-9]+)-([0-9]+)$`)

// inOrder checks a chunk's Content-Range: chunks come in order, and are as long
// as they say.
func (q *request) inOrder(p *store.Partial) error {
	header := q.r.Header.Get("Content-Range")
	if header == "" {
		return nil
	}
	m := rangeGrammar.FindStringSubmatch(header)
	if m == nil {
		return q.outOfOrder(p, "Content-Range %q is not FIRST-LAST", header)
	}
	first, err1 := strconv.ParseInt(m[1], 10, 64)
	last, err2 := strconv.ParseInt(m[2], 10, 64)
	if err1 != nil || err2 != nil || first != p.Size() {
		return q.outOfOrder(p, "the chunk begins at %s, the upload is at %d", m[1], p.Size())
	}
	if length := q.r.ContentLength; length >= 0 && length != last-first+1 {
		return refuse(http.StatusBadRequest, codeSizeInvalid, "Content-Range %s is %d bytes, Content-Length %d", header, last-first+1, length)
	}
	return nil
}

func (q *request) outOfOrder(p *store.Partial, format string, args ...any) error {
	q.uploadHeaders(p.ID, p.Size())
	return refuse(http.StatusRequestedRangeNotSatisfiable, codeUploadInvalid, format, args...)
}

// stall is how long a client that pushes may send nothing.
const stall = 2 * time.Minute

// receive appends the request's body.
func (q *request) receive(p *store.Partial) error {
	body := &patient{from: q.r.Body, control: http.NewResponseController(q.w)}
	n, err := io.CopyBuffer(struct{ io.Writer }{p}, body, make([]byte, copyBuffer))
	if err == nil {
		return nil
	}
	if body.err != nil {
		return refuse(http.StatusBadRequest, codeSizeInvalid, "the upload ended after %d bytes: %w", n, body.err)
	}
	return err
}

// patient reads a body as long as something comes.
type patient struct {
	from    io.Reader
	control *http.ResponseController
	err     error
}

func (b *patient) Read(p []byte) (int, error) {
	// Where it is not supported, the client is waited for.
	_ = b.control.SetReadDeadline(time.Now().Add(stall))
	n, err := b.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// finish receives the rest and publishes the blob.
func (q *request) finish(p *store.Partial, want string) error {
	d := digest.Digest(want)
	if err := store.CheckDigest(d); err != nil {
		return errors.Join(refuse(http.StatusBadRequest, codeDigestInvalid, "%w", err), p.Close())
	}
	if err := q.receive(p); err != nil {
		return errors.Join(err, p.Close())
	}
	if err := p.Commit(q.repository, d); err != nil {
		return err
	}
	q.created("blobs", d)
	return nil
}

// created answers where the client finds what it pushed.
func (q *request) created(what string, d digest.Digest) {
	h := q.w.Header()
	h.Set("Location", fmt.Sprintf("/v2/%s/%s/%s", q.route.name, what, d))
	h.Set("Docker-Content-Digest", d.String())
	h.Set("Content-Length", "0")
	q.w.WriteHeader(http.StatusCreated)
}

func (q *request) progress(status int, id string, size int64) error {
	q.uploadHeaders(id, size)
	if status != http.StatusNoContent {
		q.w.Header().Set("Content-Length", "0")
	}
	q.w.WriteHeader(status)
	return nil
}

func (q *request) uploadHeaders(id string, size int64) {
	h := q.w.Header()
	h.Set("Location", fmt.Sprintf("/v2/%s/blobs/uploads/%s", q.route.name, id))
	h.Set("Docker-Upload-UUID", id)
	// Nothing and one byte look the same; so the specification has it.
	h.Set("Range", fmt.Sprintf("0-%d", max(0, size-1)))
}

// pushManifest: "Pushing Manifests", "Pushing Manifests with Subject".
func (q *request) pushManifest() error {
	put := store.Put{MediaType: q.r.Header.Get("Content-Type")}
	if d := digest.Digest(q.route.reference); store.CheckDigest(d) == nil {
		put.Digest = d
	} else if tagGrammar.MatchString(q.route.reference) {
		put.Tag = q.route.reference
	} else {
		return refuse(http.StatusBadRequest, codeManifestInvalid, "%q is neither a tag nor a digest", q.route.reference)
	}
	var err error
	put.Content, err = io.ReadAll(http.MaxBytesReader(q.w, q.r.Body, store.MaxManifest))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return refuse(http.StatusRequestEntityTooLarge, codeSizeInvalid, "the manifest has more than %d bytes", store.MaxManifest)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, codeSizeInvalid, "the manifest ended early: %w", err)
	}
	m, err := q.server.store.PutManifest(q.repository, put)
	if err != nil {
		return err
	}
	if m.Subject != "" {
		q.w.Header().Set("OCI-Subject", m.Subject.String())
	}
	q.created("manifests", m.Digest)
	return nil
}

// deleteManifest: "Deleting tags", "Deleting Manifests".
func (q *request) deleteManifest() error {
	var err error
	if d := digest.Digest(q.route.reference); store.CheckDigest(d) == nil {
		err = q.server.store.DeleteManifest(q.repository, d)
	} else {
		err = q.server.store.DeleteTag(q.repository, q.route.reference)
	}
	return q.accepted(err)
}

// deleteBlob: "Deleting Blobs".
func (q *request) deleteBlob() error {
	d, err := q.digest()
	if err != nil {
		return err
	}
	return q.accepted(q.server.store.Unlink(q.repository, d))
}

func (q *request) accepted(err error) error {
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Length", "0")
	q.w.WriteHeader(http.StatusAccepted)
	return nil
}
