// Package lock makes one process at a time the user of a garden's data folder.
//
// The garden takes the lock, command line tools look at it through the garden. It
// must not know what else is in the folder.
package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/loam-cloud/loam/fault"
)

const (
	// File is the lock in a data folder; it holds the process id of who has it.
	File = "loam.lock"
	// patience bridges the moment for which Read holds the lock.
	patience = 500 * time.Millisecond
)

// Read tells whether a garden runs on dataDir and under which process id.
// The id is 0 when none runs, or when it starts at this very moment and has not
// written it yet. A missing folder means that none runs.
func Read(dataDir string) (pid int, running bool, err error) {
	path := filepath.Join(dataDir, File)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	free, err := lock.TryRLock()
	if err != nil {
		return 0, false, fmt.Errorf("reading lock %q: %w", path, err)
	}
	if free {
		return 0, false, lock.Close()
	}
	return holder(path), true, nil
}

// holder reads the process id out of a lock file, 0 when there is none.
func holder(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}

// Take makes this process the one that uses dataDir. The kernel gives the
// lock back when the process ends, however it ends.
func Take(ctx context.Context, dataDir string) (*flock.Flock, error) {
	path := filepath.Join(dataDir, File)
	lock := flock.New(path, flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	locked, err := lock.TryLockContext(ctx, 20*time.Millisecond)
	if errors.Is(err, context.DeadlineExceeded) || (err == nil && !locked) {
		if pid := holder(path); pid > 0 {
			return nil, fault.New(fault.Invalid, "a garden runs on %q already, as process %d: stop it with \"loam down\", or choose another folder with --data-dir", dataDir, pid)
		}
		return nil, fault.New(fault.Invalid, "another process is starting a garden on %q: choose another folder with --data-dir", dataDir)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "data folder %q cannot be used: %w", dataDir, err)
	}
	if !isAt(lock, path) {
		// A start that failed removed the file while this one waited for it.
		return nil, errors.Join(fault.New(fault.Transient, "the lock of %q changed hands: try again", dataDir), lock.Close())
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return nil, errors.Join(fault.New(fault.Invalid, "data folder %q cannot be written: %w", dataDir, err), lock.Close())
	}
	return lock, nil
}

// isAt tells whether the locked file is the one that others find at path.
func isAt(lock *flock.Flock, path string) bool {
	locked, lockedErr := lock.Stat()
	found, foundErr := os.Stat(path)
	return lockedErr == nil && foundErr == nil && os.SameFile(locked, found)
}
