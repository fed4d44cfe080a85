package garden_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

// manyShoots is how many the benchmarks with data have.
const manyShoots = 1000

// settled is when a garden has given back the memory of its start.
const settled = 8 * time.Second

// fill creates Shoots, named with a prefix, from several clients.
func fill(tb testing.TB, c client.Client, prefix string, count, clients int) {
	tb.Helper()
	var running sync.WaitGroup
	failures := make(chan error, clients)
	for one := range clients {
		running.Go(func() {
			for i := one; i < count; i += clients {
				if err := c.Create(context.Background(), newShoot("garden-local", fmt.Sprintf("%s-%d", prefix, i))); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	running.Wait()
	close(failures)
	for err := range failures {
		tb.Fatal(err)
	}
}

func benchClient(b *testing.B, config *rest.Config) client.Client {
	b.Helper()
	c, err := client.New(config, client.Options{Scheme: scheme.Client()})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// residentMiB is the memory of a process, the pages of its files included.
func residentMiB(b *testing.B, child *exec.Cmd) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", child.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			kib, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kib) / 1024
		}
	}
	b.Fatal("the process has no VmRSS")
	return 0
}

// BenchmarkReadyEmpty starts a garden on an empty folder: from the start of the
// process until it is bootstrapped.
func BenchmarkReadyEmpty(b *testing.B) {
	for b.Loop() {
		child := startChild(b, b.TempDir())
		b.StopTimer()
		kill(child)
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/start")
}

// BenchmarkReadyWithShoots does so on a folder that holds Shoots.
func BenchmarkReadyWithShoots(b *testing.B) {
	dir := b.TempDir()
	child := startChild(b, dir)
	fill(b, benchClient(b, childConfig(b, dir)), "ready", manyShoots, 10)
	kill(child)
	for b.Loop() {
		child := startChild(b, dir)
		b.StopTimer()
		kill(child)
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/start")
}

// BenchmarkResident weighs a garden with Kubernetes' controllers: empty, after
// the creation of Shoots, and after a restart with them.
func BenchmarkResident(b *testing.B) {
	var empty, filled, restarted float64
	for b.Loop() {
		dir := b.TempDir()
		child := startChild(b, dir)
		time.Sleep(settled)
		empty = residentMiB(b, child)
		fill(b, benchClient(b, childConfig(b, dir)), "resident", manyShoots, 10)
		filled = residentMiB(b, child)
		kill(child)
		child = startChild(b, dir)
		time.Sleep(settled)
		restarted = residentMiB(b, child)
		kill(child)
	}
	b.ReportMetric(empty, "MiB-empty")
	b.ReportMetric(filled, "MiB-filled")
	b.ReportMetric(restarted, "MiB-restarted")
}

// BenchmarkCreate counts Shoots per second by one client and by ten, each of
// which waits for its answer before it sends the next.
func BenchmarkCreate(b *testing.B) {
	for _, clients := range []int{1, 10} {
		b.Run(fmt.Sprint("clients=", clients), func(b *testing.B) {
			c := benchClient(b, outsideAdmin(b))
			fill(b, c, fmt.Sprint("warm-", clients, "-", time.Now().UnixNano()), 100, clients)
			b.ResetTimer()
			fill(b, c, fmt.Sprint("create-", clients, "-", time.Now().UnixNano()), b.N, clients)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
		})
	}
}

// BenchmarkList lists Shoots in protobuf, answer decoded.
func BenchmarkList(b *testing.B) {
	dir := b.TempDir()
	g := start(b, dir)
	defer stop(b, g)
	fill(b, clientOf(b, g), "list", manyShoots, 10)
	config := g.RESTConfig()
	config.ContentType = runtime.ContentTypeProtobuf
	config.GroupVersion = ptr.To(v1beta1.SchemeGroupVersion)
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme.Client()).WithoutConversion()
	c, err := rest.RESTClientFor(config)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		list := &v1beta1.ShootList{}
		if err := c.Get().Resource("shoots").Do(context.Background()).Into(list); err != nil || len(list.Items) != manyShoots {
			b.Fatal(len(list.Items), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/list")
}

// BenchmarkStop ends a garden with open watches.
func BenchmarkStop(b *testing.B) {
	var took time.Duration
	for b.Loop() {
		b.StopTimer()
		g := start(b, b.TempDir())
		watches(b, g)
		b.StartTimer()
		began := time.Now()
		stop(b, g)
		took += time.Since(began)
	}
	b.ReportMetric(took.Seconds()/float64(b.N), "s/stop")
}

func watches(b *testing.B, g *garden.Garden) {
	b.Helper()
	c, err := client.NewWithWatch(g.RESTConfig(), client.Options{Scheme: scheme.Client()})
	if err != nil {
		b.Fatal(err)
	}
	for range 20 {
		if _, err := c.Watch(context.Background(), &v1beta1.ShootList{}); err != nil {
			b.Fatal(err)
		}
	}
}

// outsideAdmin is how an administrator's client sees the shared garden.
func outsideAdmin(tb testing.TB) *rest.Config {
	tb.Helper()
	return childConfig(tb, strings.TrimSuffix(gardentest.Start(tb).KubeconfigPath(), "/kubeconfig"))
}
