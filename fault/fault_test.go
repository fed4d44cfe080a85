package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/loam-cloud/loam/fault"
)

func TestKindOf(t *testing.T) {
	plain := errors.New("plain")
	for name, tc := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"none":                 {nil, ""},
		"without a kind":       {plain, fault.Internal},
		"new":                  {fault.New(fault.Invalid, "no"), fault.Invalid},
		"wrapped":              {fault.Wrap(fault.Denied, plain), fault.Denied},
		"deep inside":          {fmt.Errorf("doing: %w", fault.New(fault.Exhausted, "no")), fault.Exhausted},
		"the outermost wins":   {fault.Wrap(fault.Transient, fault.New(fault.Invalid, "no")), fault.Transient},
		"also around the text": {fault.New(fault.Transient, "still: %w", fault.New(fault.Waiting, "no")), fault.Transient},
		"a kind itself":        {fault.Missing, fault.Missing},
		"around a kind itself": {fmt.Errorf("reading: %w", fault.Missing), fault.Missing},
		"joined, the first":    {errors.Join(fault.New(fault.Waiting, "a"), fault.New(fault.Invalid, "b")), fault.Waiting},
		"joined with a plain":  {errors.Join(plain, fault.New(fault.Invalid, "b")), fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fault.KindOf(tc.err); got != tc.want {
				t.Errorf("%v is %q, want %q", tc.err, got, tc.want)
			}
		})
	}
}

func TestWrapKeepsMessageAndCause(t *testing.T) {
	err := fault.Wrap(fault.Transient, fmt.Errorf("reading: %w", io.ErrUnexpectedEOF))
	if err.Error() != "reading: unexpected EOF" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	if fault.Wrap(fault.Transient, nil) != nil {
		t.Error("nothing became an error")
	}
	if err := fault.New(fault.Invalid, "machine %q: %w", "a", io.EOF); err.Error() != `machine "a": EOF` || !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

func TestIs(t *testing.T) {
	err := fmt.Errorf("creating: %w", fault.Wrap(fault.Transient, fault.New(fault.Waiting, "no")))
	for kind, want := range map[fault.Kind]bool{fault.Transient: true, fault.Waiting: true, fault.Invalid: false, fault.Internal: false} {
		if got := errors.Is(err, kind); got != want {
			t.Errorf("is %q: %v, want %v", kind, got, want)
		}
	}
	if errors.Is(errors.New("plain"), fault.Internal) {
		t.Error("an error without a kind is one only for KindOf")
	}
}
