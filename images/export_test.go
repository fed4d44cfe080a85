package images

import (
	"context"
	"io"
)

// What tests of this package's own texts and decisions need.
var (
	ParseImageList = parseImageList
	ModuleVersion  = moduleVersion
	LoadOutcome    = loadOutcome
	Present        = present
	Discard        = discard
	Wanted         = wanted[:]
)

// BuildWith is Build with another engine.
func BuildWith(ctx context.Context, engine Engine, options Options) (Image, error) {
	return build(ctx, engine, options.withDefaults())
}

// Load sends what write writes to an engine.
func Load(ctx context.Context, engine Engine, write func(io.Writer) error) error {
	return load(ctx, engine, write)
}
