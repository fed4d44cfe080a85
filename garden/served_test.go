package garden_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	kubev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/aggregated/aggregatedtest"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

// server serves the kinds: the garden of this test binary, or a server beside it
// that has objects of its own and leaves Kubernetes' kinds to the garden.
type server struct {
	// config has all rights; nil is the garden's.
	config *rest.Config
	// apart leaves Kubernetes' kinds to the garden of this test binary.
	apart bool
}

// newAggregated runs a server beside the garden and puts there what every garden
// has from its first start.
func newAggregated(t *testing.T) server {
	t.Helper()
	replica := aggregatedtest.Run(t, newNamespace(t, "apart-"+rand.String(5)).Name, gardentest.Etcd(t))
	replica.Furnish(t)
	return server{replica.Config, true}
}

func (s server) rest(tb testing.TB) *rest.Config {
	tb.Helper()
	if s.config == nil {
		return gardentest.Start(tb).RESTConfig()
	}
	return rest.CopyConfig(s.config)
}

func (s server) client(tb testing.TB) client.Client {
	tb.Helper()
	c, err := client.New(s.rest(tb), client.Options{Scheme: scheme.Client()})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// ensure creates objects that are not there yet, each where its kind is served.
func (s server) ensure(tb testing.TB, objects ...client.Object) {
	tb.Helper()
	for _, object := range objects {
		c := s.client(tb)
		kind, err := c.GroupVersionKindFor(object)
		if err != nil {
			tb.Fatal(err)
		}
		if s.apart && !strings.HasSuffix(kind.Group, ".gardener.cloud") {
			c = gardentest.Client(tb)
		}
		if err := c.Create(context.Background(), object); err != nil && !apierrors.IsAlreadyExists(err) {
			tb.Fatalf("creating %s %q: %v", kind.Kind, object.GetName(), err)
		}
	}
}

// namespace makes one that belongs to a project of the server.
func (s server) namespace(tb testing.TB) string {
	tb.Helper()
	project := "t" + rand.String(6)
	name := "garden-" + project
	s.ensure(tb,
		&kubev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}},
		&v1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: project}, Spec: v1beta1.ProjectSpec{Namespace: &name}})
	return name
}

// samples are those of the server.
func (s server) samples() []sample {
	all := samples()
	for i := range all {
		all[i].server = s
	}
	return all
}

// TestAggregatedServer wants of the server beside another Kubernetes what is
// wanted of a garden: it is the same storage behind another front.
func TestAggregatedServer(t *testing.T) {
	s := newAggregated(t)
	for name, test := range map[string]func(*testing.T, server){
		"tables":       tables,
		"status":       statusIsolation,
		"subresources": subresources,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}
