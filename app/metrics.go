package app

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics/legacyregistry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/loam-cloud/loam/controllers/state"
	"github.com/loam-cloud/loam/garden"
)

// countStates registers the numbers of objects by state with the metrics of the
// controllers. The function that it returns takes them out again: in tests
// several managers run in one process, one after the other.
func countStates(reader client.Reader) (remove func(), err error) {
	collector := state.NewCollector(reader)
	if err := metrics.Registry.Register(collector); err != nil {
		return nil, fmt.Errorf("registering the fleet's metrics: %w", err)
	}
	return func() { metrics.Registry.Unregister(collector) }, nil
}

// isShared tells which metrics of controllers a garden shows beside its own. Go's
// and the process's are in both.
func isShared(name string) bool {
	return strings.HasPrefix(name, "controller_runtime_") || strings.HasPrefix(name, "workqueue_") || strings.HasPrefix(name, "loam_")
}

// bridge shows the controllers' metrics where the garden shows its own, in the
// one process that runs both.
type bridge struct {
	from    prometheus.Gatherer
	running *prometheus.Desc
	// helps are the texts that the other side has for metrics of the same name,
	// such as those of queues: a scrape whose texts differ is refused.
	helps map[string]string
}

// newBridge shows what from has beside what there is already.
func newBridge(from, there prometheus.Gatherer) (bridge, error) {
	families, err := there.Gather()
	if err != nil {
		return bridge{}, fmt.Errorf("reading the garden's metrics: %w", err)
	}
	helps := map[string]string{}
	for _, family := range families {
		helps[family.GetName()] = family.GetHelp()
	}
	return bridge{from, prometheus.NewDesc("loam_controllers_running", "1 where this process runs the fleet's controllers.", nil, nil), helps}, nil
}

// Describe implements prometheus.Collector. What else there is depends on which
// controllers run.
func (b bridge) Describe(out chan<- *prometheus.Desc) { out <- b.running }

// Collect implements prometheus.Collector.
func (b bridge) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(b.running, prometheus.GaugeValue, 1)
	families, err := b.from.Gather()
	if err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
	}
	for _, family := range families {
		if !isShared(family.GetName()) {
			continue
		}
		help, there := b.helps[family.GetName()]
		if !there {
			help = family.GetHelp()
		}
		for _, metric := range family.GetMetric() {
			out <- bridged{family.GetName(), help, metric}
		}
	}
}

// bridged is a metric that was gathered elsewhere.
type bridged struct {
	name, help string
	metric     *dto.Metric
}

// Desc implements prometheus.Metric.
func (b bridged) Desc() *prometheus.Desc {
	var names []string
	for _, label := range b.metric.GetLabel() {
		names = append(names, label.GetName())
	}
	return prometheus.NewDesc(b.name, b.help, names, nil)
}

// Write implements prometheus.Metric.
func (b bridged) Write(out *dto.Metric) error {
	out.Label, out.Gauge, out.Counter = b.metric.Label, b.metric.Gauge, b.metric.Counter
	out.Summary, out.Untyped, out.Histogram = b.metric.Summary, b.metric.Untyped, b.metric.Histogram
	return nil
}

// showMetrics makes the garden's /metrics show the controllers' too, with the
// numbers of objects by state.
func showMetrics(reader client.Reader) (remove func(), err error) {
	forget, err := countStates(reader)
	if err != nil {
		return nil, err
	}
	b, err := newBridge(metrics.Registry, legacyregistry.DefaultGatherer)
	if err != nil {
		forget()
		return nil, err
	}
	if err := legacyregistry.Registerer().Register(b); err != nil {
		forget()
		return nil, fmt.Errorf("registering the controllers' metrics: %w", err)
	}
	return func() {
		forget()
		legacyregistry.Registerer().Unregister(b)
	}, nil
}

// showGarden makes the garden's /metrics show the garden itself, beside what is
// asked of it.
func showGarden(g *garden.Garden) (remove func(), err error) {
	collector := g.Collector()
	if err := legacyregistry.Registerer().Register(collector); err != nil {
		return nil, fmt.Errorf("registering the garden's metrics: %w", err)
	}
	return func() { legacyregistry.Registerer().Unregister(collector) }, nil
}
