package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/loam-cloud/loam/fault"
)

var (
	// ErrChanged is returned when an upstream contradicts itself about how long
	// a blob is: what was fetched so far belongs to something else.
	ErrChanged = errors.New("the upstream contradicts itself about the blob's length")
	errStalled = errors.New("the upstream sent nothing for too long")
)

// Error is an answer that brought no content.
type Error struct {
	// Upstream and Status are who answered, and with which HTTP status.
	Upstream string
	Status   int
	// After is the pause that the upstream asked for; 0 is none.
	After time.Duration
	// Detail says more, where there is more to say.
	Detail string
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s answered %d %s", e.Upstream, e.Status, http.StatusText(e.Status))
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.After > 0 {
		text += fmt.Sprintf(" (asks for a pause of %s)", e.After.Round(time.Second))
	}
	return text
}

// RetryAfter is the pause that the upstream asked for, for whoever passes it on.
func (e *Error) RetryAfter() time.Duration { return e.After }

// pauseOf returns the pause that the upstream asked for, if err carries one.
func pauseOf(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.After
	}
	return 0
}

// refused classifies an answer that is not the one asked for.
func (c *Client) refused(resp *http.Response) error {
	e := &Error{Upstream: c.o.Name, Status: resp.StatusCode, After: pause(resp, c.o.Clock.Now())}
	switch status := resp.StatusCode; {
	case !c.own(resp.Request.URL):
		// Where content lies behind a redirect, an address that was signed for
		// a while answers 403 or 404 when its time is over: a new one is to be had.
		e.Detail = "from " + resp.Request.URL.Host
		return fault.Wrap(fault.Transient, e)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.Wrap(fault.Denied, e)
	case status == http.StatusNotFound, status == http.StatusGone:
		return fault.Wrap(fault.Missing, e)
	case status == http.StatusTooManyRequests:
		return fault.Wrap(fault.Exhausted, e)
	case status >= 500, status == http.StatusRequestTimeout:
		return fault.Wrap(fault.Transient, e)
	default:
		return fault.Wrap(fault.Internal, e)
	}
}

// again says whether the same request may be answered otherwise.
func again(err error) bool {
	kind := fault.KindOf(err)
	return kind == fault.Transient || kind == fault.Exhausted
}

// pause reads Retry-After, which is seconds or a date.
func pause(resp *http.Response, now time.Time) time.Duration {
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
