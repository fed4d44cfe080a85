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
	"github.com/google/renameio/v2"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/backup"
	"github.com/loam-cloud/loam/garden/internal/etcd"
)

const (
	backupsDir    = "backups"
	backupKeyFile = "backup.key"
	snapshotFile  = "etcd.db"

	defaultBackupInterval = 24 * time.Hour
	defaultBackupsKept    = 7
	// lookForBackup is how often a garden looks whether a backup is due: one that
	// is started now and then has them too.
	lookForBackup = time.Minute
)

// Backups says how a garden backs itself up.
type Backups struct {
	// Dir is where backups are written; "backups" in the data folder when empty.
	// Another disk protects against more.
	Dir string
	// Interval is how far apart they are; a day when 0, never when negative.
	Interval time.Duration
	// Keep is how many there are; 7 when 0.
	Keep int
	// Recipients may open them. When empty the key in the file backup.key of the
	// data folder does, which is made when it is missing.
	Recipients []age.Recipient
}

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

// backUpRegularly writes a backup whenever one is due, until ctx ends.
func (g *Garden) backUpRegularly(ctx context.Context) {
	settings := g.config.Backups
	if g.store == nil || settings.Interval < 0 {
		return
	}
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		due, err := backupDue(settings, time.Now())
		if err == nil && due {
			err = g.backUpNow(ctx)
		}
		if err != nil && ctx.Err() == nil {
			g.config.Logger.Error(err, "The garden could not be backed up", "folder", settings.Dir)
		}
	}, lookForBackup)
}

// backupDue tells whether the newest backup is older than it should be.
func backupDue(settings Backups, now time.Time) (bool, error) {
	entries, err := os.ReadDir(settings.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("listing backups: %w", err)
	}
	threshold := backup.Name(now.Add(-settings.Interval))
	for _, entry := range entries {
		// Names sort by time.
		if filepath.Ext(entry.Name()) == filepath.Ext(threshold) && entry.Name() > threshold {
			return false, nil
		}
	}
	return true, nil
}

func (g *Garden) backUpNow(ctx context.Context) error {
	settings := g.config.Backups
	if err := os.MkdirAll(settings.Dir, 0o700); err != nil {
		return fmt.Errorf("making a folder for backups: %w", err)
	}
	recipients := settings.Recipients
	if len(recipients) == 0 {
		recipient, err := backup.EnsureKey(g.path(backupKeyFile))
		if err != nil {
			return err
		}
		recipients = []age.Recipient{recipient}
	}
	began := time.Now()
	name := filepath.Join(settings.Dir, backup.Name(began))
	file, err := renameio.NewPendingFile(name, renameio.WithTempDir(settings.Dir), renameio.WithPermissions(0o600))
	if err != nil {
		return fmt.Errorf("writing a backup: %w", err)
	}
	defer func() { _ = file.Cleanup() }() // nothing is left to do when it was replaced
	if err := g.Backup(ctx, file, recipients...); err != nil {
		return err
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("writing a backup: %w", err)
	}
	removed, err := backup.Prune(settings.Dir, settings.Keep)
	g.config.Logger.Info("The garden is backed up", "file", name, "took", time.Since(began).Round(time.Millisecond).String(), "removed", len(removed))
	return err
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
