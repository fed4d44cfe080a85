package app

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestBridge wants the controllers' metrics of every type, and nothing else, in
// another registry.
func TestBridge(t *testing.T) {
	from, to := prometheus.NewRegistry(), prometheus.NewRegistry()
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loam_failures_total", Help: "Failures."}, []string{"controller"})
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "workqueue_queue_duration_seconds", Help: "Waited.", Buckets: []float64{1}})
	from.MustRegister(failures, took, prometheus.NewGauge(prometheus.GaugeOpts{Name: "go_threads", Help: "Threads."}))
	failures.WithLabelValues("one").Add(2)
	took.Observe(3)
	// Another part of the process counts its queues by another label, and says
	// something else about it.
	queues := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "workqueue_queue_duration_seconds", Help: "[BETA] Waited.", Buckets: []float64{1}}, []string{"name"})
	to.MustRegister(queues)
	queues.WithLabelValues("other").Observe(0)
	b, err := newBridge(from, to)
	if err != nil {
		t.Fatal(err)
	}
	to.MustRegister(b)
	want := `# HELP loam_controllers_running 1 where this process runs the fleet's controllers.
# TYPE loam_controllers_running gauge
loam_controllers_running 1
# HELP loam_failures_total Failures.
# TYPE loam_failures_total counter
loam_failures_total{controller="one"} 2
# HELP workqueue_queue_duration_seconds [BETA] Waited.
# TYPE workqueue_queue_duration_seconds histogram
workqueue_queue_duration_seconds_bucket{name="other",le="1"} 1
workqueue_queue_duration_seconds_bucket{name="other",le="+Inf"} 1
workqueue_queue_duration_seconds_sum{name="other"} 0
workqueue_queue_duration_seconds_count{name="other"} 1
workqueue_queue_duration_seconds_bucket{le="1"} 0
workqueue_queue_duration_seconds_bucket{le="+Inf"} 1
workqueue_queue_duration_seconds_sum 3
workqueue_queue_duration_seconds_count 1
`
	if err := testutil.GatherAndCompare(to, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if !to.Unregister(b) {
		t.Error("it cannot be taken out again")
	}
}
