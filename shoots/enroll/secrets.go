package enroll

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/loam-cloud/loam/nodeconfig"
)

// Secret is a file of a machine whose content is read from where it is kept at the
// moment the machine asks.
type Secret struct {
	Path string
	Mode fs.FileMode
	// Read reads it: from Vault, or from a Secret.
	Read func(ctx context.Context) (string, error)
}

// WithSecrets adds them to what a machine is given. All of them have to be read: the
// error names every one that cannot be, and nothing is given then.
func WithSecrets(contents Contents, of func(machine string) []Secret) Contents {
	return func(ctx context.Context, machine string) ([]nodeconfig.File, error) {
		files, err := contents(ctx, machine)
		problems := []error{err}
		for _, s := range of(machine) {
			value, err := s.Read(ctx)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", s.Path, err))
				continue
			}
			files = append(files, nodeconfig.File{Path: s.Path, Content: []byte(value), Mode: s.Mode})
		}
		if err := errors.Join(problems...); err != nil {
			return nil, err
		}
		return files, nil
	}
}
