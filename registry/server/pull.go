package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/registry/store"
)

// pullManifest: "Pulling manifests", "Checking if content exists in the registry".
func (q *request) pullManifest() error {
	byDigest := strings.Contains(q.route.reference, ":")
	if byDigest {
		if _, err := q.digest(); err != nil {
			return err
		}
	} else if !tagGrammar.MatchString(q.route.reference) {
		return refuse(http.StatusNotFound, codeManifestUnknown, "%q is neither a tag nor a digest", q.route.reference)
	}
	m, err := q.source.Manifest(q.context(), q.repository, q.route.reference)
	if err != nil {
		return err
	}
	h := q.w.Header()
	h.Set("Content-Type", m.MediaType)
	q.contentHeaders(m.Digest, byDigest)
	q.warn(m.Stale)
	if m.Subject != "" {
		h.Set("OCI-Subject", m.Subject.String())
	}
	if matches(q.r.Header.Get("If-None-Match"), m.Digest) {
		q.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Length", strconv.Itoa(len(m.Content)))
	q.w.WriteHeader(http.StatusOK)
	if q.r.Method == http.MethodHead {
		return nil
	}
	if _, err := q.w.Write(m.Content); err != nil {
		// The client has gone.
		return nil //nolint:nilerr // there is nobody to answer
	}
	if byDigest {
		q.server.store.CountPull(m.Digest)
	} else {
		q.server.store.CountTagPull(q.repository, q.route.reference)
	}
	return nil
}

// contentHeaders are those of something that has a digest.
func (q *request) contentHeaders(d digest.Digest, immutable bool) {
	h := q.w.Header()
	h.Set("Docker-Content-Digest", d.String())
	h.Set("Etag", `"`+d.String()+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	if immutable {
		// A year, which RFC 2616 calls for ever. It is the client's own cache only:
		// who may pull is asked each time.
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	}
}

// warn marks an answer that may be out of date: RFC 7234, 5.5.1.
func (q *request) warn(stale string) {
	if stale != "" {
		q.w.Header().Set("Warning", "110 - "+strconv.QuoteToASCII("Response is Stale: "+stale))
	}
}

// matches says whether an If-None-Match names the digest.
func matches(header string, d digest.Digest) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`) == d.String() {
			return true
		}
	}
	return false
}

// pullBlob: "Pulling blobs", "Checking if content exists in the registry", and
// ranges of RFC 9110.
func (q *request) pullBlob() error {
	d, err := q.digest()
	if err != nil {
		return err
	}
	h := q.w.Header()
	if q.r.Method == http.MethodHead {
		size, err := q.source.BlobSize(q.context(), q.repository, d)
		if err != nil {
			return err
		}
		q.contentHeaders(d, true)
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Accept-Ranges", "bytes")
		h.Set("Content-Length", strconv.FormatInt(size, 10))
		q.w.WriteHeader(http.StatusOK)
		return nil
	}
	content, err := q.source.Blob(q.context(), q.repository, d)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }() // it is only read
	q.contentHeaders(d, true)
	h.Set("Content-Type", "application/octet-stream")
	return q.send(content, d)
}

// arriving is content that is not known to be right before all of it is there.
type arriving interface {
	store.Content
	// WriteTo gives on what arrives as it does.
	io.WriterTo
	// Verified waits until the content is complete and right.
	Verified(ctx context.Context) error
}

// toTheEnd is the range of a client that resumes: it ends where the content
// does, and with it is held back until that is right.
var toTheEnd = regexp.MustCompile(`^bytes=[0-9]+-$`)

// send streams content with what ranges were asked for. Once a header has gone
// out, an error can only be told by cutting the connection.
func (q *request) send(content store.Content, d digest.Digest) error {
	late, isLate := content.(arriving)
	ranges := q.r.Header.Get("Range")
	if isLate && ranges != "" && !toTheEnd.MatchString(ranges) {
		// A part is a complete answer, so it has to be right by itself.
		if err := late.Verified(q.context()); err != nil {
			return err
		}
	}
	b, isFile := content.(*store.Blob)
	switch {
	case isFile && q.r.TLS == nil:
		// A plain file, which the kernel sends without copying. If the disk fails
		// meanwhile, fewer bytes go out than Content-Length says, and net/http cuts
		// the connection.
		http.ServeContent(q.w, q.r, "", time.Time{}, b.File)
	case isLate && q.r.TLS == nil && ranges == "" && q.r.Header.Get("If-None-Match") == "":
		q.w.Header().Set("Accept-Ranges", "bytes")
		q.w.Header().Set("Content-Length", strconv.FormatInt(content.Size(), 10))
		q.w.WriteHeader(http.StatusOK)
		_, err := late.WriteTo(q.w)
		q.cutOff(err, d)
	default:
		watched := &watched{Content: content}
		http.ServeContent(q.w, q.r, "", time.Time{}, watched)
		q.cutOff(watched.err, d)
	}
	if q.w.status == http.StatusOK && q.w.bytes == content.Size() {
		q.server.store.CountPull(d)
	}
	return nil
}

// cutOff ends the connection if there was an error, so that no client takes what
// it has for all.
func (q *request) cutOff(err error, d digest.Digest) {
	if err == nil {
		return
	}
	if q.context().Err() == nil {
		q.server.log.Error(err, "Cut a client off, since its blob could not be completed", "repository", q.repository.String(), "digest", d.String(), "sent", q.w.bytes)
	}
	panic(http.ErrAbortHandler)
}

// watched remembers why reading ended.
type watched struct {
	store.Content
	err error
}

func (c *watched) Read(b []byte) (int, error) {
	n, err := c.Content.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

// counted counts what is answered, and keeps the way open by which the kernel
// sends files.
type counted struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (c *counted) WriteHeader(status int) {
	if c.status == 0 || c.status < 200 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := c.ResponseWriter.Write(b)
	c.bytes += int64(n)
	return n, err
}

// copyBuffer is large, since what is copied goes from a file through TLS.
const copyBuffer = 256 << 10

// ReadFrom is what io.Copy uses.
func (c *counted) ReadFrom(from io.Reader) (int64, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	var n int64
	var err error
	if to, ok := c.ResponseWriter.(io.ReaderFrom); ok && isFile(from) {
		n, err = to.ReadFrom(from)
	} else {
		n, err = io.CopyBuffer(struct{ io.Writer }{c.ResponseWriter}, from, make([]byte, copyBuffer))
	}
	c.bytes += n
	return n, err
}

func isFile(from io.Reader) bool {
	if limited, ok := from.(*io.LimitedReader); ok {
		from = limited.R
	}
	_, ok := from.(*os.File)
	return ok
}

// Unwrap is for http.ResponseController.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
