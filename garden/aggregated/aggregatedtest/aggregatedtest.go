// Package aggregatedtest gives tests a replica of the API server that runs
// beside another Kubernetes. The garden of the test binary plays that Kubernetes.
//
// Tests call it; nothing else may. It must not know what they test.
package aggregatedtest

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/go-logr/logr/funcr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/aggregated"
	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/gardentest"
)

const startTimeout = 2 * time.Minute

// Replica is a running server.
type Replica struct {
	// Config reaches it with all rights, not by way of the Kubernetes beside it.
	Config *rest.Config
	// Stop ends it; the end of the test does so too.
	Stop func()

	mutex sync.Mutex
	log   bytes.Buffer
}

// Log is what the replica has said.
func (r *Replica) Log() string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.log.String()
}

func (r *Replica) write(prefix, args string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.log.WriteString(prefix + args + "\n")
}

// Run starts a replica whose Secret is in namespace and whose state is in etcd,
// and returns when it answers.
func Run(tb testing.TB, namespace string, etcd garden.ExternalEtcd) *Replica {
	tb.Helper()
	g := gardentest.Start(tb)
	admin, err := clientcmd.BuildConfigFromFlags("", g.KubeconfigPath())
	if err != nil {
		tb.Fatal(err)
	}
	r := &Replica{}
	config := aggregated.Config{
		REST: admin, Kubeconfig: g.KubeconfigPath(), Listen: gardentest.FreeAddress(tb), Namespace: namespace, Service: "api", Etcd: etcd,
		Logger: funcr.New(r.write, funcr.Options{}), StopTimeout: time.Second,
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- aggregated.Run(ctx, config) }()
	r.Stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("the server ended with %v", err)
		}
	})
	tb.Cleanup(r.Stop)

	kube, err := kubernetes.NewForConfig(admin)
	if err != nil {
		tb.Fatal(err)
	}
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("the server is not ready; its log:\n%s", r.Log())
		}
		secret, err := kube.CoreV1().Secrets(namespace).Get(ctx, "loam-apiserver", metav1.GetOptions{})
		if err != nil {
			continue
		}
		r.Config = &rest.Config{Host: "https://" + config.Listen, TLSClientConfig: rest.TLSClientConfig{
			CAData: secret.Data["ca.crt"], CertData: admin.CertData, KeyData: admin.KeyData,
		}, QPS: -1}
		direct, err := kubernetes.NewForConfig(r.Config)
		if err != nil {
			tb.Fatal(err)
		}
		// The groups rather than /readyz: for that the server does not have to know
		// yet whose certificates it trusts.
		if _, err := direct.Discovery().ServerGroups(); err == nil {
			return r
		}
	}
}

// Furnish puts into the replica what a garden has from its first start: the
// project, the cloud profile and the seed named local.
func (r *Replica) Furnish(tb testing.TB) {
	tb.Helper()
	to := gardentest.ClientFor(tb, r.Config)
	for _, object := range []client.Object{&corev1beta1.CloudProfile{}, &corev1beta1.Seed{}, &corev1beta1.Project{}} {
		if err := gardentest.Client(tb).Get(context.Background(), client.ObjectKey{Name: bootstrap.Name}, object); err != nil {
			tb.Fatal(err)
		}
		object.SetResourceVersion("")
		object.SetUID("")
		if err := to.Create(context.Background(), object); err != nil {
			tb.Fatal(err)
		}
	}
}
