package footprint

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

// TestPercentFor wants fewer collections under load, and only then.
func TestPercentFor(t *testing.T) {
	for allocated, want := range map[uint64]int{0: idlePercent, 10 << 20: idlePercent, 10 << 30: busyPercent} {
		if got := percentFor(allocated); got != want {
			t.Errorf("%d bytes between two looks: %d %%, want %d %%", allocated, got, want)
		}
	}
}

// TestUnused counts what the host could have back.
func TestUnused(t *testing.T) {
	memory := runtime.MemStats{HeapSys: 1000, HeapReleased: 200, HeapAlloc: 600, NextGC: 650}
	// 200 are free, and of what is in use 500 were left by the last collection.
	if got := unused(memory, 30); got != 300 {
		t.Errorf("%d bytes are unused, want 300", got)
	}
	memory.HeapAlloc = 400
	if got := unused(memory, 30); got != 400 {
		t.Errorf("%d bytes are unused, want 400", got)
	}
}

// TestForgetFiles wants the pages of files gone and the process none the worse.
func TestForgetFiles(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux forgets")
	}
	touch()
	before := mapped(t)
	forgetFiles(isRelocated())
	if after := mapped(t); after >= before {
		t.Errorf("%d bytes of files are mapped, before %d", after, before)
	}
	if touch() == 0 {
		t.Error("the process has lost its mind")
	}
}

// touch runs through the whole binary's tables.
func touch() int {
	buffer := make([]byte, 1<<20)
	return runtime.Stack(buffer, true)
}

func mapped(t *testing.T) uint64 {
	t.Helper()
	self, err := procfs.Self()
	if err != nil {
		t.Fatal(err)
	}
	status, err := self.NewStatus()
	if err != nil {
		t.Fatal(err)
	}
	return status.RssFile
}

// TestKeep wants it to end, having set what is best when nothing happens.
func TestKeep(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { Keep(done); close(ended) }()
	for debug.SetGCPercent(77) == 77 {
		time.Sleep(time.Millisecond)
	}
	close(done)
	<-ended
}
