package policy_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/fault"
)

func TestResult(t *testing.T) {
	plain := errors.New("plain")
	transient := fault.New(fault.Transient, "hiccup")
	for name, tc := range map[string]struct {
		err  error
		want reconcile.Result
		back error
	}{
		"none":                {nil, reconcile.Result{}, nil},
		"user must act":       {fault.New(fault.Invalid, "wrong"), reconcile.Result{}, nil},
		"wrapped":             {fmt.Errorf("creating: %w", fault.New(fault.Invalid, "wrong")), reconcile.Result{}, nil},
		"waiting":             {fault.New(fault.Waiting, "soon"), reconcile.Result{RequeueAfter: 5 * time.Second}, nil},
		"no room":             {fault.New(fault.Exhausted, "full"), reconcile.Result{RequeueAfter: time.Minute}, nil},
		"transient backs off": {transient, reconcile.Result{}, transient},
		"unknown backs off":   {plain, reconcile.Result{}, plain},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := policy.Result(tc.err)
			if got != tc.want || !errors.Is(err, tc.back) || (tc.back == nil) != (err == nil) {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, tc.want, tc.back)
			}
		})
	}
}
