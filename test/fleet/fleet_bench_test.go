// Package fleet measures the controller manager beside a garden that others have
// filled: its memory, its work after a start, and how soon it acts.
//
// `make bench` runs it. It knows the process only from outside.
package fleet_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/procfs"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/gardentest"
)

const (
	// quietSpan is how long nothing may be written and next to nothing computed
	// before the manager counts as quiet; quietShare is that next to nothing, in
	// processor seconds per second.
	quietSpan  = 5 * time.Second
	quietShare = 0.05
	// patience is how long the manager may be busy.
	patience = 10 * time.Minute
	// steady is when garbage of the start is gone.
	steady = 30 * time.Second
	// changes are how many Shoots are changed to see when the manager acts.
	changes = 200
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// BenchmarkManager measures `loam controller-manager` alone: at its first start,
// when all that it keeps has to be written, and at its second.
func BenchmarkManager(b *testing.B) {
	for _, size := range []landscape{{shoots: 1_000, projects: 100, seeds: 20}, {shoots: 10_000, projects: 1_000, seeds: 200}} {
		b.Run(fmt.Sprintf("%dShoots", size.shoots), func(b *testing.B) {
			loam := filepath.Join(b.TempDir(), "loam")
			if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", loam, "../../cmd/loam").CombinedOutput(); err != nil {
				b.Fatalf("building loam: %v\n%s", err, out)
			}
			size.fill(b)
			for b.Loop() {
				first := start(b, loam)
				first.report("first", first.awaitQuiet())
				b.ReportMetric(float64(first.writes()), "writes/first")
				first.stop()

				second := start(b, loam)
				second.report("second", second.awaitQuiet())
				b.ReportMetric(float64(second.writes()), "writes/second")
				time.Sleep(steady)
				b.ReportMetric(second.status().resident, "MiB-steady")
				median, p99 := size.changeShoots(b)
				b.ReportMetric(median*1000, "ms/change-p50")
				b.ReportMetric(p99*1000, "ms/change-p99")
				second.stop()
			}
		})
	}
}

// process is a running controller manager.
type process struct {
	b       *testing.B
	command *exec.Cmd
	proc    procfs.Proc
	metrics string
	began   time.Time
}

func start(b *testing.B, loam string) *process {
	b.Helper()
	p := &process{b: b, metrics: gardentest.FreeAddress(b), began: time.Now()}
	_, port, _ := strings.Cut(p.metrics, ":")
	config := filepath.Join(b.TempDir(), "config.yaml")
	text := fmt.Sprintf(`apiVersion: controllermanager.config.gardener.cloud/v1alpha1
kind: ControllerManagerConfiguration
leaderElection: {leaderElect: false}
# Enough that the first start, which writes all there is, is not held back.
gardenClientConnection: {qps: 1000, burst: 2000}
server:
  healthProbes: {port: -1}
  metrics: {bindAddress: 127.0.0.1, port: %s}
`, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	p.command = exec.Command(loam, "controller-manager", "--config", config)
	p.command.Env = append(os.Environ(), "KUBECONFIG="+gardentest.Start(b).KubeconfigPath())
	log, err := os.Create(filepath.Join(b.TempDir(), "controllers.log"))
	if err != nil {
		b.Fatal(err)
	}
	p.command.Stdout, p.command.Stderr = log, log
	if err := p.command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		p.stop()
		_ = log.Close() // nothing is written any more
		if text, err := os.ReadFile(log.Name()); err == nil && b.Failed() {
			b.Logf("the controllers said last:\n%s", text[max(0, len(text)-4000):])
		}
	})
	if p.proc, err = procfs.NewProc(p.command.Process.Pid); err != nil {
		b.Fatal(err)
	}
	return p
}

func (p *process) stop() {
	if p.command == nil {
		return
	}
	_ = p.command.Process.Kill() // it may have ended already
	_ = p.command.Wait()
	p.command = nil
}

// usage is what a process has used.
type usage struct{ resident, peak, processor float64 }

// status is in MiB and in processor seconds.
func (p *process) status() usage {
	p.b.Helper()
	status, err := p.proc.NewStatus()
	if err != nil {
		p.b.Fatal(err)
	}
	stat, err := p.proc.Stat()
	if err != nil {
		p.b.Fatal(err)
	}
	return usage{float64(status.VmRSS) / (1 << 20), float64(status.VmHWM) / (1 << 20), stat.CPUTime()}
}

// writes is how many requests that change something the manager has sent. Before
// it serves its metrics there were none.
func (p *process) writes() int {
	response, err := http.Get("http://" + p.metrics + "/metrics")
	if err != nil {
		return 0
	}
	defer func() { _ = response.Body.Close() }() // it was read
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bufio.NewReader(response.Body))
	if err != nil {
		p.b.Fatal(err)
	}
	count := 0.0
	for _, metric := range families["rest_client_requests_total"].GetMetric() {
		for _, label := range metric.GetLabel() {
			if label.GetName() == "method" && slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, label.GetValue()) {
				count += metric.GetCounter().GetValue()
			}
		}
	}
	return int(count)
}

// awaitQuiet returns how long after its start the manager had done its work.
func (p *process) awaitQuiet() time.Duration {
	p.b.Helper()
	for time.Since(p.began) < patience {
		since, used, wrote := time.Now(), p.status().processor, p.writes()
		time.Sleep(quietSpan)
		if p.writes() == wrote && p.status().processor-used < quietShare*quietSpan.Seconds() {
			return since.Sub(p.began)
		}
	}
	p.b.Fatalf("the controllers are not quiet after %s", patience)
	return 0
}

func (p *process) report(which string, quiet time.Duration) {
	p.b.Helper()
	used := p.status()
	p.b.ReportMetric(quiet.Seconds(), "s/quiet-"+which)
	p.b.ReportMetric(used.processor, "cpu-s/quiet-"+which)
	p.b.ReportMetric(used.peak, "MiB-peak-"+which)
}

// changeShoots breaks and mends Shoots one after the other and returns how long
// it took until the manager had said so in the Shoot's label, in seconds.
func (l landscape) changeShoots(b *testing.B) (median, p99 float64) {
	b.Helper()
	c := gardentest.ClientFor(b, gardentest.Start(b).RESTConfig())
	var took []float64
	for i := range changes {
		shoot := &gardencorev1beta1.Shoot{}
		key := client.ObjectKey{Namespace: projectNamespace(i % l.projects), Name: "s0"}
		if err := c.Get(b.Context(), key, shoot); err != nil {
			b.Fatal(err)
		}
		base, was := shoot.DeepCopy(), shoot.Labels[statusLabel]
		state := gardencorev1beta1.LastOperationStateFailed
		if shoot.Status.LastOperation.State == state {
			state = gardencorev1beta1.LastOperationStateSucceeded
		}
		shoot.Status.LastOperation.State = state
		changed, err := c.Watch(b.Context(), &gardencorev1beta1.ShootList{}, client.InNamespace(key.Namespace), client.MatchingFields{"metadata.name": key.Name})
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if err := c.Status().Patch(b.Context(), shoot, client.MergeFrom(base)); err != nil {
			b.Fatal(err)
		}
		awaitLabel(b.Context(), changed, was)
		took = append(took, time.Since(began).Seconds())
		changed.Stop()
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100]
}

func awaitLabel(ctx context.Context, changed watch.Interface, was string) {
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-changed.ResultChan():
			if shoot, ok := event.Object.(*gardencorev1beta1.Shoot); ok && shoot.Labels[statusLabel] != was {
				return
			}
		}
	}
}
