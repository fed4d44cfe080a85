package collect

import (
	"context"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/registry/store"
)

// EvictReport is what a cap made go.
type EvictReport struct {
	Removed []Removed `json:"removed"`
	Bytes   int64     `json:"bytes"`
	// Left is what is still above the cap: private content, and what is in use.
	Left int64 `json:"left"`
}

// slack is how far below the cap eviction goes, in hundredths, so that the next
// pull does not begin another.
const slack = 2

// Evict removes what is cached, longest unused first, until blobs and what is
// arriving take no more than size bytes. A blob counts as used when a manifest
// that refers to it was, so that images go as a whole. What private repositories
// have stays.
func (c Collector) Evict(ctx context.Context, size int64) (EvictReport, error) {
	report := EvictReport{Removed: []Removed{}}
	excess, err := c.excess(size)
	if err != nil || excess <= 0 {
		return report, err
	}
	candidates, err := c.byUse()
	if err != nil {
		return report, err
	}
	excess += size * slack / 100
	for _, b := range candidates {
		if excess <= 0 {
			break
		}
		if err := context.Cause(ctx); err != nil {
			return report, err
		}
		evicted, err := c.Store.EvictCached(b.Digest)
		if err != nil {
			return report, err
		}
		if evicted {
			excess -= b.Size
			report.Bytes += b.Size
			report.Removed = append(report.Removed, Removed{"", b.Digest, "file", b.Size})
		}
	}
	if excess, err = c.excess(size); err != nil {
		return report, err
	}
	report.Left = max(0, excess)
	c.Log.Info("Removed what was not used longest", "removed", len(report.Removed), "bytes", report.Bytes, "stillTooMuch", report.Left)
	return report, nil
}

func (c Collector) excess(size int64) (int64, error) {
	totals, err := c.Store.Totals()
	if err != nil {
		return 0, err
	}
	arriving, err := c.Store.PartialBytes()
	return totals.Bytes + arriving - size, err
}

// byUse lists all blobs, the one that was not used longest first.
func (c Collector) byUse() ([]store.BlobInfo, error) {
	var all []store.BlobInfo
	used := map[digest.Digest]time.Time{}
	if err := c.Store.EachBlob("", func(b store.BlobInfo) error {
		all = append(all, b)
		used[b.Digest] = b.Used
		return nil
	}); err != nil {
		return nil, err
	}
	repositories, err := c.Store.AllRepositories()
	if err != nil {
		return nil, err
	}
	for _, r := range repositories {
		if !r.Cached() {
			continue
		}
		manifests, err := c.Store.Manifests(r)
		if err != nil {
			return nil, err
		}
		passOn(manifests, used)
	}
	slices.SortStableFunc(all, func(a, b store.BlobInfo) int { return used[a.Digest].Compare(used[b.Digest]) })
	return all, nil
}

// passOn makes what manifests refer to as used as they are, through indexes of
// any depth.
func passOn(manifests []store.ManifestInfo, used map[digest.Digest]time.Time) {
	for changed := true; changed; {
		changed = false
		for _, m := range manifests {
			at := used[m.Digest]
			for _, d := range m.References {
				if have, stored := used[d]; stored && have.Before(at) {
					used[d], changed = at, true
				}
			}
		}
	}
}
