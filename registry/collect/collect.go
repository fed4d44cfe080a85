// Package collect keeps the image cache's folder small and sound while it is in
// use: it removes what nothing needs, old tags, and what was cached and not used
// longest, and reads everything again to find what has gone bad. The process that
// serves runs a Keeper; the command line asks it, or works on a folder that nobody
// serves.
//
// It must not decide what a push or a pull needs: the store protects that, inside
// the transactions in which things are removed.
package collect

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"github.com/opencontainers/go-digest"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/registry/store"
)

// Collector works on one store.
type Collector struct {
	Store *store.Store
	// Clock is the store's.
	Clock clock.PassiveClock
	Log   logr.Logger
}

// Garbage says what is to be collected.
type Garbage struct {
	// Grace protects what was pushed, linked or used less long ago.
	Grace time.Duration
	// Unfinished is how long an upload or a download may have rested.
	Unfinished time.Duration
	// Untagged removes, in the private repositories for which it is true, manifests
	// that no tag, index or subject leads to.
	Untagged func(repository string) bool
	// DryRun only says what would go.
	DryRun bool
}

// Removed is something that went, or would go.
type Removed struct {
	// Repository is whose it was; empty for files that nobody has.
	Repository string        `json:"repository,omitempty"`
	Digest     digest.Digest `json:"digest"`
	// What is manifest, blob, or file.
	What string `json:"what"`
	// Bytes is the size of a file.
	Bytes int64 `json:"bytes,omitempty"`
}

// GarbageReport is what a collection did.
type GarbageReport struct {
	DryRun  bool      `json:"dryRun"`
	Removed []Removed `json:"removed"`
	// Bytes were freed by removing files, and by Unfinished uploads and downloads.
	Bytes           int64 `json:"bytes"`
	Unfinished      int   `json:"unfinished"`
	UnfinishedBytes int64 `json:"unfinishedBytes"`
}

// Collect removes what nothing needs: in private repositories blobs that no
// manifest refers to, and on request manifests that nothing leads to; then files
// that no repository has. What is cached stays, as it can be asked for again.
//
// A file goes only when it was out of every repository for the grace period: a
// dry run shows of files those that are so now, and of manifests and blobs what
// would leave its repository.
func (c Collector) Collect(ctx context.Context, g Garbage) (GarbageReport, error) {
	report := GarbageReport{DryRun: g.DryRun, Removed: []Removed{}}
	now := c.Clock.Now()
	var err error
	// First, and without the index: it frees room on a full disk.
	if report.Unfinished, report.UnfinishedBytes, err = c.Store.ExpirePartials(now.Add(-g.Unfinished), g.DryRun); err != nil {
		return report, err
	}
	report.Bytes = report.UnfinishedBytes
	before := now.Add(-g.Grace)
	repositories, err := c.Store.Repositories("", "", -1)
	if err != nil {
		return report, err
	}
	for _, r := range repositories {
		if err := context.Cause(ctx); err != nil {
			return report, err
		}
		swept, err := c.Store.SweepRepository(r, store.Sweep{Before: before, Untagged: g.Untagged != nil && g.Untagged(r.String()), DryRun: g.DryRun})
		if err != nil {
			return report, err
		}
		for _, d := range swept.Manifests {
			report.Removed = append(report.Removed, Removed{r.String(), d, "manifest", 0})
		}
		for _, d := range swept.Blobs {
			report.Removed = append(report.Removed, Removed{r.String(), d, "blob", 0})
		}
	}
	if err := c.removeFiles(ctx, before, g.DryRun, &report); err != nil {
		return report, err
	}
	c.Log.Info("Collected garbage", "dryRun", g.DryRun, "removed", len(report.Removed), "unfinished", report.Unfinished, "bytes", report.Bytes)
	return report, nil
}

// removeFiles removes files that no repository has: those that the index knows,
// and those of which it does not, since a kill came between file and record.
func (c Collector) removeFiles(ctx context.Context, before time.Time, dryRun bool, report *GarbageReport) error {
	remove := func(d digest.Digest) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		size, removed, err := c.Store.RemoveUnowned(d, before, dryRun)
		if removed {
			report.Removed = append(report.Removed, Removed{"", d, "file", size})
			report.Bytes += size
		}
		return err
	}
	if err := c.Store.EachFile(remove); err != nil {
		return err
	}
	if dryRun {
		return nil
	}
	// Records whose file is gone already.
	return c.Store.EachBlob("", func(b store.BlobInfo) error { return remove(b.Digest) })
}
