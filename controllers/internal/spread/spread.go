// Package spread keeps many objects from being worked on at the same moment:
// after a start, at every full hour, at the beginning of a window.
//
// Controllers call it. What it answers is a function of an object's UID, so that
// a restart moves nothing. It must not know what the work is.
package spread

import (
	"context"
	"hash/fnv"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Offset is a duration in [0, span) that is the same for the same object and
// words, and evenly distributed over objects. Words tell occasions apart.
func Offset(span time.Duration, uid types.UID, words ...string) time.Duration {
	if span <= 0 {
		return 0
	}
	hash := fnv.New64a()
	hash.Write([]byte(uid))
	for _, word := range words {
		// A separator that is in no UID, date or name.
		hash.Write([]byte{0})
		hash.Write([]byte(word))
	}
	return time.Duration(mix(hash.Sum64()) % uint64(span))
}

// mix spreads the bits of a hash: FNV of texts that differ in their last letter
// only differs in its low bits, which a modulo of a long span keeps together
// (finalizer of SplitMix64, public domain).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// Until is how long it is until an object's next turn, when all objects have one
// per period: more than 0 and at most period.
func Until(now time.Time, period time.Duration, uid types.UID) time.Duration {
	if period <= 0 {
		return 0
	}
	// Turns are counted from the Unix epoch, whatever the process was doing.
	since := time.Duration((now.UnixNano() - int64(Offset(period, uid))) % int64(period))
	if since < 0 {
		since += period
	}
	return period - since
}

// Start knows when a controller began its work. Its zero value has not begun.
type Start struct{ at atomic.Pointer[time.Time] }

// Source is a source of no events which notes the time at which the controller
// that it is given to starts.
func (s *Start) Source(clock clock.PassiveClock) source.Source {
	return source.Func(func(context.Context, workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		now := clock.Now()
		s.at.Store(&now)
		return nil
	})
}

// Due is when work is to be done that fell due at a time: then, or, if that was
// before the start, within span after the start. Objects that are younger than
// the start have missed nothing.
func (s *Start) Due(due, created time.Time, span time.Duration, uid types.UID) time.Time {
	at := s.at.Load()
	// Creation times have whole seconds.
	if at == nil || !due.Before(*at) || !created.Before(at.Truncate(time.Second)) {
		return due
	}
	return at.Add(Offset(span, uid, "start"))
}
