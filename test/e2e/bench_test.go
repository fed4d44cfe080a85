package e2e_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

// stepLine is how loam cluster create reports a step.
var stepLine = regexp.MustCompile(`✓ (.+) took ([0-9.]+)s`)

// BenchmarkCluster measures a cluster's life with the image present and the garden
// up: creation until all nodes and CoreDNS are Ready, with the time of each step,
// stop, start until the same, and delete.
func BenchmarkCluster(b *testing.B) {
	i := install(b)
	i.loam("up", "--detach", "--listen", "127.0.0.1:0")
	for name, flags := range map[string][]string{"one": nil, "three-and-three": {"--control-planes", "3", "--workers", "3"}} {
		b.Run(name, func(b *testing.B) {
			seconds := map[string]float64{}
			measure := func(what string, args ...string) string {
				begin := time.Now()
				out := i.loam(append([]string{"cluster", what, name}, args...)...)
				seconds[what] += time.Since(begin).Seconds()
				return out
			}
			for range b.N {
				for _, m := range stepLine.FindAllStringSubmatch(measure("create", flags...), -1) {
					step, err := strconv.ParseFloat(m[2], 64)
					if err != nil {
						b.Fatal(err)
					}
					seconds[strings.ReplaceAll(m[1], " ", "-")] += step
				}
				measure("stop")
				measure("start")
				measure("delete")
			}
			b.ReportMetric(0, "ns/op") // the sum says nothing
			for what, total := range seconds {
				b.ReportMetric(total/float64(b.N), what+"-s")
			}
		})
	}
}

// BenchmarkUp measures loam up on an empty folder until the garden is ready, and
// its memory with controllers and agent once it has settled.
func BenchmarkUp(b *testing.B) {
	i := install(b)
	var resident, private float64
	for b.Loop() {
		i.loam("up", "--detach", "--listen", "127.0.0.1:0")
		b.StopTimer()
		time.Sleep(5 * time.Second) // until caches are filled and start-up garbage is gone
		process, err := procfs.NewProc(i.pid())
		if err != nil {
			b.Fatal(err)
		}
		status, err := process.NewStatus()
		if err != nil {
			b.Fatal(err)
		}
		resident, private = float64(status.VmRSS)/(1<<20), float64(status.RssAnon)/(1<<20)
		i.loam("down")
		if err := os.RemoveAll(i.data); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(resident, "MiB-resident")
	b.ReportMetric(private, "MiB-anonymous")
}
