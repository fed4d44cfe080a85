package installer

import (
	"context"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/wanted"
)

// Reasons of events.
const (
	missingReason = "ExtensionMissing"
	problemReason = "ExtensionProblem"
)

// Reporter tells operators, in events, what they have to mend. It says the same
// of an object once, until something else is true.
type Reporter struct {
	mutex sync.Mutex
	said  map[client.ObjectKey]string
}

// Report tells what a choice lacks.
func (r *Reporter) Report(ctx context.Context, recorder events.EventRecorder, object client.Object, choice wanted.Choice) {
	var missing []string
	for _, e := range choice.Missing {
		missing = append(missing, e.String())
	}
	said := strings.Join(missing, ", ") + "\n" + strings.Join(choice.Problems, "\n")
	if !r.isNew(client.ObjectKeyFromObject(object), said) {
		return
	}
	if len(missing) > 0 {
		log.FromContext(ctx).Info("No controller registration offers what is wanted", "missing", missing)
		recorder.Eventf(object, nil, corev1.EventTypeWarning, missingReason, "Reconcile", "No controller registration offers %s", strings.Join(missing, ", "))
	}
	for _, problem := range choice.Problems {
		log.FromContext(ctx).Info("An operator has to mend what extensions need", "problem", problem)
		recorder.Eventf(object, nil, corev1.EventTypeWarning, problemReason, "Reconcile", "%s", problem)
	}
}

func (r *Reporter) isNew(key client.ObjectKey, said string) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.said[key] == said {
		return false
	}
	if r.said == nil {
		r.said = map[client.ObjectKey]string{}
	}
	if r.said[key] = said; said == "\n" {
		delete(r.said, key)
	}
	return true
}

// Forget drops what was said of an object that is gone.
func (r *Reporter) Forget(key client.ObjectKey) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.said, key)
}
