package garden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/backup"
	"github.com/loam-cloud/loam/garden/internal/etcd"
)

// snapshotFile is the store in a backup.
const snapshotFile = "etcd.db"

// Backup writes the garden as of one moment to w, encrypted for recipients,
// while the garden goes on. The store must be its own.
func (g *Garden) Backup(ctx context.Context, w io.Writer, recipients ...age.Recipient) error {
	if g.store == nil {
		return fault.New(fault.Invalid, "the objects are in an etcd that others run (%s): back up that one, and the folder %q", strings.Join(g.config.Etcd.Servers, ", "), g.config.DataDir)
	}
	staging, err := os.MkdirTemp(g.config.DataDir, "backup-")
	if err != nil {
		return fmt.Errorf("making a folder for the backup: %w", err)
	}
	defer func() { _ = os.RemoveAll(staging) }() // the next start removes what a crash leaves
	// The keys must be those that the snapshot was written with.
	g.keysInUse.RLock()
	usage, err := g.stage(ctx, staging)
	g.keysInUse.RUnlock()
	if err != nil {
		return err
	}
	files, err := filesBelow(staging)
	if err != nil {
		return fmt.Errorf("listing what to back up: %w", err)
	}
	return backup.Write(w, staging, backup.Manifest{
		Created: time.Now().UTC(), Version: g.config.Version, Revision: usage.Revision, Files: files,
	}, recipients...)
}

// stage copies what a backup holds into a folder.
func (g *Garden) stage(ctx context.Context, staging string) (etcd.Usage, error) {
	usage, err := g.store.Usage(ctx)
	if err != nil {
		return usage, err
	}
	if err := g.store.Snapshot(ctx, filepath.Join(staging, snapshotFile)); err != nil {
		return usage, err
	}
	if err := os.CopyFS(filepath.Join(staging, pkiDir), os.DirFS(g.path(pkiDir))); err != nil {
		return usage, fmt.Errorf("copying certificates: %w", err)
	}
	content, err := os.ReadFile(g.path(encryptionFile))
	if err != nil {
		return usage, fmt.Errorf("copying the encryption key: %w", err)
	}
	if err := os.WriteFile(filepath.Join(staging, encryptionFile), content, 0o600); err != nil {
		return usage, fmt.Errorf("copying the encryption key: %w", err)
	}
	return usage, nil
}

func filesBelow(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files = append(files, name)
		return err
	})
	return files, err
}

// Restore makes dataDir, which must be missing or empty, a garden's data folder
// with what a backup holds. Until everything has been proven dataDir is not
// touched. Faults: Invalid, Denied as of backup.Read.
func Restore(ctx context.Context, r io.Reader, dataDir string, identities ...age.Identity) (manifest backup.Manifest, err error) {
	dataDir, err = filepath.Abs(dataDir)
	if err != nil {
		return manifest, fault.New(fault.Invalid, "data folder %q cannot be used: %w", dataDir, err)
	}
	if entries, err := os.ReadDir(dataDir); err == nil && len(entries) > 0 {
		return manifest, fault.New(fault.Invalid, "data folder %q is not empty: choose another with --data-dir, or move it away", dataDir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return manifest, fault.New(fault.Invalid, "data folder %q cannot be used: %w", dataDir, err)
	}
	if err := os.MkdirAll(filepath.Dir(dataDir), 0o700); err != nil {
		return manifest, fault.New(fault.Invalid, "data folder %q cannot be made: %w", dataDir, err)
	}
	// Beside it, so that it takes its place in one step.
	unpacked, err := os.MkdirTemp(filepath.Dir(dataDir), filepath.Base(dataDir)+".restoring-")
	if err != nil {
		return manifest, fmt.Errorf("making a folder to restore into: %w", err)
	}
	defer func() { _ = os.RemoveAll(unpacked) }() // nothing is left to do when it was moved
	if manifest, err = backup.Read(r, unpacked, identities...); err != nil {
		return manifest, err
	}
	snapshot := filepath.Join(unpacked, snapshotFile)
	if err := etcd.Restore(snapshot, filepath.Join(unpacked, etcdDir)); err != nil {
		return manifest, err
	}
	if err := os.Remove(snapshot); err != nil {
		return manifest, fmt.Errorf("removing the snapshot: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return manifest, err
	}
	if err := os.Remove(dataDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return manifest, fmt.Errorf("taking the place of %q: %w", dataDir, err)
	}
	if err := os.Rename(unpacked, dataDir); err != nil {
		return manifest, fmt.Errorf("taking the place of %q: %w", dataDir, err)
	}
	return manifest, nil
}

// removeStaging removes what an interrupted backup left in the data folder.
func (g *Garden) removeStaging() error {
	left, err := filepath.Glob(g.path("backup-*"))
	if err != nil {
		return fmt.Errorf("looking for interrupted backups: %w", err)
	}
	var problems []error
	for _, folder := range left {
		problems = append(problems, os.RemoveAll(folder))
	}
	return errors.Join(problems...)
}
