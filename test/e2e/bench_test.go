package e2e_test

import (
	"fmt"
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

// BenchmarkClusterCreate measures loam cluster create of one node with the image
// present and the garden up, until the node and CoreDNS are Ready, with the time
// of each step.
func BenchmarkClusterCreate(b *testing.B) {
	i := install(b)
	i.loam("up", "--detach", "--listen", "127.0.0.1:0")
	steps := map[string]float64{}
	b.ResetTimer()
	for n := range b.N {
		name := fmt.Sprintf("bench%d", n)
		out := i.loam("cluster", "create", name)
		b.StopTimer()
		for _, m := range stepLine.FindAllStringSubmatch(out, -1) {
			seconds, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				b.Fatal(err)
			}
			steps[m[1]] += seconds
		}
		i.loam("cluster", "delete", name)
		b.StartTimer()
	}
	for step, total := range steps {
		b.ReportMetric(total/float64(b.N), strings.ReplaceAll(step, " ", "-")+"-s")
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
