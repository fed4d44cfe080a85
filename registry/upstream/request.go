package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-logr/logr"

	"github.com/loam-cloud/loam/fault"
)

const (
	// mostRedirects is more than enough: registries redirect once, to where their
	// content lies, or to the one that is nearest.
	mostRedirects = 5
	// mostProofs is how often one request is sent with a new token before the
	// upstream is believed that it does not let us in.
	mostProofs = 3
)

// request is one thing wanted of the upstream.
type request struct {
	method     string
	url        *url.URL
	repository string
	header     http.Header
	// good are the statuses that bring what was asked for.
	good []int
}

// ask sends a request until it is answered usefully, the upstream has refused
// it for good, or patience is at its end. The body of the answer stalls no
// longer than it may, and has to be closed.
func (c *Client) ask(ctx context.Context, r request) (*http.Response, error) {
	var last error
	for attempt := range c.o.Attempts {
		if err := c.rest(ctx, attempt, last); err != nil {
			return nil, err
		}
		resp, err := c.once(ctx, r)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		c.note(err)
		if last = err; !again(err) {
			break
		}
		logr.FromContextOrDiscard(ctx).V(1).Info("Asking the upstream again", "upstream", c.o.Name, "url", r.url.Redacted(), "attempt", attempt+1, "reason", err.Error())
	}
	return nil, last
}

// rest waits as long as has to be before an attempt: until the upstream's
// pause is over, and longer with each failure.
func (c *Client) rest(ctx context.Context, attempt int, last error) error {
	wait := c.paused()
	if wait > c.o.Patience {
		e := &Error{Upstream: c.o.Name, Status: http.StatusTooManyRequests, After: wait, Detail: "not asked, it wants to be left alone"}
		return fault.Wrap(fault.Exhausted, e)
	}
	if attempt > 0 {
		wait = max(wait, c.delay(attempt-1))
	}
	if wait <= 0 {
		return nil
	}
	if last == nil {
		last = fault.New(fault.Exhausted, "%s wants to be left alone for %s", c.o.Name, wait.Round(time.Millisecond))
	}
	return c.sleep(ctx, wait, last)
}

func (c *Client) delay(failures int) time.Duration {
	d := c.o.Backoff
	for range failures {
		if d *= 2; d >= c.o.MaxBackoff {
			return c.o.MaxBackoff
		}
	}
	return d
}

// once follows one request through proofs and redirects to its answer.
func (c *Client) once(ctx context.Context, r request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watch := &watchdog{cancel: cancel, after: c.o.Stall, clock: c.o.Clock}
	resp, err := c.follow(ctx, r, watch)
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			err = fault.New(fault.Transient, "%s: %w (%s)", c.o.Name, errStalled, c.o.Stall)
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &body{c: c, from: resp.Body, watch: watch, ctx: ctx, cancel: cancel}
	return resp, nil
}

func (c *Client) follow(ctx context.Context, r request, watch *watchdog) (*http.Response, error) {
	at, header, proofs := r.url, c.authorization(r.repository), 0
	// Whatever a redirect leads to but the upstream itself sees no credentials;
	// it may give out tokens of its own to everybody.
	foreign := ""
	seen := map[string]bool{}
	for {
		proof := foreign
		if c.own(at) {
			proof = header
		}
		resp, err := c.send(ctx, r, at, proof, watch)
		if err != nil {
			return nil, err
		}
		for _, status := range r.good {
			if resp.StatusCode == status {
				return resp, nil
			}
		}
		// What an answer without content says is of no use, nor worth waiting
		// for: its connection goes.
		_ = resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusUnauthorized && c.own(at) && proofs < mostProofs:
			challenges := parseChallenges(resp.Header.Values("WWW-Authenticate"))
			if len(challenges) == 0 {
				return nil, c.refused(resp)
			}
			if header, err = c.authorize(ctx, r.repository, header, challenges); err != nil {
				return nil, err
			}
			proofs++
		case resp.StatusCode == http.StatusUnauthorized && !c.own(at) && foreign == "":
			if foreign, err = c.introduce(ctx, at, r.repository, resp); err != nil {
				return nil, err
			}
		case redirects(resp.StatusCode):
			if at, err = c.next(resp, at); err != nil {
				return nil, err
			}
			if seen[at.String()] || len(seen) == mostRedirects {
				return nil, fault.New(fault.Transient, "%s redirects in a circle, or more than %d times: last to %s", c.o.Name, mostRedirects, at.Host)
			}
			seen[at.String()], foreign = true, ""
		default:
			return nil, c.refused(resp)
		}
	}
}

// send makes one request of HTTP.
func (c *Client) send(ctx context.Context, r request, at *url.URL, proof string, watch *watchdog) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, at.String(), nil)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err)
	}
	for key, values := range r.header {
		req.Header[key] = values
	}
	req.Header.Set("User-Agent", "loam-registry")
	if proof != "" {
		req.Header.Set("Authorization", proof)
	}
	c.count(1, 0)
	watch.start()
	defer watch.stop()
	resp, err := c.o.Transport.RoundTrip(req)
	if err != nil {
		return nil, fault.New(fault.Transient, "%s: %w", c.o.Name, err)
	}
	return resp, nil
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

func (c *Client) next(resp *http.Response, at *url.URL) (*url.URL, error) {
	location := resp.Header.Get("Location")
	to, err := at.Parse(location)
	switch {
	case location == "" || err != nil || to.Host == "":
		return nil, fault.New(fault.Transient, "%s answered %d with the Location %q, which leads nowhere", c.o.Name, resp.StatusCode, location)
	case to.Scheme != "https" && (to.Scheme != "http" || at.Scheme == "https"):
		return nil, fault.New(fault.Denied, "%s redirects from %s to %s: not followed", c.o.Name, at.Scheme, fmt.Sprintf("%s://%s", to.Scheme, to.Host))
	}
	return to, nil
}
