//go:build !linux

package capability

import (
	"context"
	"errors"
)

// MissingFromPeer always fails: here the daemon runs in a virtual machine.
func MissingFromPeer(context.Context, string) ([]string, error) {
	return nil, errors.ErrUnsupported
}
