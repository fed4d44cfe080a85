package app

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	componentbaseconfigv1alpha1 "k8s.io/component-base/config/v1alpha1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/fault"
)

// TestFleetOptions wants what a configuration says to arrive at the manager, and
// the times that it does not say.
func TestFleetOptions(t *testing.T) {
	c := &controllermanagerconfigv1alpha1.ControllerManagerConfiguration{}
	c.Controllers.CacheSyncTimeout = &metav1.Duration{Duration: 7 * time.Second}
	c.LeaderElection = &componentbaseconfigv1alpha1.LeaderElectionConfiguration{RetryPeriod: metav1.Duration{Duration: 3 * time.Second}}
	c.Server.Metrics = &controllermanagerconfigv1alpha1.Server{BindAddress: "127.0.0.1", Port: 1234}
	c.Server.HealthProbes = &controllermanagerconfigv1alpha1.Server{Port: -1}
	controllermanagerconfigv1alpha1.SetObjectDefaults_ControllerManagerConfiguration(c)
	o := fleetOptions(c, logr.Discard())
	if o.Controller.ReconciliationTimeout != 3*time.Minute || o.Controller.CacheSyncTimeout != 7*time.Second || *o.GracefulShutdownTimeout != 5*time.Second {
		t.Errorf("times: %+v, stop %s", o.Controller, *o.GracefulShutdownTimeout)
	}
	if o.HealthProbeBindAddress != "0" || o.Metrics.BindAddress != "127.0.0.1:1234" || len(o.Metrics.ExtraHandlers) > 0 {
		t.Errorf("servers: %q, %+v", o.HealthProbeBindAddress, o.Metrics)
	}
	if !o.LeaderElection || !o.LeaderElectionReleaseOnCancel || o.LeaderElectionNamespace != "garden" || o.LeaderElectionID != "gardener-controller-manager-leader-election" ||
		*o.LeaseDuration != 15*time.Second || *o.RenewDeadline != 10*time.Second || *o.RetryPeriod != 3*time.Second {
		t.Errorf("election: %+v", o)
	}
	c.LeaderElection.LeaderElect = ptr.To(false)
	if fleetOptions(c, logr.Discard()).LeaderElection {
		t.Error("a leader is elected")
	}
	if limit := managerOptions(logr.Discard()).Controller.ReconciliationTimeout; limit != 3*time.Minute {
		t.Errorf("in a garden one look may take %s", limit)
	}
}

// TestCheckServer refuses servers that are too old, or do not say how old they are.
func TestCheckServer(t *testing.T) {
	for version, want := range map[string]string{
		"v1.36.3": "", "v1.32.0": "", "v1.33.1-eks-12": "",
		"v1.31.9": "the controllers need 1.32.0 or newer", "v0.0.0-master+$Format:%H$": "the controllers need 1.32.0 or newer", "": "cannot be read",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"major":"1","minor":"0","gitVersion":%q}`, version)
		}))
		err := checkServer(&rest.Config{Host: server.URL})
		server.Close()
		if want == "" && err != nil || want != "" && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want)) {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

// TestProfiling serves profiles where they are asked for, and nowhere else.
func TestProfiling(t *testing.T) {
	for _, off := range []*componentbaseconfigv1alpha1.DebuggingConfiguration{nil, {}, {EnableProfiling: ptr.To(false), EnableContentionProfiling: ptr.To(true)}} {
		if handlers := profiling(off); handlers != nil {
			t.Errorf("%+v: %v", off, handlers)
		}
	}
	answer := httptest.NewRecorder()
	profiling(&componentbaseconfigv1alpha1.DebuggingConfiguration{EnableProfiling: ptr.To(true)})["/debug/pprof/"].ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/debug/pprof/goroutine?debug=1", nil))
	if answer.Code != http.StatusOK || answer.Body.Len() == 0 {
		t.Errorf("%d: %s", answer.Code, answer.Body)
	}
}

// TestTolerant bears a failure for a time, counted from the last success.
func TestTolerant(t *testing.T) {
	clock, problem := clocktesting.NewFakeClock(time.Now()), fault.New(fault.Waiting, "not complete")
	var now error
	check := tolerant(func(*http.Request) error { return now }, time.Minute, clock)
	for _, step := range []struct {
		after time.Duration
		now   error
		fails bool
	}{
		{0, problem, false},
		{time.Minute, problem, false},
		{time.Second, problem, true},
		{0, nil, false},
		{time.Hour, nil, false},
		{time.Minute, problem, false},
		{time.Second, problem, true},
	} {
		clock.Step(step.after)
		if now = step.now; (check(nil) != nil) != step.fails {
			t.Errorf("after %s: %v", step.after, check(nil))
		}
	}
}
