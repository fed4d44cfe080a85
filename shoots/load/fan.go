package load

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/loam-cloud/loam/fault"
)

const (
	// window is how many writes a node may be behind the fastest one: with those of
	// an archive, of a quarter of a MiB each, 16 MiB for all nodes together.
	window = 64
	// tellEvery is how often it is told how much was read.
	tellEvery = 5 * time.Second
)

// errNobody tells that no node takes anything any more.
var errNobody = errors.New("no node is left")

// fan is a writer to many readers. It waits for the slowest, but not for one that
// takes nothing at all, or is gone.
type fan struct {
	outlets []*outlet
	// chosen are those that what is written is for.
	chosen   []*outlet
	patience time.Duration
	// read is told from time to time how much was written.
	read    func(bytes int64)
	written int64
	told    time.Time
}

// outlet is what one reader sees.
type outlet struct {
	chunks chan []byte
	rest   []byte
	gone   chan struct{}
	once   sync.Once
	// err is why it is gone; it is read after that.
	err error
}

func newFan(outlets int, patience time.Duration) *fan {
	f := &fan{patience: patience, read: func(int64) {}, told: time.Now()}
	for range outlets {
		f.outlets = append(f.outlets, &outlet{chunks: make(chan []byte, window), gone: make(chan struct{})})
	}
	return f
}

// choose says whom the next writes are for, by the place in the list.
func (f *fan) choose(wanted func(i int) bool) {
	f.chosen = nil
	for i, o := range f.outlets {
		if wanted(i) {
			f.chosen = append(f.chosen, o)
		}
	}
}

// Write implements io.Writer. It ends with errNobody when all readers are gone.
func (f *fan) Write(p []byte) (int, error) {
	shared := append([]byte(nil), p...)
	for _, o := range f.chosen {
		o.put(shared, f.patience)
	}
	f.written += int64(len(p))
	if now := time.Now(); now.Sub(f.told) > tellEvery {
		f.told = now
		f.read(f.written)
	}
	for _, o := range f.outlets {
		if !o.left() {
			return len(p), nil
		}
	}
	return 0, errNobody
}

// end tells all readers that this was all.
func (f *fan) end() {
	for _, o := range f.outlets {
		close(o.chunks)
	}
}

func (o *outlet) put(p []byte, patience time.Duration) {
	select {
	case o.chunks <- p:
		return
	case <-o.gone:
		return
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case o.chunks <- p:
	case <-o.gone:
	case <-timer.C:
		o.leave(fault.New(fault.Transient, "it took nothing for %s", patience))
	}
}

// leave says that the reader is done, well or not. The first to say it is right.
func (o *outlet) leave(err error) {
	o.once.Do(func() {
		o.err = err
		close(o.gone)
	})
}

func (o *outlet) left() bool {
	select {
	case <-o.gone:
		return true
	default:
		return false
	}
}

// Read implements io.Reader.
func (o *outlet) Read(p []byte) (int, error) {
	for len(o.rest) == 0 {
		select {
		case chunk, more := <-o.chunks:
			if !more {
				return 0, io.EOF
			}
			o.rest = chunk
		case <-o.gone:
			return 0, io.ErrClosedPipe
		}
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}
