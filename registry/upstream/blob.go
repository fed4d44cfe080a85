package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-logr/logr"
	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
)

// mostResumes bounds how often one download is taken up again though each time
// something came: an upstream that cuts after every byte is no upstream.
const mostResumes = 1000

// copyBuffer is how much is read of a connection at once, in bytes: at most as
// much as a socket holds, so that a fast upstream costs few calls of the system.
const copyBuffer = 256 << 10

// Sink takes a blob as it comes.
type Sink interface {
	// Size is told how long the whole blob is, before the first byte, once it is
	// known; not at all if the upstream never says. An error ends the download.
	Size(int64) error
	// Write takes the bytes in their order. An error ends the download.
	io.Writer
}

// Download copies a blob from the byte at from on to the sink, and takes it up
// where it was whenever the connection is lost, as long as something comes at
// all. That it returns nil means that the upstream says this was all: whether
// it was the blob is for the caller to check. ErrChanged means that what came
// before does not belong to what would come.
func (c *Client) Download(ctx context.Context, repository string, d digest.Digest, from int64, sink Sink) error {
	t := &transfer{sink: sink, at: from, size: -1}
	idle := 0
	for resumes := 0; ; resumes++ {
		before := t.at
		err := c.piece(ctx, repository, d, t)
		if err == nil {
			c.note(nil)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if t.failed != nil || !errors.Is(err, errPiece) {
			return err
		}
		c.note(err)
		if idle++; t.at > before {
			idle = 0
		}
		if idle >= c.o.Attempts || resumes >= mostResumes {
			return err
		}
		logr.FromContextOrDiscard(ctx).Info("Resuming a download", "upstream", c.o.Name, "repository", repository, "digest", d, "offset", t.at, "reason", err.Error())
		if err := c.sleep(ctx, c.delay(idle), err); err != nil {
			return err
		}
	}
}

// errPiece marks what ended a piece after its headers had come: the rest may
// be had by another.
var errPiece = errors.New("piece")

// transfer is how far a download is.
type transfer struct {
	sink     Sink
	at, size int64
	// failed is what the sink said; there is no use in going on then.
	failed error
}

// piece asks for what is missing, once it answers, and copies what comes.
func (c *Client) piece(ctx context.Context, repository string, d digest.Digest, t *transfer) error {
	r := request{
		method: http.MethodGet, url: c.url(repository, "blobs", d.String()), repository: repository,
		header: http.Header{}, good: []int{http.StatusOK},
	}
	if t.at > 0 {
		r.header.Set("Range", fmt.Sprintf("bytes=%d-", t.at))
		r.good = append(r.good, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable)
	}
	resp, err := c.ask(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	size, begin := resp.ContentLength, int64(0)
	if resp.StatusCode != http.StatusOK {
		var ok bool
		if begin, size, ok = contentRange(resp.Header.Get("Content-Range")); !ok || begin > t.at {
			return piece("%s answered a request for the bytes from %d on with the range %q", c.o.Name, t.at, resp.Header.Get("Content-Range"))
		}
	}
	if err := t.learn(size); err != nil {
		return err
	}
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		if size == t.at {
			// All of it was there already.
			return nil
		}
		return fault.New(fault.Transient, "%w: %s has nothing from byte %d on", ErrChanged, c.o.Name, t.at)
	}
	return c.copy(t, resp.Body, t.at-begin)
}

func piece(format string, args ...any) error {
	return fault.Wrap(fault.Transient, fmt.Errorf("%w", &pieceError{fmt.Errorf(format, args...)}))
}

type pieceError struct{ error }

func (e *pieceError) Unwrap() error        { return e.error }
func (e *pieceError) Is(target error) bool { return target == errPiece }

// learn takes what an answer says about the blob's length; -1 is nothing.
func (t *transfer) learn(size int64) error {
	switch {
	case size < 0:
		return nil
	case t.size < 0:
		if size < t.at {
			return fault.New(fault.Transient, "%w: %d bytes came of one that is to have %d", ErrChanged, t.at, size)
		}
		t.size = size
		t.failed = t.sink.Size(size)
		return t.failed
	case size != t.size:
		return fault.New(fault.Transient, "%w: first %d bytes, then %d", ErrChanged, t.size, size)
	}
	return nil
}

// copy skips what the sink has already and hands on the rest.
func (c *Client) copy(t *transfer, from io.Reader, skip int64) error {
	if _, err := io.CopyN(io.Discard, from, skip); err != nil {
		return piece("while skipping the first %d bytes: %w", skip, ended(err))
	}
	if _, err := io.CopyBuffer(t, from, make([]byte, copyBuffer)); err != nil {
		if t.failed != nil {
			return t.failed
		}
		return piece("%w", err)
	}
	if t.size >= 0 && t.at != t.size {
		return piece("%s ended after %d bytes of %d", c.o.Name, t.at, t.size)
	}
	return nil
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Write counts what the sink takes, which is never more than it was told of.
func (t *transfer) Write(p []byte) (int, error) {
	if t.size >= 0 && t.at+int64(len(p)) > t.size {
		t.failed = fault.New(fault.Transient, "%w: more came than %d bytes", ErrChanged, t.size)
		return 0, t.failed
	}
	n, err := t.sink.Write(p)
	t.at += int64(n)
	t.failed = err
	return n, err
}

// contentRange reads "bytes 5-9/10", "bytes 5-9/*" and "bytes */10". A length
// that is not said is -1, and so is a begin.
func contentRange(value string) (begin, size int64, ok bool) {
	rest, ok := strings.CutPrefix(value, "bytes ")
	span, total, both := strings.Cut(rest, "/")
	if !ok || !both {
		return 0, 0, false
	}
	size = -1
	if total != "*" {
		if size, ok = number(total); !ok {
			return 0, 0, false
		}
	}
	if span == "*" {
		return -1, size, size >= 0
	}
	first, last, both := strings.Cut(span, "-")
	begin, ok = number(first)
	end, okEnd := number(last)
	if !both || !ok || !okEnd || end < begin || size >= 0 && end >= size {
		return 0, 0, false
	}
	return begin, size, true
}

func number(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}
