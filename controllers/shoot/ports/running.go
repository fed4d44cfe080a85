package ports

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/loam-cloud/loam/shoots/follow"
)

// run is one follower at work.
type run struct {
	// id is the cluster's on the machine driver.
	id string
	// identity is where the cluster is, and which.
	identity string
	began    time.Time
	follower *follow.Follower
	logger   logr.Logger

	cancel context.CancelFunc
	ended  chan struct{}
}

func (r *run) stop() {
	r.cancel()
	<-r.ended
}

// running are the followers at work, by their Shoots.
type running struct {
	mu     sync.Mutex
	all    map[types.NamespacedName]*run
	closed bool
}

// current is the follower of a cluster that can go on as it is; nil when one has
// to begin.
func (a *running) current(key types.NamespacedName, identity string, now time.Time) *follow.Follower {
	a.mu.Lock()
	defer a.mu.Unlock()
	have := a.all[key]
	if have == nil || have.identity != identity || now.Sub(have.began) >= renewal {
		return nil
	}
	return have.follower
}

// begin has a follower work, after the one before has ended.
func (a *running) begin(key types.NamespacedName, r *run, client kubernetes.Interface) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	if before := a.all[key]; before != nil {
		before.stop()
	}
	if a.all == nil {
		a.all = map[types.NamespacedName]*run{}
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	r.ended = make(chan struct{})
	go func() {
		defer close(r.ended)
		if err := r.follower.Run(ctx, client); err != nil {
			r.logger.Error(err, "Ports of a cluster are not followed")
		}
	}()
	a.all[key] = r
}

// end ends a follower, and returns its cluster's id; empty when there is none.
func (a *running) end(key types.NamespacedName) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	have := a.all[key]
	if have == nil {
		return ""
	}
	have.stop()
	delete(a.all, key)
	return have.id
}

// close ends all, and lets none begin.
func (a *running) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, r := range a.all {
		r.stop()
	}
	a.all = nil
}
