package garden_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	kubev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/scheme"
)

// A large landscape: what the targets of docs/benchmarks.md are meant for.
const (
	landscapeShoots   = 10_000
	landscapeSeeds    = 200
	landscapeProjects = 2_000
	landscapeWatchers = 100
	// shootBytes is what a Shoot with its status has in protobuf.
	shootBytes = 6_500
	// settledAll is when a garden has given back what many writes have left.
	settledAll = 75 * time.Second
)

// landscape is a garden of its own, in a process of its own.
type landscape struct {
	b      *testing.B
	config *rest.Config
	client client.Client
	// clients are those that work at once.
	clients [10]client.Client
	raw     rest.Interface
}

func newLandscape(b *testing.B, dir string) *landscape {
	b.Helper()
	l := &landscape{b: b, config: childConfig(b, dir)}
	// As controllers of Go's types speak.
	l.config.ContentType = runtime.ContentTypeProtobuf
	l.client = benchClient(b, l.config)
	for i := range l.clients {
		own := rest.CopyConfig(l.config)
		// Those with a dialer of their own do not share a connection.
		own.Dial = (&net.Dialer{}).DialContext
		l.clients[i] = benchClient(b, own)
	}
	config := rest.CopyConfig(l.config)
	config.GroupVersion, config.APIPath = ptr.To(v1beta1.SchemeGroupVersion), "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme.Client()).WithoutConversion()
	var err error
	if l.raw, err = rest.RESTClientFor(config); err != nil {
		b.Fatal(err)
	}
	return l
}

// each calls f for 0 to count-1 from ten clients at once, each with a connection
// of its own.
func (l *landscape) each(count int, f func(c client.Client, i int) error) {
	l.b.Helper()
	var running sync.WaitGroup
	failures := make(chan error, len(l.clients))
	for one, c := range l.clients {
		running.Go(func() {
			for i := one; i < count; i += len(l.clients) {
				if err := f(c, i); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	running.Wait()
	close(failures)
	for err := range failures {
		l.b.Fatal(err)
	}
}

func projectName(i int) string { return fmt.Sprintf("p%04d", i) }
func seedName(i int) string    { return fmt.Sprintf("seed-%03d", i) }

func (l *landscape) fill() {
	ctx := context.Background()
	l.each(landscapeSeeds, func(c client.Client, i int) error { return c.Create(ctx, bootstrap.LocalSeed(seedName(i), "local")) })
	l.each(landscapeProjects, func(c client.Client, i int) error {
		namespace := "garden-" + projectName(i)
		labels := map[string]string{"gardener.cloud/role": "project", "project.gardener.cloud/name": projectName(i)}
		if err := c.Create(ctx, &kubev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: labels}}); err != nil {
			return err
		}
		return c.Create(ctx, &v1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: projectName(i)}, Spec: v1beta1.ProjectSpec{Namespace: &namespace}})
	})
	l.each(landscapeShoots, func(c client.Client, i int) error {
		shoot := newShoot("garden-"+projectName(i%landscapeProjects), fmt.Sprintf("s%d", i/landscapeProjects))
		shoot.Spec.SeedName = ptr.To(seedName(i % landscapeSeeds))
		shoot.Labels = map[string]string{"tier": []string{"gold", "silver"}[i%2]}
		if err := c.Create(ctx, shoot); err != nil {
			return err
		}
		shoot.Status = realStatus(shoot)
		return c.Status().Update(ctx, shoot)
	})
}

// realStatus is as long as a status of a real cluster.
func realStatus(shoot *v1beta1.Shoot) v1beta1.ShootStatus {
	now := metav1.Now()
	status := v1beta1.ShootStatus{
		SeedName: shoot.Spec.SeedName, TechnicalID: "shoot--" + shoot.Namespace + "--" + shoot.Name, UID: shoot.UID,
		LastOperation: &v1beta1.LastOperation{Type: v1beta1.LastOperationTypeReconcile, State: v1beta1.LastOperationStateSucceeded, Progress: 100, LastUpdateTime: now, Description: "Shoot cluster has been successfully reconciled."},
	}
	for _, kind := range []v1beta1.ConditionType{v1beta1.ShootAPIServerAvailable, v1beta1.ShootControlPlaneHealthy, v1beta1.ShootEveryNodeReady, v1beta1.ShootSystemComponentsHealthy} {
		status.Conditions = append(status.Conditions, v1beta1.Condition{
			Type: kind, Status: v1beta1.ConditionTrue, LastTransitionTime: now, LastUpdateTime: now, Reason: "AllFine", Message: "All is as it should be.",
		})
	}
	have := shoot.DeepCopy()
	have.Status = status
	if missing := shootBytes - have.Size(); missing > 0 {
		status.Conditions[0].Message = strings.Repeat("A real message is about as long as this one. ", missing/45)
	}
	return status
}

// seconds returns the median of some calls.
func (l *landscape) seconds(calls int, f func() error) (median, p99 float64) {
	l.b.Helper()
	var took []float64
	for range calls {
		began := time.Now()
		if err := f(); err != nil {
			l.b.Fatal(err)
		}
		took = append(took, time.Since(began).Seconds())
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100]
}

func (l *landscape) list(accept, namespace, labels, fields string) func() error {
	return func() error {
		request := l.raw.Get().Resource("shoots").SetHeader("Accept", accept)
		if namespace != "" {
			request = request.Namespace(namespace)
		}
		if labels != "" {
			request = request.Param("labelSelector", labels)
		}
		if fields != "" {
			request = request.Param("fieldSelector", fields)
		}
		body, err := request.Stream(context.Background())
		if err != nil {
			return err
		}
		defer body.Close()
		_, err = io.Copy(io.Discard, body)
		return err
	}
}

// statusUpdates counts updates per second by ten clients: of objects that they
// hold, as controllers do, and, with read, of such that they read before each.
func (l *landscape) statusUpdates(count int, read bool) float64 {
	ctx := context.Background()
	held := make([]*v1beta1.Shoot, count)
	get := func(c client.Client, i int) error {
		held[i] = &v1beta1.Shoot{}
		return c.Get(ctx, client.ObjectKey{Namespace: "garden-" + projectName(i), Name: "s0"}, held[i])
	}
	if !read {
		l.each(count, get)
	}
	began := time.Now()
	l.each(count, func(c client.Client, i int) error {
		if read {
			if err := get(c, i); err != nil {
				return err
			}
		}
		last := held[i].Status.LastOperation
		last.LastUpdateTime = metav1.NewTime(last.LastUpdateTime.Add(time.Second))
		return c.Status().Update(ctx, held[i])
	})
	return float64(count) / time.Since(began).Seconds()
}

// watchLatency is how long after a write was begun each of many watchers has
// seen it.
func (l *landscape) watchLatency(changes int) (median, p99 float64) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watching, err := client.NewWithWatch(l.config, client.Options{Scheme: scheme.Client()})
	if err != nil {
		l.b.Fatal(err)
	}
	key := client.ObjectKey{Namespace: "garden-" + projectName(7), Name: "s0"}
	seen := make(chan time.Time, landscapeWatchers*changes)
	for range landscapeWatchers {
		watch, err := watching.Watch(ctx, &v1beta1.ShootList{}, client.InNamespace(key.Namespace))
		if err != nil {
			l.b.Fatal(err)
		}
		go func() {
			for event := range watch.ResultChan() {
				if shoot, ok := event.Object.(*v1beta1.Shoot); ok && shoot.Name == key.Name && shoot.Labels["change"] != "" {
					seen <- time.Now()
				}
			}
		}()
	}
	var took []float64
	for change := range changes {
		shoot := &v1beta1.Shoot{}
		if err := l.client.Get(ctx, key, shoot); err != nil {
			l.b.Fatal(err)
		}
		shoot.Labels["change"] = fmt.Sprint(change + 1)
		began := time.Now()
		if err := l.client.Update(ctx, shoot); err != nil {
			l.b.Fatal(err)
		}
		for range landscapeWatchers {
			took = append(took, (<-seen).Sub(began).Seconds())
		}
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100]
}

// BenchmarkLandscape measures a garden with 10,000 Shoots, 200 Seeds and 2,000
// Projects.
func BenchmarkLandscape(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		child := startChild(b, dir)
		l := newLandscape(b, dir)
		began := time.Now()
		l.fill()
		b.ReportMetric(time.Since(began).Seconds(), "s/fill")

		protobuf, _ := l.seconds(7, l.list(runtime.ContentTypeProtobuf, "", "", ""))
		b.ReportMetric(protobuf*1000, "ms/list-protobuf")
		json, _ := l.seconds(5, l.list(runtime.ContentTypeJSON, "", "", ""))
		b.ReportMetric(json*1000, "ms/list-json")
		bySeed, _ := l.seconds(100, l.list(runtime.ContentTypeProtobuf, "", "", "spec.seedName="+seedName(3)))
		b.ReportMetric(bySeed*1000, "ms/list-by-seed")
		_, labelled := l.seconds(500, l.list(runtime.ContentTypeProtobuf, "garden-"+projectName(5), "tier=silver", ""))
		b.ReportMetric(labelled*1000, "ms/list-labelled-p99")
		b.ReportMetric(l.statusUpdates(landscapeProjects, false), "status-updates/s")
		b.ReportMetric(l.statusUpdates(landscapeProjects, true), "reads-and-status-updates/s")
		median, p99 := l.watchLatency(50)
		b.ReportMetric(median*1000, "ms/watch-p50")
		b.ReportMetric(p99*1000, "ms/watch-p99")
		time.Sleep(settledAll)
		b.ReportMetric(residentMiB(b, child), "MiB-idle")
		kill(child)

		began = time.Now()
		child = startChild(b, dir)
		b.ReportMetric(time.Since(began).Seconds(), "s/restart")
		time.Sleep(settledAll)
		b.ReportMetric(residentMiB(b, child), "MiB-restarted")
		kill(child)
	}
}
