// Package footprint keeps the resident memory of a long-running process near what
// it uses: garbage goes back to the host sooner than Go would give it, and so do
// the pages of files that it only reads.
//
// A garden and the processes with controllers call it once they have started. It
// must not know what they do.
package footprint

import (
	"runtime"
	"runtime/debug"
	"time"
)

const (
	// These processes hold much and, most of the time, write little: then they
	// collect more often than Go's default of 100 %, and under load no more often.
	// Less than half makes short bursts slow.
	idlePercent = 50
	busyPercent = 100
	// busyRate is how much is allocated in a second under load, in bytes.
	busyRate = 16 << 20
	// lookEvery is how often that is looked at, returnEvery how often what is unused
	// goes back, if it is worthReturning. The first time comes after settle, when
	// what a start has left is garbage.
	lookEvery      = time.Second
	settle         = 3 * time.Second
	returnEvery    = time.Minute
	worthReturning = 64 << 20
)

// Keep looks after the process until done is closed. The whole process has one.
func Keep(done <-chan struct{}) {
	debug.SetGCPercent(idlePercent)
	relocated := isRelocated()
	forgetFiles(relocated)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var last runtime.MemStats
	runtime.ReadMemStats(&last)
	percent, next := idlePercent, time.Now().Add(settle)
	for {
		select {
		case <-done:
			return
		case now := <-ticker.C:
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			if want := percentFor(memory.TotalAlloc - last.TotalAlloc); want != percent {
				percent = want
				debug.SetGCPercent(percent)
			}
			last = memory
			if now.Before(next) {
				continue
			}
			if unused(memory, percent) > worthReturning {
				debug.FreeOSMemory()
			}
			forgetFiles(relocated)
			next = now.Add(returnEvery)
		}
	}
}

// percentFor is how much garbage there may be, in percent of what is in use, when
// so many bytes were allocated between two looks.
func percentFor(allocated uint64) int {
	if allocated > busyRate*uint64(lookEvery/time.Second) {
		return busyPercent
	}
	return idlePercent
}

// unused is what is not in use and was not given back, and what has become
// garbage since the last collection, at most.
func unused(memory runtime.MemStats, percent int) uint64 {
	bytes := memory.HeapSys - memory.HeapReleased - memory.HeapAlloc
	if live := memory.NextGC * 100 / uint64(100+percent); memory.HeapAlloc > live {
		bytes += memory.HeapAlloc - live
	}
	return bytes
}
