package backup_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
	"github.com/go-logr/logr"

	"github.com/loam-cloud/loam/garden/backup"
)

// TestSchedule lets days pass, on the first of which no backup can be taken.
func TestSchedule(t *testing.T) {
	for name, test := range map[string]struct {
		schedule    backup.Schedule
		taken, kept int
	}{
		"as it comes": {schedule: backup.Schedule{}, taken: 9, kept: 7},
		"two a day":   {schedule: backup.Schedule{Interval: 12 * time.Hour, Keep: 3}, taken: 17, kept: 3},
		"never":       {schedule: backup.Schedule{Interval: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				broken := time.Now().Add(time.Hour)
				taken := 0
				take := func(_ context.Context, w io.Writer, recipients ...age.Recipient) error {
					if time.Now().Before(broken) {
						return errors.New("not yet")
					}
					taken++
					if len(recipients) != 1 {
						t.Errorf("%d recipients", len(recipients))
					}
					_, err := io.WriteString(w, "backup")
					return err
				}
				ctx, cancel := context.WithCancel(t.Context())
				go test.schedule.Run(ctx, dir, take, logr.Discard())
				time.Sleep(8*24*time.Hour + 2*time.Hour)
				cancel()
				synctest.Wait()
				if taken != test.taken {
					t.Errorf("%d backups were taken, want %d", taken, test.taken)
				}
			})
			entries, err := os.ReadDir(filepath.Join(dir, "backups"))
			if len(entries) != test.kept || err != nil && test.kept > 0 {
				t.Errorf("kept %v (%v), want %d", entries, err, test.kept)
			}
			identities, err := backup.ReadIdentities(filepath.Join(dir, backup.KeyFile))
			if test.kept > 0 && (err != nil || len(identities) != 1) {
				t.Errorf("the key: %v, %v", identities, err)
			}
		})
	}
}

// TestLatest reads from the names of backups when the newest was begun.
func TestLatest(t *testing.T) {
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for name, test := range map[string]struct {
		schedule backup.Schedule
		files    []string
		newest   time.Time
		interval time.Duration
	}{
		"no folder yet": {schedule: backup.Schedule{}, interval: 24 * time.Hour},
		"nothing yet":   {schedule: backup.Schedule{Interval: time.Hour}, files: []string{"readme"}, interval: time.Hour},
		"two":           {schedule: backup.Schedule{Interval: time.Hour}, files: []string{backup.Name(at), backup.Name(at.Add(-time.Hour)), "zzz"}, newest: at, interval: time.Hour},
		"turned off":    {schedule: backup.Schedule{Interval: -1}, files: []string{backup.Name(at)}},
	} {
		dir := t.TempDir()
		for _, file := range test.files {
			if err := os.MkdirAll(filepath.Join(dir, "backups"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "backups", file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		newest, interval, err := test.schedule.Latest(dir)
		if err != nil || !newest.Equal(test.newest) || interval != test.interval {
			t.Errorf("%s: %s, %s, %v", name, newest, interval, err)
		}
	}
}
