// Package guard keeps objects as long as others refer to them, by a finalizer.
//
//	there -> finalizer added -> deletion -> waits while there are blockers -> finalizer removed
//
// Controllers of kinds that others refer to call it, with a list of who does. It
// must not know any kind.
package guard

import (
	"context"
	"fmt"
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/loam-cloud/loam/controllers/internal/finalizer"
)

// shown is how many blockers an event names.
const shown = 3

// Blockers are who refers to an object.
type Blockers struct {
	// Kind is theirs, as users know it: "Shoot".
	Kind string
	// Names are in order, with the namespace in front where there is one.
	Names []string
}

// String names the first few and counts all.
func (b Blockers) String() string {
	names, dots := b.Names, ""
	if len(names) > shown {
		names, dots = names[:shown], ", ..."
	}
	kind := b.Kind
	if len(b.Names) != 1 {
		kind += "s"
	}
	return fmt.Sprintf("%d %s: %s%s", len(b.Names), kind, strings.Join(names, ", "), dots)
}

// List asks for all blockers of one kind. With a client that reads from a cache
// nothing is copied.
func List(ctx context.Context, c client.Reader, kind string, list client.ObjectList, opts ...client.ListOption) (Blockers, error) {
	found := Blockers{Kind: kind}
	if err := c.List(ctx, list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return found, fmt.Errorf("listing who refers to it: %w", err)
	}
	if err := meta.EachListItem(list, func(item runtime.Object) error {
		object, err := meta.Accessor(item)
		if err == nil {
			found.Names = append(found.Names, cache.NewObjectName(object.GetNamespace(), object.GetName()).String())
		}
		return err
	}); err != nil {
		return found, fmt.Errorf("reading who refers to it: %w", err)
	}
	slices.Sort(found.Names)
	return found, nil
}

// Guard holds objects by one finalizer.
type Guard struct {
	Client   client.Client
	Recorder events.EventRecorder
	// Finalizer is the name; empty means "gardener".
	Finalizer string
	// EventType is that of the event of a deletion that waits; empty means Normal.
	EventType string
}

// Hold adds the finalizer to an object that is not in deletion.
func (g Guard) Hold(ctx context.Context, object client.Object) error {
	if controllerutil.ContainsFinalizer(object, g.finalizer()) {
		return nil
	}
	log.FromContext(ctx).Info("Guarding the object", "finalizer", g.finalizer())
	return finalizer.Add(ctx, g.Client, object, g.finalizer())
}

// Holds tells whether an object has the finalizer.
func (g Guard) Holds(object client.Object) bool {
	return controllerutil.ContainsFinalizer(object, g.finalizer())
}

// Blocked tells whether the deletion of an object has to wait, and says so in an
// event. What wakes it again is the end of a reference, see Referrers.
func (g Guard) Blocked(ctx context.Context, object client.Object, blockers Blockers) bool {
	if len(blockers.Names) == 0 {
		return false
	}
	eventType := g.EventType
	if eventType == "" {
		eventType = corev1.EventTypeNormal
	}
	log.FromContext(ctx).Info("Deletion waits for who refers to the object", "blockers", blockers.String())
	g.Recorder.Eventf(object, nil, eventType, v1beta1constants.EventResourceReferenced, "Delete", "Deletion waits, for it is still referred to by %s", blockers)
	return true
}

// Release removes the finalizer.
func (g Guard) Release(ctx context.Context, object client.Object) error {
	if !g.Holds(object) {
		return nil
	}
	log.FromContext(ctx).Info("Releasing the object", "finalizer", g.finalizer())
	return finalizer.Remove(ctx, g.Client, object, g.finalizer())
}

func (g Guard) finalizer() string {
	if g.Finalizer == "" {
		return gardencorev1beta1.GardenerName
	}
	return g.Finalizer
}
