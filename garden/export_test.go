package garden

import (
	"context"
	"time"
)

// SetFree makes the disk of a garden have that many bytes left.
func (g *Garden) SetFree(bytes int64) {
	g.keeper.looking.Lock()
	defer g.keeper.looking.Unlock()
	g.keeper.free = func(string) (int64, error) { return bytes, nil }
}

// CheckRoom tells whether there is room to start.
func (g *Garden) CheckRoom(fresh bool) error { return g.checkRoom(fresh) }

// LookAtStore does now what a garden does once a minute.
func (g *Garden) LookAtStore(ctx context.Context) error { return g.keeper.look(ctx, time.Now()) }
