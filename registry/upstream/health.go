package upstream

import (
	"errors"
	"time"

	"github.com/loam-cloud/loam/fault"
)

// Health is how an upstream did lately.
type Health struct {
	// LastSuccess and LastFailure are zero if there was none.
	LastSuccess, LastFailure time.Time
	// Failure is what went wrong last; empty once something went right again.
	Failure string
	// PausedUntil is when requests go out again after the upstream asked for a
	// pause; zero or past if it did not.
	PausedUntil time.Time
}

// Down says whether the last thing that was tried failed.
func (h Health) Down() bool { return h.Failure != "" }

// Traffic is what went to and came from an upstream since the client was made.
type Traffic struct {
	// Requests counts those sent, redirects and tokens included; Bytes those of
	// bodies of blobs and manifests.
	Requests, Failures, Bytes int64
}

// Health returns how the upstream did lately.
func (c *Client) Health() Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health
}

// Traffic returns what was sent and received so far.
func (c *Client) Traffic() Traffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.traffic
}

func (c *Client) count(requests, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.traffic.Requests += requests
	c.traffic.Bytes += bytes
}

// note keeps what a request came to. That something is missing, or that the
// caller has gone, says nothing against the upstream.
func (c *Client) note(err error) {
	now := c.o.Clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || errors.Is(err, fault.Missing) {
		c.health.LastSuccess, c.health.Failure = now, ""
		return
	}
	c.traffic.Failures++
	c.health.LastFailure, c.health.Failure = now, err.Error()
	if after := pauseOf(err); after > 0 {
		if until := now.Add(after); until.After(c.health.PausedUntil) {
			c.health.PausedUntil = until
		}
	}
}

// paused returns how long the upstream wants to be left alone from now on.
func (c *Client) paused() time.Duration {
	return c.Health().PausedUntil.Sub(c.o.Clock.Now())
}
