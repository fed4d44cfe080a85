// Package backup is the file format of a garden's backups, and when a garden
// writes them by itself: every file that the garden needs to begin again, with
// checksums, encrypted so that it may lie anywhere.
//
// A backup is an age file (age-encryption.org/v1) around a tar stream. The
// stream begins with manifest.json, holds the files that the manifest names, and
// ends with checksums.json. age proves that nothing was changed or cut off, the
// checksums that what was written is what had been read.
//
// The garden writes backups, the command line restores them. The package must
// not know how the store inside is read.
package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"github.com/loam-cloud/loam/fault"
)

// Format is the version of the format. A reader refuses others.
const Format = 1

const (
	manifestName  = "manifest.json"
	checksumsName = "checksums.json"
	// notesLimit bounds manifest and checksums, which are read into memory.
	notesLimit = 1 << 20
)

// Manifest says what a backup is.
type Manifest struct {
	Format int `json:"format"`
	// Created is when the store was read.
	Created time.Time `json:"created"`
	// Version is that of the loam that wrote it.
	Version string `json:"version"`
	// Revision is the store's.
	Revision int64 `json:"revision"`
	// Files are paths below the data folder, in the order in which they follow.
	Files []string `json:"files"`
}

// Write writes a backup of files below dir for recipients. What changes meanwhile
// makes it fail; the caller passes files that stay.
func Write(w io.Writer, dir string, manifest Manifest, recipients ...age.Recipient) error {
	manifest.Format = Format
	sealed, err := age.Encrypt(w, recipients...)
	if err != nil {
		return fmt.Errorf("encrypting a backup: %w", err)
	}
	out := tar.NewWriter(sealed)
	if err := writeJSON(out, manifestName, manifest); err != nil {
		return err
	}
	sums := map[string]string{}
	for _, name := range manifest.Files {
		if sums[name], err = writeFile(out, dir, name); err != nil {
			return fmt.Errorf("adding %q to a backup: %w", name, err)
		}
	}
	if err := writeJSON(out, checksumsName, sums); err != nil {
		return err
	}
	if err := errors.Join(out.Close(), sealed.Close()); err != nil {
		return fmt.Errorf("ending a backup: %w", err)
	}
	return nil
}

func writeJSON(out *tar.Writer, name string, content any) error {
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", name, err)
	}
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text))}); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

func writeFile(out *tar.Writer, dir, name string) (sum string, err error) {
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size()}); err != nil {
		return "", err
	}
	digest := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, digest), file); err != nil {
		return "", err
	}
	return hexSum(digest), nil
}

func hexSum(digest hash.Hash) string { return hex.EncodeToString(digest.Sum(nil)) }

// Read unpacks a backup into dir, an empty folder, with modes as they were, and
// returns its manifest once everything has been proven. After an error what is in
// dir is of no use. Faults: Invalid for a backup that is not whole or not one,
// Denied when none of the identities opens it.
func Read(r io.Reader, dir string, identities ...age.Identity) (Manifest, error) {
	opened, err := age.Decrypt(r, identities...)
	var noMatch *age.NoIdentityMatchError
	if errors.As(err, &noMatch) {
		return Manifest{}, fault.New(fault.Denied, "the backup is not for this key or passphrase")
	}
	if err != nil {
		return Manifest{}, fault.New(fault.Invalid, "not a backup: %w", err)
	}
	in := tar.NewReader(opened)
	var manifest Manifest
	if err := readJSON(in, manifestName, &manifest); err != nil {
		return Manifest{}, err
	}
	if manifest.Format != Format {
		return Manifest{}, fault.New(fault.Invalid, "the backup has format %d, this loam reads format %d", manifest.Format, Format)
	}
	got := map[string]string{}
	for _, name := range manifest.Files {
		if got[name], err = readFile(in, dir, name); err != nil {
			return Manifest{}, fault.New(fault.Invalid, "the backup is damaged at %q: %w", name, err)
		}
	}
	sums := map[string]string{}
	if err := readJSON(in, checksumsName, &sums); err != nil {
		return Manifest{}, err
	}
	for name, sum := range got {
		if sums[name] != sum {
			return Manifest{}, fault.New(fault.Invalid, "the backup is damaged: the checksum of %q is wrong", name)
		}
	}
	if _, err := in.Next(); !errors.Is(err, io.EOF) {
		return Manifest{}, fault.New(fault.Invalid, "the backup is damaged: it does not end where it should")
	}
	// To the end, where a piece that was cut off shows.
	if _, err := io.Copy(io.Discard, opened); err != nil {
		return Manifest{}, fault.New(fault.Invalid, "the backup is damaged: %w", err)
	}
	return manifest, nil
}

func readJSON(in *tar.Reader, name string, into any) error {
	header, err := in.Next()
	if err != nil {
		return fault.New(fault.Invalid, "the backup is damaged before %s: %w", name, err)
	}
	if header.Name != name || header.Size > notesLimit {
		return fault.New(fault.Invalid, "the backup is damaged: %q is where %s should be", header.Name, name)
	}
	if err := json.NewDecoder(in).Decode(into); err != nil {
		return fault.New(fault.Invalid, "the backup is damaged in %s: %w", name, err)
	}
	return nil
}

// readFile writes the next entry, which has to be that name, below dir.
func readFile(in *tar.Reader, dir, name string) (sum string, err error) {
	if !filepath.IsLocal(name) || filepath.Clean(name) != name {
		return "", errors.New("it would lie outside the folder")
	}
	header, err := in.Next()
	if err != nil {
		return "", err
	}
	if header.Name != name || header.Typeflag != tar.TypeReg {
		return "", fmt.Errorf("%q is in its place", header.Name)
	}
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	// Never more than its owner may do with it.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(header.Mode)&0o644)
	if err != nil {
		return "", err
	}
	digest := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, digest), in)
	return hexSum(digest), errors.Join(err, file.Sync(), file.Close())
}
