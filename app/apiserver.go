package app

import (
	"context"
	"io"

	"github.com/loam-cloud/loam/garden/aggregated"
)

// APIServer serves the garden's API beside another Kubernetes until the context
// ends.
func APIServer(ctx context.Context, c aggregated.Config, out io.Writer) error {
	c.Logger = newLogger(out)
	return aggregated.Run(ctx, c)
}
