package admin

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
)

// private is the label of what is of no upstream.
const private = "private"

// Metrics are the cache's, for Prometheus.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	sent     *prometheus.CounterVec
}

// NewMetrics makes the metrics of a store and its upstreams.
func NewMetrics(s *store.Store, upstreams func() []Upstream) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "loam_registry_requests_total", Help: "Requests of clients, by upstream, what they asked for, and the status of the answer.",
		}, []string{"upstream", "operation", "code"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "loam_registry_sent_bytes_total", Help: "Bytes of bodies sent to clients, by upstream.",
		}, []string{"upstream"}),
	}
	m.registry.MustRegister(m.requests, m.sent, &state{s, upstreams}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Watch counts an answer.
func (m *Metrics) Watch(e server.Event) {
	upstream := e.Upstream
	if upstream == "" {
		upstream = private
	}
	m.requests.WithLabelValues(upstream, e.Operation, strconv.Itoa(e.Status)).Inc()
	m.sent.WithLabelValues(upstream).Add(float64(e.Bytes))
}

// state reads what the store and the upstreams' caches count themselves.
type state struct {
	store     *store.Store
	upstreams func() []Upstream
}

func blobsMetric() *prometheus.Desc {
	return prometheus.NewDesc("loam_registry_blobs", "Blobs that are stored, manifests among them.", nil, nil)
}

func bytesMetric() *prometheus.Desc {
	return prometheus.NewDesc("loam_registry_blob_bytes", "Size of the blobs that are stored.", nil, nil)
}

// upstreamMetric is a number of each upstream.
type upstreamMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(Upstream) float64
}

func upstreamMetrics() []upstreamMetric {
	counter := func(name, help string, value func(Upstream) int64) upstreamMetric {
		return upstreamMetric{prometheus.NewDesc("loam_registry_"+name+"_total", help, []string{"upstream"}, nil), prometheus.CounterValue, func(u Upstream) float64 { return float64(value(u)) }}
	}
	return []upstreamMetric{
		{prometheus.NewDesc("loam_registry_upstream_up", "Whether the upstream answered when it was last asked.", []string{"upstream"}, nil), prometheus.GaugeValue, func(u Upstream) float64 {
			if u.Up {
				return 1
			}
			return 0
		}},
		{prometheus.NewDesc("loam_registry_downloads", "Downloads that run.", []string{"upstream"}, nil), prometheus.GaugeValue, func(u Upstream) float64 { return float64(u.Running) }},
		counter("hits", "Pulls that were answered from the folder.", func(u Upstream) int64 { return u.Hits }),
		counter("misses", "Pulls that needed the upstream.", func(u Upstream) int64 { return u.Misses }),
		counter("joined", "Pulls that shared a download which ran already.", func(u Upstream) int64 { return u.Joined }),
		counter("stale", "Tags that were served though the upstream did not confirm them.", func(u Upstream) int64 { return u.Stale }),
		counter("resumed", "Downloads that took up what an earlier one had left.", func(u Upstream) int64 { return u.Resumed }),
		counter("wrong", "Downloads whose bytes were not what their digest says.", func(u Upstream) int64 { return u.Wrong }),
		counter("upstream_requests", "Requests to the upstream.", func(u Upstream) int64 { return u.Requests }),
		counter("upstream_failures", "Requests to the upstream that failed.", func(u Upstream) int64 { return u.Failures }),
		counter("received_bytes", "Bytes of bodies from the upstream.", func(u Upstream) int64 { return u.Bytes }),
	}
}

// Describe implements prometheus.Collector.
func (s *state) Describe(to chan<- *prometheus.Desc) {
	to <- blobsMetric()
	to <- bytesMetric()
	for _, m := range upstreamMetrics() {
		to <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (s *state) Collect(to chan<- prometheus.Metric) {
	totals, err := s.store.Totals()
	if err != nil {
		to <- prometheus.NewInvalidMetric(blobsMetric(), err)
		return
	}
	to <- prometheus.MustNewConstMetric(blobsMetric(), prometheus.GaugeValue, float64(totals.Blobs))
	to <- prometheus.MustNewConstMetric(bytesMetric(), prometheus.GaugeValue, float64(totals.Bytes))
	for _, u := range s.upstreams() {
		for _, m := range upstreamMetrics() {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(u), u.Name)
		}
	}
}
