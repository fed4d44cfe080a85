package garden_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// TestCollector wants numbers that fit what a new garden is.
func TestCollector(t *testing.T) {
	g := gardentest.Start(t)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(g.Collector())
	now, day := float64(time.Now().Unix()), 86400.0
	within := map[string][2]float64{
		"loam_store_size_bytes":              {1 << 14, 1 << 30},
		"loam_store_quota_bytes":             {8 << 30, 8 << 30},
		"loam_store_disk_free_bytes":         {1, 1 << 60},
		"loam_backup_last_timestamp_seconds": {0, now + day},
		"loam_backup_interval_seconds":       {day, day},
		"authority":                          {now + 3600*day, now + 3660*day},
		"server":                             {now + 300*day, now + 366*day},
		"administrator":                      {now + 300*day, now + 366*day},
	}
	// The first look at the store may be yet to come.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]float64{}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				name := family.GetName()
				for _, label := range metric.GetLabel() {
					name = label.GetValue()
				}
				found[name] = metric.GetGauge().GetValue()
			}
		}
		if len(found) < len(within) && time.Now().Before(deadline) {
			continue
		}
		for name, bounds := range within {
			if value, there := found[name]; !there || value < bounds[0] || value > bounds[1] {
				t.Errorf("%s is %v (%t), want it within %v", name, value, there, bounds)
			}
		}
		return
	}
}
