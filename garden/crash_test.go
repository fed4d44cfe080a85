package garden_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/scheme"
)

// TestKillLosesNothing kills a garden in the middle of a burst of creates by
// several clients, and looks for every object whose creation was acknowledged.
func TestKillLosesNothing(t *testing.T) {
	const writers, rounds, burst = 8, 2, 300 * time.Millisecond
	dir := t.TempDir()
	var acknowledged []string
	for round := range rounds {
		child := startChild(t, dir)
		c, err := client.New(childConfig(t, dir), client.Options{Scheme: scheme.Client()})
		if err != nil {
			t.Fatal(err)
		}
		acknowledged = append(acknowledged, createUntil(t, c, writers, fmt.Sprint("round-", round), func() {
			time.Sleep(burst)
			kill(child)
		})...)
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

// wantAcknowledged starts a garden on dir and looks for every Shoot whose creation
// was acknowledged. It returns how many others there are.
func wantAcknowledged(t *testing.T, dir string, acknowledged []string) int {
	t.Helper()
	g := start(t, dir)
	defer stop(t, g)
	list := &v1beta1.ShootList{}
	if err := clientOf(t, g).List(context.Background(), list); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, shoot := range list.Items {
		found[shoot.Name] = true
	}
	for _, name := range acknowledged {
		if !found[name] {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
	t.Logf("%d acknowledged, %d found", len(acknowledged), len(found))
	return len(found) - len(acknowledged)
}

// createUntil creates Shoots from several writers until the server is gone,
// and returns the names that were acknowledged.
func createUntil(t *testing.T, c client.Client, writers int, prefix string, end func()) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var lock sync.Mutex
	var names []string
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
				lock.Lock()
				names = append(names, shoot.Name)
				lock.Unlock()
				first()
			}
		})
	}
	began.Wait()
	end()
	cancel()
	running.Wait()
	return names
}
