package garden

import (
	"context"
	"time"
)

// LookAtStore does now what a garden does once a minute.
func (g *Garden) LookAtStore(ctx context.Context) error { return g.keeper.look(ctx, time.Now()) }
