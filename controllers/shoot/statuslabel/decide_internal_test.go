package statuslabel

import (
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
)

func TestDecide(t *testing.T) {
	type row struct {
		last       *gardencorev1beta1.LastOperation
		errors     int
		conditions []gardencorev1beta1.ConditionStatus
		want       string
	}
	last := func(kind gardencorev1beta1.LastOperationType, state gardencorev1beta1.LastOperationState) *gardencorev1beta1.LastOperation {
		return &gardencorev1beta1.LastOperation{Type: kind, State: state}
	}
	const (
		create, reconcile, migrate, remove = gardencorev1beta1.LastOperationTypeCreate, gardencorev1beta1.LastOperationTypeReconcile, gardencorev1beta1.LastOperationTypeMigrate, gardencorev1beta1.LastOperationTypeDelete
		processing, succeeded, failed      = gardencorev1beta1.LastOperationStateProcessing, gardencorev1beta1.LastOperationStateSucceeded, gardencorev1beta1.LastOperationStateFailed
		erred, aborted                     = gardencorev1beta1.LastOperationStateError, gardencorev1beta1.LastOperationStateAborted
		yes, no, unknown, moving           = gardencorev1beta1.ConditionTrue, gardencorev1beta1.ConditionFalse, gardencorev1beta1.ConditionUnknown, gardencorev1beta1.ConditionProgressing
	)
	all := func(statuses ...gardencorev1beta1.ConditionStatus) []gardencorev1beta1.ConditionStatus {
		return statuses
	}
	for name, r := range map[string]row{
		"no last operation":                       {want: "healthy"},
		"no last operation, bad condition":        {conditions: all(no), want: "healthy"},
		"create unfinished":                       {last: last(create, processing), conditions: all(no), want: "healthy"},
		"create unfinished with errors":           {last: last(create, processing), errors: 1, conditions: all(yes), want: "unhealthy"},
		"create failed with errors":               {last: last(create, failed), errors: 1, want: "unhealthy"},
		"created":                                 {last: last(create, succeeded), conditions: all(yes, yes), want: "healthy"},
		"created, bad condition":                  {last: last(create, succeeded), conditions: all(yes, no), want: "unhealthy"},
		"delete":                                  {last: last(remove, processing), conditions: all(unknown), want: "healthy"},
		"delete with errors":                      {last: last(remove, erred), errors: 2, want: "unhealthy"},
		"processing":                              {last: last(reconcile, processing), conditions: all(yes), want: "healthy"},
		"processing with errors":                  {last: last(reconcile, processing), errors: 1, conditions: all(yes), want: "unhealthy"},
		"processing, progressing condition":       {last: last(reconcile, processing), conditions: all(yes, moving), want: "progressing"},
		"succeeded, former errors do not count":   {last: last(reconcile, succeeded), errors: 1, conditions: all(yes), want: "healthy"},
		"error":                                   {last: last(reconcile, erred), conditions: all(yes), want: "unhealthy"},
		"failed":                                  {last: last(reconcile, failed), conditions: all(moving), want: "unhealthy"},
		"aborted":                                 {last: last(migrate, aborted), want: "unhealthy"},
		"unknown condition":                       {last: last(reconcile, succeeded), conditions: all(unknown, yes), want: "unhealthy"},
		"progressing condition":                   {last: last(reconcile, succeeded), conditions: all(moving, yes), want: "progressing"},
		"worst of conditions, whatever the order": {last: last(reconcile, succeeded), conditions: all(no, moving, yes), want: "unhealthy"},
	} {
		shoot := &gardencorev1beta1.Shoot{}
		shoot.Status.LastOperation, shoot.Status.LastErrors = r.last, make([]gardencorev1beta1.LastError, r.errors)
		for _, status := range r.conditions {
			shoot.Status.Conditions = append(shoot.Status.Conditions, gardencorev1beta1.Condition{Status: status})
		}
		if got := decide(shoot); got != r.want {
			t.Errorf("%s: %s, want %s", name, got, r.want)
		}
	}
}
