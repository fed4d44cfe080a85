package garden

import (
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/cert"
)

// Collector returns what is to be watched of a garden itself: the room of its
// store, the age of its backups, the ends of its certificates. What is not there
// is not reported: the store where objects are in an etcd of others, backups that
// are turned off.
func (g *Garden) Collector() prometheus.Collector {
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("loam_"+name, help, labels, nil)
	}
	return collector{
		garden:      g,
		file:        gauge("store_size_bytes", "Size of the file of the garden's own store."),
		quota:       gauge("store_quota_bytes", "What the file of the garden's own store may have."),
		disk:        gauge("store_disk_free_bytes", "What is left on the disk below the garden's data."),
		backup:      gauge("backup_last_timestamp_seconds", "When the newest backup was begun; 0 while there is none."),
		interval:    gauge("backup_interval_seconds", "How far apart backups are to be."),
		certificate: gauge("certificate_expiration_timestamp_seconds", "When a certificate of the garden ends.", "certificate"),
	}
}

type collector struct {
	garden                                           *Garden
	file, quota, disk, backup, interval, certificate *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.file, c.quota, c.disk, c.backup, c.interval, c.certificate} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	if room := c.garden.keeper.room.Load(); room != nil {
		tell(c.file, float64(room.file))
		tell(c.quota, float64(room.quota))
		tell(c.disk, float64(room.disk))
	}
	if c.garden.store != nil {
		switch newest, interval, err := c.garden.config.Backups.Latest(c.garden.config.DataDir); {
		case err != nil:
			out <- prometheus.NewInvalidMetric(c.backup, err)
		case interval > 0:
			tell(c.backup, seconds(newest))
			tell(c.interval, interval.Seconds())
		}
	}
	for name, path := range map[string]string{"authority": c.garden.files.CACert, "server": c.garden.files.ServerCert, "administrator": c.garden.files.AdminCert} {
		end, err := endOf(path)
		if err != nil {
			out <- prometheus.NewInvalidMetric(c.certificate, err)
			continue
		}
		tell(c.certificate, seconds(end), name)
	}
}

// seconds is 0 for the zero time.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

// endOf reads when the first certificate of a file ends.
func endOf(path string) (time.Time, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading a certificate: %w", err)
	}
	var certificates []*x509.Certificate
	if certificates, err = cert.ParseCertsPEM(text); err != nil {
		return time.Time{}, fmt.Errorf("reading certificate %q: %w", path, err)
	}
	return certificates[0].NotAfter, nil
}
