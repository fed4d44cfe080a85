package garden

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/admission"

	"github.com/loam-cloud/loam/garden/internal/etcd"
)

// Shares of the store's quota, in percent.
const (
	// warnAbove is when the log tells of it.
	warnAbove = 80
	// refuseAbove is when nothing new is taken in, so that what is there can still
	// be changed and deleted: etcd itself refuses every write at 100.
	refuseAbove = 95
)

const (
	lookAtStore = 10 * time.Second
	// warnAgain is how often the log repeats itself.
	warnAgain = time.Hour
	// worthDefragmenting is how much must be free in the file, and how much of it
	// in percent, before reads and writes are made to wait.
	worthDefragmenting        = 64 << 20
	worthDefragmentingPercent = 50
)

// keeper sees to it that the store never fills.
type keeper struct {
	garden *Garden
	// free tells how many bytes a folder's disk has left.
	free func(folder string) (int64, error)
	// refusing says why nothing new is taken in, nil when it is; every request
	// that creates something reads it.
	refusing             atomic.Pointer[string]
	warned, warnedOfDisk time.Time
	// seen is the revision of the last look: older ones may be forgotten in need.
	seen int64
	// room is what the last look found, for metrics; nil before the first.
	room atomic.Pointer[room]
	// one look at a time
	looking sync.Mutex
}

// room is what the store takes, and what there is for it, in bytes.
type room struct{ file, quota, disk int64 }

// run looks after the store until ctx ends.
func (k *keeper) run(ctx context.Context) {
	if k.garden.store == nil {
		return
	}
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := k.look(ctx, time.Now()); err != nil && ctx.Err() == nil {
			k.garden.config.Logger.Error(err, "The store could not be looked after")
		}
	}, lookAtStore)
}

func (k *keeper) look(ctx context.Context, now time.Time) error {
	k.looking.Lock()
	defer k.looking.Unlock()
	store := k.garden.store
	usage, err := store.Usage(ctx)
	if err != nil {
		return err
	}
	// etcd counts the whole file, of which a part may be free.
	if percent(usage.FileBytes, usage.QuotaBytes) >= refuseAbove || usage.Full {
		// The API server keeps five minutes of history; now room is worth more.
		if err := store.Compact(ctx, max(k.seen, 1)); err != nil {
			return err
		}
		if usage, err = store.Usage(ctx); err != nil {
			return err
		}
	}
	k.seen = usage.Revision
	if worthIt(usage) {
		if usage, err = k.defragment(ctx, usage); err != nil {
			return err
		}
	}
	used := percent(usage.FileBytes, usage.QuotaBytes)
	free, err := k.free(k.garden.config.DataDir)
	if err != nil {
		return err
	}
	k.room.Store(&room{file: usage.FileBytes, quota: usage.QuotaBytes, disk: free})
	k.refusing.Store(refusal(used, free))
	// New objects are refused here, so etcd has no need to refuse changes as well,
	// without which nothing that has a finalizer goes away.
	if usage.Full && used < 100 {
		if err := store.Recover(ctx); err != nil {
			return err
		}
	}
	if used >= warnAbove && now.Sub(k.warned) >= warnAgain {
		k.warned = now
		k.garden.config.Logger.Error(nil, "The store is nearly full: delete what is not needed, or raise its quota",
			"usedPercent", used, "quotaBytes", usage.QuotaBytes, "refusesNewObjectsAbovePercent", refuseAbove)
	}
	if free < roomToWarn && now.Sub(k.warnedOfDisk) >= warnAgain {
		k.warnedOfDisk = now
		k.garden.config.Logger.Error(nil, "The disk is nearly full: make room, or the garden ends when it can write no more",
			"folder", k.garden.config.DataDir, "freeBytes", free, "refusesNewObjectsBelowBytes", roomForNewObjects)
	}
	return nil
}

// refusal says why nothing new is taken in; nil when there is room.
func refusal(usedPercent, free int64) *string {
	var why string
	switch {
	case usedPercent >= refuseAbove:
		why = fmt.Sprintf("the garden's store is over %d%% of its quota; delete what is not needed, or raise the quota with --store-quota", refuseAbove)
	case free < roomForNewObjects:
		why = fmt.Sprintf("the disk of the garden's data has %d MiB free, less than %d MiB; make room on it", free>>20, roomForNewObjects>>20)
	default:
		return nil
	}
	return &why
}

func (k *keeper) defragment(ctx context.Context, before etcd.Usage) (etcd.Usage, error) {
	began := time.Now()
	if err := k.garden.store.Defragment(ctx); err != nil {
		return before, err
	}
	after, err := k.garden.store.Usage(ctx)
	k.garden.config.Logger.Info("The store's file was defragmented", "took", time.Since(began).Round(time.Millisecond).String(), "before", before.FileBytes, "after", after.FileBytes)
	return after, err
}

// worthIt tells whether a defragmentation gives back enough. Near the quota, which
// counts the whole file, any amount is.
func worthIt(usage etcd.Usage) bool {
	free := usage.FileBytes - usage.UsedBytes
	if percent(usage.FileBytes, usage.QuotaBytes) >= warnAbove || usage.Full {
		return percent(free, usage.FileBytes) >= 5
	}
	return free >= worthDefragmenting && percent(free, usage.FileBytes) >= worthDefragmentingPercent
}

func percent(part, whole int64) int64 { return part * 100 / max(whole, 1) }

// admit puts the keeper in front of a chain of admission plug-ins.
func (k *keeper) admit(chain admission.Interface) admission.Interface {
	if chain == nil {
		return k
	}
	return admission.NewChainHandler(k, chain)
}

var _ admission.ValidationInterface = (*keeper)(nil)

// Handles implements admission.Interface.
func (k *keeper) Handles(operation admission.Operation) bool { return operation == admission.Create }

// Validate implements admission.ValidationInterface: it refuses new objects
// while the store or its disk is nearly full.
func (k *keeper) Validate(_ context.Context, attributes admission.Attributes, _ admission.ObjectInterfaces) error {
	why := k.refusing.Load()
	if why == nil || attributes.GetSubresource() != "" || passing(attributes) {
		return nil
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInsufficientStorage, Reason: metav1.StatusReason("InsufficientStorage"),
		Message: fmt.Sprintf("%s %q was not created: %s", attributes.GetResource().Resource, attributes.GetName(), *why),
	}}
}

// passing tells whether an object is needed by those who make room, or is never
// stored.
func passing(attributes admission.Attributes) bool {
	return slices.Contains([]string{"authentication.k8s.io", "authorization.k8s.io", "coordination.k8s.io"}, attributes.GetResource().Group)
}
