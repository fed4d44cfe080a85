package garden_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/scheme"
)

// TestKillLosesNothing kills a garden in the middle of a burst of writes by several
// clients, and looks for everything that was acknowledged.
func TestKillLosesNothing(t *testing.T) {
	const writers, rounds, burst = 8, 2, 500 * time.Millisecond
	dir := t.TempDir()
	acknowledged := ledger{}
	for round := range rounds {
		child := startChild(t, dir)
		c, err := client.New(childConfig(t, dir), client.Options{Scheme: scheme.Client()})
		if err != nil {
			t.Fatal(err)
		}
		writeUntil(t, c, writers, fmt.Sprint("round-", round), acknowledged, func() {
			time.Sleep(burst)
			kill(child)
		})
	}
	if len(acknowledged) < writers {
		t.Fatalf("only %d creates were acknowledged: the burst was none", len(acknowledged))
	}

	extra := wantAcknowledged(t, dir, acknowledged)
	// Each writer may have had one request under way at each kill.
	if extra > writers*rounds {
		t.Errorf("%d objects more than were acknowledged", extra)
	}
}

// ledger is what a garden has acknowledged: for each Shoot the resource version of
// its last write, or that it is gone.
type ledger map[string]string

const (
	gone = "gone"
	// going is a deletion without an answer: either is right.
	going = "going"
)

// wantAcknowledged starts a garden on dir and compares it with what was
// acknowledged: no Shoot is lost, none is older, none has come back. It returns how
// many others there are.
func wantAcknowledged(t *testing.T, dir string, acknowledged ledger) int {
	t.Helper()
	g := start(t, dir)
	defer stop(t, g)
	list := &v1beta1.ShootList{}
	if err := clientOf(t, g).List(context.Background(), list); err != nil {
		t.Fatal(err)
	}
	extra, found := 0, map[string]uint64{}
	for _, shoot := range list.Items {
		found[shoot.Name] = revision(t, shoot.ResourceVersion)
		if _, known := acknowledged[shoot.Name]; !known {
			extra++
		}
	}
	counts := map[string]int{}
	for name, last := range acknowledged {
		have, there := found[name]
		switch {
		case last == gone && there:
			t.Errorf("%s was deleted and has come back", name)
		case last == gone, last == going:
			counts[last]++
		case !there:
			t.Errorf("%s was acknowledged and is lost", name)
		case have < revision(t, last):
			t.Errorf("%s is of revision %d, revision %s was acknowledged", name, have, last)
		default:
			counts["there"]++
		}
	}
	t.Logf("%d acknowledged: %v; %d found", len(acknowledged), counts, len(found))
	return extra
}

// revision reads a resource version, which in etcd is a number that grows.
func revision(t *testing.T, resourceVersion string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// writeUntil creates, changes and deletes Shoots from several writers until the
// server is gone, and adds to the ledger what was acknowledged.
func writeUntil(t *testing.T, c client.Client, writers int, prefix string, acknowledged ledger, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var lock sync.Mutex
	note := func(name, last string) {
		lock.Lock()
		defer lock.Unlock()
		acknowledged[name] = last
	}
	var running sync.WaitGroup
	// A busy host takes its time until the first is acknowledged.
	var began sync.WaitGroup
	began.Add(writers)
	for writer := range writers {
		running.Go(func() {
			first := sync.OnceFunc(began.Done)
			defer first()
			for i := 0; ctx.Err() == nil; i++ {
				shoot := newShoot("garden-local", fmt.Sprintf("%s-%d-%d", prefix, writer, i))
				if err := c.Create(ctx, shoot); err != nil {
					return
				}
				note(shoot.Name, shoot.ResourceVersion)
				first()
				if err := c.Patch(ctx, shoot, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"purpose":"testing"}}`))); err != nil {
					return
				}
				note(shoot.Name, shoot.ResourceVersion)
				if err := c.Status().Patch(ctx, shoot, client.RawPatch(types.MergePatchType, []byte(`{"status":{"uid":"written"}}`))); err != nil {
					return
				}
				note(shoot.Name, shoot.ResourceVersion)
				if i%2 == 0 {
					continue
				}
				note(shoot.Name, going)
				if err := c.Delete(ctx, shoot); err != nil {
					return
				}
				note(shoot.Name, gone)
			}
		})
	}
	began.Wait()
	end()
	cancel()
	running.Wait()
}
