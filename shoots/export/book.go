package export

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/loam-cloud/loam/shoots/mask"
)

// book is the folder that is written. Nothing gets into it unmasked, or outside
// of it, whatever files are called in nodes.
type book struct {
	root   *os.Root
	masker *mask.Masker

	mutex  sync.Mutex
	missed []string
}

// miss notes what is not in the folder, and why.
func (b *book) miss(what string, why error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.missed = append(b.missed, fmt.Sprintf("%s: %v", what, why))
}

// text writes a file.
func (b *book) text(name, text string) error {
	return b.stream(name, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// stream writes a file as it comes. What keeps it from coming is noted; the error
// is of the folder, which is of no use then.
func (b *book) stream(name string, produce func(io.Writer) error) (err error) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if err := b.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	file, err := b.root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	counted := &faulty{to: file}
	masked := b.masker.Writer(counted)
	if problem := produce(masked); problem != nil && counted.err == nil {
		b.miss(name, problem)
	}
	if err := errors.Join(masked.Close(), counted.err, file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if counted.bytes == 0 {
		// Dozens of kinds of objects have none.
		return b.root.Remove(name)
	}
	return nil
}

// faulty remembers that writing failed, to tell it from reading.
type faulty struct {
	to    io.Writer
	bytes int
	err   error
}

func (f *faulty) Write(p []byte) (int, error) {
	n, err := f.to.Write(p)
	f.bytes += n
	if err != nil {
		f.err = err
	}
	return n, err
}

// close writes down what is missing.
func (b *book) close() error {
	if len(b.missed) == 0 {
		return nil
	}
	slices.Sort(b.missed)
	return b.text("missing.txt", strings.Join(b.missed, "\n")+"\n")
}
