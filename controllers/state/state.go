// Package state counts what the fleet is made of by state, for monitoring:
// clusters by health, seeds by condition, projects by phase, stale projects.
//
// app registers its collector with the metrics of the process that runs the
// controllers. It must not name single objects: a metric has no room for them.
package state

import (
	"context"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	gardenercoreconstants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// patience bounds a look at the cache, which answers at once or is not filled yet.
const patience = time.Second

// unknown is the state of an object that no controller has looked at yet.
const unknown = "unknown"

// Collector implements prometheus.Collector. It reads from Reader, a cache, each
// time that it is asked.
type Collector struct {
	reader                         client.Reader
	shoots, seeds, projects, stale *prometheus.Desc
}

// NewCollector returns a collector of what reader knows.
func NewCollector(reader client.Reader) *Collector {
	return &Collector{
		reader:   reader,
		shoots:   prometheus.NewDesc("loam_shoots", "Clusters by the status label that their conditions and last operation give.", []string{"status"}, nil),
		seeds:    prometheus.NewDesc("loam_seed_conditions", "Seeds by condition and its status.", []string{"condition", "status"}, nil),
		projects: prometheus.NewDesc("loam_projects", "Projects by phase.", []string{"phase"}, nil),
		stale:    prometheus.NewDesc("loam_projects_stale", "Projects that nobody has used for longer than allowed.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.shoots, c.seeds, c.projects, c.stale} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector. What cannot be read is left out, as
// while the cache is filled: an invalid metric would cost the scrape all others.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.collectShoots(ctx, metrics)
	c.collectSeeds(ctx, metrics)
	c.collectProjects(ctx, metrics)
}

func (c *Collector) collectShoots(ctx context.Context, metrics chan<- prometheus.Metric) {
	list := &gardencorev1beta1.ShootList{}
	if err := c.reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	count := map[string]int{}
	for i := range list.Items {
		count[orUnknown(list.Items[i].Labels[gardenercoreconstants.ShootStatus])]++
	}
	for status, n := range count {
		metrics <- prometheus.MustNewConstMetric(c.shoots, prometheus.GaugeValue, float64(n), status)
	}
}

func (c *Collector) collectSeeds(ctx context.Context, metrics chan<- prometheus.Metric) {
	list := &gardencorev1beta1.SeedList{}
	if err := c.reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	count := map[[2]string]int{}
	for i := range list.Items {
		for _, condition := range list.Items[i].Status.Conditions {
			count[[2]string{string(condition.Type), string(condition.Status)}]++
		}
	}
	for key, n := range count {
		metrics <- prometheus.MustNewConstMetric(c.seeds, prometheus.GaugeValue, float64(n), key[0], key[1])
	}
}

func (c *Collector) collectProjects(ctx context.Context, metrics chan<- prometheus.Metric) {
	list := &gardencorev1beta1.ProjectList{}
	if err := c.reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	count, stale := map[string]int{}, 0
	for i := range list.Items {
		count[orUnknown(string(list.Items[i].Status.Phase))]++
		if list.Items[i].Status.StaleSinceTimestamp != nil {
			stale++
		}
	}
	for phase, n := range count {
		metrics <- prometheus.MustNewConstMetric(c.projects, prometheus.GaugeValue, float64(n), phase)
	}
	metrics <- prometheus.MustNewConstMetric(c.stale, prometheus.GaugeValue, float64(stale))
}

func orUnknown(state string) string {
	if state == "" {
		return unknown
	}
	return state
}
