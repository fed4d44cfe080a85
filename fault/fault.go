// Package fault names the kinds of failure that Loam tells apart, so that a
// driver can classify what went wrong once and everyone above it decides by
// kind: whether to try again, when, and what to tell the user.
//
// Every package may use it. It must not know who failed or what is done about
// it: requeue policy and API error codes belong to the controllers.
package fault

import (
	"errors"
	"fmt"
)

// Kind is one kind of failure. A Kind is itself an error, so that
// errors.Is(err, fault.Missing) works on any wrapped error.
type Kind string

const (
	// Invalid means that a user has to edit what was asked for; trying again
	// with the same input gives the same answer.
	Invalid Kind = "invalid"
	// Waiting means that something else is not ready yet; it is not an error
	// to be logged.
	Waiting Kind = "waiting"
	// Transient means that a remote end hiccuped; the same call may work later.
	Transient Kind = "transient"
	// Exhausted means that a quota or a resource has no room left.
	Exhausted Kind = "exhausted"
	// Denied means that credentials or rights are insufficient.
	Denied Kind = "denied"
	// Missing means that the thing is gone; a deletion takes it as success.
	Missing Kind = "missing"
	// Internal means a defect of Loam itself. Errors without a kind count as it.
	Internal Kind = "internal"
)

// Error makes a Kind usable as a target of errors.Is.
func (k Kind) Error() string { return string(k) }

type classified struct {
	kind Kind
	err  error
}

func (c *classified) Error() string        { return c.err.Error() }
func (c *classified) Unwrap() error        { return c.err }
func (c *classified) Is(target error) bool { return target == error(c.kind) }

// New returns an error of the given kind. The format takes %w.
func New(kind Kind, format string, args ...any) error {
	return &classified{kind: kind, err: fmt.Errorf(format, args...)}
}

// Wrap gives err a kind and keeps its message. A nil err stays nil; the
// outermost kind wins in KindOf.
func Wrap(kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &classified{kind: kind, err: err}
}

// KindOf returns the outermost kind of err, Internal when it carries none, and
// the empty kind for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var c *classified
	if errors.As(err, &c) {
		return c.kind
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return Internal
}
