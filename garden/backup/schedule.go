package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/go-logr/logr"
	"github.com/google/renameio/v2"
	"k8s.io/apimachinery/pkg/util/wait"
)

// KeyFile is the file in a data folder with the key that opens regular backups
// when no recipients are given.
const KeyFile = "backup.key"

const (
	defaultDir      = "backups"
	defaultInterval = 24 * time.Hour
	defaultKeep     = 7
	// look is how often is looked whether a backup is due: a garden that is started
	// now and then has them too.
	look = time.Minute
)

// Schedule says how a garden backs itself up.
type Schedule struct {
	// Dir is where backups are written; "backups" in the data folder when empty.
	// Another disk protects against more.
	Dir string
	// Interval is how far apart they are; a day when 0, never when negative.
	Interval time.Duration
	// Keep is how many there are; 7 when 0.
	Keep int
	// Recipients may open them. When empty the key in KeyFile of the data folder
	// does, which is made when it is missing.
	Recipients []age.Recipient
}

// Run writes a backup of the garden on dataDir whenever one is due, until ctx
// ends. Take writes one as of the moment of its call.
func (s Schedule) Run(ctx context.Context, dataDir string, take func(context.Context, io.Writer, ...age.Recipient) error, log logr.Logger) {
	if s.Interval < 0 {
		return
	}
	s = s.withDefaults(dataDir)
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		due, err := s.due(time.Now())
		if err == nil && due {
			err = s.write(ctx, dataDir, take, log)
		}
		if err != nil && ctx.Err() == nil {
			log.Error(err, "The garden could not be backed up", "folder", s.Dir)
		}
	}, look)
}

func (s Schedule) withDefaults(dataDir string) Schedule {
	if s.Dir == "" {
		s.Dir = filepath.Join(dataDir, defaultDir)
	}
	if s.Interval == 0 {
		s.Interval = defaultInterval
	}
	if s.Keep == 0 {
		s.Keep = defaultKeep
	}
	return s
}

// Latest tells when the newest backup of the garden on dataDir was begun, and how
// far apart backups are. The time is zero while there is none, the interval 0
// where there are to be none.
func (s Schedule) Latest(dataDir string) (newest time.Time, interval time.Duration, err error) {
	if s.Interval < 0 {
		return time.Time{}, 0, nil
	}
	s = s.withDefaults(dataDir)
	names, err := backupsIn(s.Dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(names) == 0 {
		return time.Time{}, s.Interval, nil
	}
	if err != nil {
		return time.Time{}, s.Interval, err
	}
	name := names[len(names)-1]
	if newest, err = time.Parse(namePrefix+nameTime+nameSuffix, name); err != nil {
		return time.Time{}, s.Interval, fmt.Errorf("reading when backup %q was begun: %w", name, err)
	}
	return newest, s.Interval, nil
}

// due tells whether the newest backup is older than it should be.
func (s Schedule) due(now time.Time) (bool, error) {
	names, err := backupsIn(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return len(names) == 0 || names[len(names)-1] <= Name(now.Add(-s.Interval)), nil
}

func (s Schedule) write(ctx context.Context, dataDir string, take func(context.Context, io.Writer, ...age.Recipient) error, log logr.Logger) error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("making a folder for backups: %w", err)
	}
	recipients := s.Recipients
	if len(recipients) == 0 {
		recipient, err := EnsureKey(filepath.Join(dataDir, KeyFile))
		if err != nil {
			return err
		}
		recipients = []age.Recipient{recipient}
	}
	began := time.Now()
	name := filepath.Join(s.Dir, Name(began))
	file, err := renameio.NewPendingFile(name, renameio.WithTempDir(s.Dir), renameio.WithPermissions(0o600))
	if err != nil {
		return fmt.Errorf("writing a backup: %w", err)
	}
	defer func() { _ = file.Cleanup() }() // nothing is left to do when it was replaced
	if err := take(ctx, file, recipients...); err != nil {
		return err
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("writing a backup: %w", err)
	}
	removed, err := Prune(s.Dir, s.Keep)
	log.Info("The garden is backed up", "file", name, "took", time.Since(began).Round(time.Millisecond).String(), "removed", len(removed))
	return err
}

// Prune removes all but the newest keep files of dir that Name made, and returns
// the names of those removed.
func Prune(dir string, keep int) ([]string, error) {
	names, err := backupsIn(dir)
	if err != nil {
		return nil, err
	}
	old := names[:max(0, len(names)-keep)]
	for _, name := range old {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("removing an old backup: %w", err)
		}
	}
	return old, nil
}

// backupsIn returns the files of dir that Name made, the newest last.
func backupsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing backups: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.Type().IsRegular() && strings.HasPrefix(entry.Name(), namePrefix) && strings.HasSuffix(entry.Name(), nameSuffix) {
			names = append(names, entry.Name())
		}
	}
	// Names sort by time.
	slices.Sort(names)
	return names, nil
}

const (
	namePrefix = "garden-"
	nameSuffix = ".loam-backup"
	nameTime   = "20060102T150405Z"
)

// Name is that of a backup of some moment. Later ones sort after earlier ones.
func Name(at time.Time) string { return namePrefix + at.UTC().Format(nameTime) + nameSuffix }
