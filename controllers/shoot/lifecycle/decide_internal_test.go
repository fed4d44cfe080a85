package lifecycle

import (
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDecide(t *testing.T) {
	const (
		create, reconcile, remove            = gardencorev1beta1.LastOperationTypeCreate, gardencorev1beta1.LastOperationTypeReconcile, gardencorev1beta1.LastOperationTypeDelete
		processing, succeeded, failed, erred = gardencorev1beta1.LastOperationStateProcessing, gardencorev1beta1.LastOperationStateSucceeded, gardencorev1beta1.LastOperationStateFailed, gardencorev1beta1.LastOperationStateError
	)
	for name, tc := range map[string]struct {
		last     *gardencorev1beta1.LastOperation
		observed int64
		deleting bool
		want     gardencorev1beta1.LastOperationType
	}{
		"new":                           {nil, 0, false, create},
		"being made":                    {&gardencorev1beta1.LastOperation{Type: create, State: processing}, 0, false, create},
		"could not be made for now":     {&gardencorev1beta1.LastOperation{Type: create, State: erred}, 2, false, create},
		"cannot be made":                {&gardencorev1beta1.LastOperation{Type: create, State: failed}, 2, false, ""},
		"cannot be made, then changed":  {&gardencorev1beta1.LastOperation{Type: create, State: failed}, 1, false, create},
		"made":                          {&gardencorev1beta1.LastOperation{Type: create, State: succeeded}, 2, false, ""},
		"made, then changed":            {&gardencorev1beta1.LastOperation{Type: create, State: succeeded}, 1, false, reconcile},
		"being changed":                 {&gardencorev1beta1.LastOperation{Type: reconcile, State: processing}, 1, false, reconcile},
		"could not be changed for now":  {&gardencorev1beta1.LastOperation{Type: reconcile, State: erred}, 2, false, reconcile},
		"cannot be changed":             {&gardencorev1beta1.LastOperation{Type: reconcile, State: failed}, 2, false, ""},
		"to be deleted":                 {&gardencorev1beta1.LastOperation{Type: create, State: succeeded}, 2, true, remove},
		"to be deleted, never made":     {nil, 0, true, remove},
		"to be deleted, cannot be made": {&gardencorev1beta1.LastOperation{Type: create, State: failed}, 2, true, remove},
	} {
		t.Run(name, func(t *testing.T) {
			shoot := &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
			shoot.Status.LastOperation, shoot.Status.ObservedGeneration = tc.last, tc.observed
			if tc.deleting {
				now := metav1.Now()
				shoot.DeletionTimestamp = &now
			}
			if got := decide(shoot); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestReason(t *testing.T) {
	for step, want := range map[string]string{"joining workers": "JoiningWorkers", "reaching API server": "ReachingAPIServer", "": ""} {
		if got := reason(step); got != want {
			t.Errorf("%q becomes %q, want %q", step, got, want)
		}
	}
}
