package e2e_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// writer writes a growing number to a cluster, again and again, as a controller in it
// does: one request after the other, each of which it waits for.
type writer struct {
	stop chan struct{}
	done chan struct{}
	// confirmed is how many were, last the last of them.
	confirmed, last int
	// failures are the requests that failed; away is the longest time without one
	// that did not.
	failures []string
	away     time.Duration
}

// writeTimeout is what a request may take, on a busy host.
const writeTimeout = 30 * time.Second

// startWriter begins to write to config map "written", which is there.
func startWriter(t testing.TB, kubeconfig string) *writer {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.Timeout = writeTimeout
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		began := time.Now()
		for n := 1; ; n++ {
			select {
			case <-w.stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			patch := fmt.Sprintf(`{"data":{"n":"%d"}}`, n)
			_, err := api.CoreV1().ConfigMaps("default").Patch(context.Background(), "written", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			if err != nil {
				w.failures = append(w.failures, fmt.Sprintf("%s: %v", time.Now().Format("15:04:05.0"), err))
				continue
			}
			w.confirmed++
			w.last, w.away, began = n, max(w.away, time.Since(began)), time.Now()
		}
	}()
	return w
}

// end stops writing.
func (w *writer) end() {
	close(w.stop)
	<-w.done
}
