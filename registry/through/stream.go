package through

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/store"
)

// errDiffers is why a reader is cut off although the blob is there by now.
var errDiffers = errors.New("what was given of the blob before it was complete is not what it is")

// stream is a blob as one client reads it while it arrives. It reads the file
// that the download writes, at its own pace: no client waits for another.
//
// If what arrived turns out to be wrong, the stream waits for the next attempt,
// and goes on if what it gave away so far was right all the same.
type stream struct {
	dl *download
	// ctx is of the request that reads: reads end when it does.
	ctx context.Context
	// size is what the client was told.
	size   int64
	offset int64

	// file is what round wrote; blob is set once it is the stored one.
	file  *os.File
	round int
	blob  *store.Blob
	// given is the span that was read, empty if none was.
	given struct{ from, to int64 }
}

// open waits until a blob's size is known and something of it can be read.
func (dl *download) open(ctx context.Context) (*stream, error) {
	for {
		v := dl.look()
		if v.state == failed {
			return nil, v.err
		}
		if v.state == verified || v.given() > 0 {
			return &stream{dl: dl, ctx: ctx, size: v.size, round: -1}, nil
		}
		if err := wait(ctx, v); err != nil {
			return nil, err
		}
	}
}

func wait(ctx context.Context, v view) error {
	select {
	case <-v.changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Size is how long the blob is, as the upstream says.
func (s *stream) Size() int64 { return s.size }

// Seek moves to where is read next.
func (s *stream) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.offset
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seeking to byte %d", offset)
	}
	s.offset = offset
	return offset, nil
}

// Read waits for bytes that have not arrived, and with the last ones until the
// blob is known to be right.
func (s *stream) Read(p []byte) (int, error) {
	end, err := s.await()
	if err != nil {
		return 0, err
	}
	n, err := s.file.ReadAt(p[:min(int64(len(p)), end-s.offset)], s.offset)
	s.took(int64(n))
	return n, cutShort(err)
}

// WriteTo gives whole pieces of the file to a writer that can take them without
// copying, each as soon as it is there.
func (s *stream) WriteTo(w io.Writer) (int64, error) {
	flusher, _ := w.(interface{ Flush() })
	for sum := int64(0); ; {
		end, err := s.await()
		if errors.Is(err, io.EOF) {
			return sum, nil
		}
		if err != nil {
			return sum, err
		}
		if _, err := s.file.Seek(s.offset, io.SeekStart); err != nil {
			return sum, err
		}
		n, err := io.CopyN(w, s.file, end-s.offset)
		s.took(n)
		if sum += n; err != nil {
			return sum, cutShort(err)
		}
		if flusher != nil {
			flusher.Flush()
		}
	}
}

// cutShort keeps an end of the file from looking like the end of the blob.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// took counts what was given away.
func (s *stream) took(n int64) {
	if s.given.from == s.given.to {
		s.given.from, s.given.to = s.offset, s.offset
	}
	s.given.from = min(s.given.from, s.offset)
	s.offset += n
	s.given.to = max(s.given.to, s.offset)
}

// await waits until there is something to be read at the offset, and returns
// where that ends; io.EOF at the end of a blob that is right.
func (s *stream) await() (end int64, err error) {
	for {
		if err := s.ctx.Err(); err != nil {
			return 0, context.Cause(s.ctx)
		}
		v := s.dl.look()
		if v.state == failed {
			return 0, v.err
		}
		if v.state == verified {
			if err := s.settle(v); err != nil {
				return 0, err
			}
			if s.offset >= s.size {
				return 0, io.EOF
			}
			return s.size, nil
		}
		if end := min(v.given(), s.size); s.offset < end {
			ready, err := s.follow(v)
			if err != nil {
				return 0, err
			}
			if ready {
				return end, nil
			}
		}
		if err := wait(s.ctx, v); err != nil {
			return 0, err
		}
	}
}

// follow opens the file that the download writes now. It is not ready if that is
// not the one that this stream gave away the beginning of, or has ended.
func (s *stream) follow(v view) (ready bool, err error) {
	if s.file != nil && s.round == v.round {
		return true, nil
	}
	if s.given.from != s.given.to || v.size != s.size {
		return false, nil
	}
	file, round, err := s.dl.file()
	if errors.Is(err, fault.Missing) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if s.file != nil {
		err = s.file.Close()
	}
	s.file, s.round = file, round
	return round == v.round, err
}

// settle turns to the blob that is right now, if what was given away is of it.
func (s *stream) settle(v view) error {
	if s.blob != nil || s.file != nil && s.round == v.round {
		return nil
	}
	if v.size != s.size {
		return fault.New(fault.Transient, "%w: it has %d bytes, not %d", errDiffers, v.size, s.size)
	}
	blob, err := s.dl.cache.store.OpenBlob(s.dl.repository, s.dl.digest)
	if err != nil {
		return err
	}
	if s.file != nil {
		err = errors.Join(s.compare(blob), s.file.Close())
	}
	s.file, s.blob = blob.File, blob
	return err
}

// compare says whether what was given away is what the blob is there.
func (s *stream) compare(blob *store.Blob) error {
	const piece = 64 << 10
	was, is := make([]byte, piece), make([]byte, piece)
	for at := s.given.from; at < s.given.to; at += piece {
		n := min(piece, s.given.to-at)
		if _, err := s.file.ReadAt(was[:n], at); err != nil {
			return cutShort(err)
		}
		if _, err := blob.ReadAt(is[:n], at); err != nil {
			return cutShort(err)
		}
		if !bytes.Equal(was[:n], is[:n]) {
			return fault.New(fault.Transient, "%w: it differs between byte %d and %d", errDiffers, at, at+n)
		}
	}
	return nil
}

// Verified waits until the whole blob is stored and right.
func (s *stream) Verified(ctx context.Context) error {
	for {
		v := s.dl.look()
		switch v.state {
		case verified:
			return nil
		case failed:
			return v.err
		}
		if err := wait(ctx, v); err != nil {
			return err
		}
	}
}

// Close lets the blob go; the download goes on or not as the cache is set.
func (s *stream) Close() error {
	s.dl.leave()
	if s.blob != nil {
		return s.blob.Close()
	}
	if s.file != nil {
		return s.file.Close()
	}
	return nil
}
