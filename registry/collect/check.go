package collect

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/store"
)

// Problem is something in a store that is not as it should be.
type Problem struct {
	// Repository is whose image is concerned; empty when it is a file.
	Repository string        `json:"repository,omitempty"`
	Digest     digest.Digest `json:"digest"`
	Message    string        `json:"message"`
}

// CheckReport is what a check found.
type CheckReport struct {
	Repositories int       `json:"repositories"`
	Manifests    int       `json:"manifests"`
	Blobs        int64     `json:"blobs"`
	Problems     []Problem `json:"problems"`
}

// Check compares the index with the files, without reading what is in them: blobs
// whose file is lost or of another size, and private images of which a part is
// missing. It changes nothing.
func (c Collector) Check(ctx context.Context) (CheckReport, error) {
	report := CheckReport{Problems: []Problem{}}
	err := c.Store.EachBlob("", func(b store.BlobInfo) error {
		report.Blobs++
		if err := c.Store.CheckFile(b); err != nil {
			report.Problems = append(report.Problems, Problem{"", b.Digest, err.Error()})
		}
		return context.Cause(ctx)
	})
	if err != nil {
		return report, err
	}
	repositories, err := c.Store.AllRepositories()
	if err != nil {
		return report, err
	}
	for _, r := range repositories {
		report.Repositories++
		manifests, err := c.Store.Manifests(r)
		if err != nil {
			return report, err
		}
		report.Manifests += len(manifests)
		if r.Cached() {
			// What is missing of it is fetched when somebody wants it.
			continue
		}
		for _, m := range manifests {
			for _, d := range append(m.References, m.Digest) {
				switch _, err := c.Store.FindBlob(r, d); {
				case errors.Is(err, fault.Missing):
					report.Problems = append(report.Problems, Problem{r.String(), m.Digest, "the image lacks " + d.String()})
				case err != nil:
					return report, err
				}
			}
		}
	}
	return report, nil
}
