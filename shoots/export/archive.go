package export

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Archive packs a folder into one .tar.gz, below a folder of the given name in
// it. The file is there whole or not at all, and only for its owner.
func Archive(folder, name, file string) (err error) {
	out, err := renameio.NewPendingFile(file, renameio.WithStaticPermissions(0o600))
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	defer func() { _ = out.Cleanup() }() // nothing is left to do when it was renamed
	packed := gzip.NewWriter(out)
	archive := tar.NewWriter(packed)
	all, err := sorted(folder)
	for _, one := range all {
		if err == nil {
			err = add(archive, folder, name, one)
		}
	}
	if err := errors.Join(err, archive.Close(), packed.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return out.CloseAtomicallyReplace()
}

func add(archive *tar.Writer, folder, name, file string) (err error) {
	from, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	inside, err := filepath.Rel(folder, file)
	if err != nil {
		return err
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: path.Join(name, filepath.ToSlash(inside)), Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, from)
	return err
}
