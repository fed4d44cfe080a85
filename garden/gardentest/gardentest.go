// Package gardentest gives the tests of any package a real garden, one per
// package: a start takes seconds.
//
// Tests call it; nothing else may. It must not know what they test.
package gardentest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/scheme"
)

const (
	startTimeout = 2 * time.Minute
	stopTimeout  = 30 * time.Second
)

// Versions are the Kubernetes versions that the garden of a test offers.
func Versions() []string { return []string{"v1.36.3", "v1.35.4"} }

// Config is that of a garden for tests on dataDir: a free port on loopback, and
// nothing logged but errors, through print.
func Config(dataDir string, print func(args ...any)) garden.Config {
	return garden.Config{
		DataDir:            dataDir,
		Listen:             "127.0.0.1:0",
		KubernetesVersions: Versions(),
		Logger: funcr.New(func(prefix, args string) {
			// Information goes the same way; only errors have this key.
			if strings.Contains(args, `"error"=`) {
				print(prefix, args)
			}
		}, funcr.Options{}),
	}
}

// shared is the garden of a test binary.
type shared struct {
	once   sync.Once
	garden *garden.Garden
	dir    string
	err    error
}

// one is the only state of this package: test binaries are single packages, and
// a second garden in one would double the time of every run.
var one shared

// Start returns the garden of this test binary, started by the first caller. It
// is shared: a test works in a Namespace of its own. Without Main it runs until
// the binary ends.
func Start(tb testing.TB) *garden.Garden {
	tb.Helper()
	one.once.Do(func() {
		if one.dir, one.err = os.MkdirTemp("", "gardentest-"); one.err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		one.garden, one.err = garden.Start(ctx, Config(one.dir, func(args ...any) { fmt.Fprintln(os.Stderr, args...) }))
	})
	if one.err != nil {
		tb.Fatalf("starting the garden for tests: %v", one.err)
	}
	return one.garden
}

// Main runs the tests and stops the garden that they used. A TestMain calls it
// and exits with what it returns.
func Main(m *testing.M) int {
	code := m.Run()
	if one.garden != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := one.garden.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the garden for tests:", err)
			code = max(code, 1)
		}
	}
	if one.dir != "" {
		_ = os.RemoveAll(one.dir)
	}
	return code
}

// Client returns a client with all rights for the garden of this test binary.
func Client(tb testing.TB) client.Client {
	tb.Helper()
	c, err := client.New(Start(tb).RESTConfig(), client.Options{Scheme: scheme.Client()})
	if err != nil {
		tb.Fatalf("making a client: %v", err)
	}
	return c
}

// Namespace makes a namespace that belongs to a project, both with a random
// name, so that Shoots can live in it. Nothing removes it but the garden's end.
func Namespace(tb testing.TB) string {
	tb.Helper()
	c := Client(tb)
	project := "t" + rand.String(6)
	name := "garden-" + project
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}},
		&corev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: project}, Spec: corev1beta1.ProjectSpec{Namespace: &name}},
	} {
		if err := c.Create(context.Background(), object); err != nil {
			tb.Fatalf("creating %T %q: %v", object, object.GetName(), err)
		}
	}
	return name
}
