package shoots_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	driver "github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/nodeconfig"
)

// wantWhole checks that the cluster is what it would be had nothing gone wrong.
func (w *world) wantWhole(when string, names ...string) {
	w.t.Helper()
	w.machines.Fail, w.refuse = nil, nil
	all, err := w.machines.List(w.t.Context(), w.cluster.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		got = append(got, m.Name)
		guest, err := w.machines.Guest(m.Cluster, m.Name)
		if err != nil {
			w.t.Fatal(err)
		}
		_, bootstrapped := guest.ReadFile(marker)
		_, upgrading := guest.ReadFile(upgradingFile)
		settings, settled := guest.ReadFile(nodeconfig.SettingsPath)
		if !bootstrapped || upgrading || !settled || m.State != machines.StateRunning {
			w.t.Errorf("%s: machine %q is %s, bootstrapped: %v, to be upgraded: %v, settled: %v", when, m.Name, m.State, bootstrapped, upgrading, settled)
		}
		if pods := w.cluster.Pools[1].MaxPods; pods != 0 && m.Name != "control-plane-0" && !strings.Contains(string(settings.Content), fmt.Sprintf(`"kubelet.maxPods":"%d"`, pods)) {
			w.t.Errorf("%s: machine %q keeps the settings %s", when, m.Name, settings.Content)
		}
	}
	if !slices.Equal(got, names) {
		w.t.Errorf("%s: machines are %v, want %v", when, got, names)
	}
	var nodes corev1.NodeList
	if err := w.inside.List(w.t.Context(), &nodes); err != nil || len(nodes.Items) != len(names) {
		w.t.Errorf("%s: there are %d nodes, %v", when, len(nodes.Items), err)
	}
	for _, n := range nodes.Items {
		if pods := w.cluster.Pools[1].MaxPods; pods != 0 && n.Name != "demo-control-plane-0" && n.Status.Capacity.Pods().Value() != int64(pods) {
			w.t.Errorf("%s: node %q takes %s pods", when, n.Name, n.Status.Capacity.Pods())
		}
		if n.Status.NodeInfo.KubeletVersion != w.cluster.KubernetesVersion || n.Spec.Unschedulable {
			w.t.Errorf("%s: node %q has version %s, cordoned: %v", when, n.Name, n.Status.NodeInfo.KubeletVersion, n.Spec.Unschedulable)
		}
	}
	for what, times := range w.kubeadm {
		if times != 1 {
			w.t.Errorf("%s: kubeadm ran %d times for %s", when, times, what)
		}
	}
}

// counter tells of each call whether it is the one that is meant.
type counter struct {
	mutex sync.Mutex
	seen  int
	meant int
	what  string
}

func (c *counter) hit(what string) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.seen++
	if c.seen-1 != c.meant {
		return false
	}
	c.what = what
	return true
}

// trouble is what may happen at one call of a driver.
var trouble = map[string]func(cancel context.CancelFunc) error{
	"the driver fails": func(context.CancelFunc) error { return fault.New(fault.Transient, "a hiccup") },
	"the flow is ended": func(cancel context.CancelFunc) error {
		cancel()
		return nil
	},
}

// older makes a cluster of an older version, to be upgraded.
func older(w *world) {
	w.t.Helper()
	w.setWorkers(1)
	wanted := w.cluster.KubernetesVersion
	w.cluster.KubernetesVersion = "v1.36.2"
	if err := w.reconcile(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.cluster.KubernetesVersion, w.cluster.Established = wanted, true
}

// otherwise makes a cluster whose nodes are to get other settings.
func otherwise(w *world) {
	w.t.Helper()
	w.setWorkers(1)
	if err := w.reconcile(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.cluster.Established = true
	w.set("gate", []string{"A"})
	w.set("max-pods", []string{"50"})
}

// TestResume makes each call of the driver fail once, in a cluster that is made,
// in one that gets smaller and larger at once, in one that is upgraded and in one
// that gets other settings, and runs the flow again.
func TestResume(t *testing.T) {
	changes := map[string]struct {
		before func(*world)
		names  []string
	}{
		"create": {func(*world) {}, []string{"control-plane-0", "worker-0", "worker-1"}},
		"replace": {func(w *world) {
			w.cluster.Pools[1].Name = "former"
			if err := w.reconcile(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
			w.cluster.Pools[1].Name = "worker"
		}, []string{"control-plane-0", "worker-0", "worker-1"}},
		"upgrade":   {older, []string{"control-plane-0", "worker-0"}},
		"configure": {otherwise, []string{"control-plane-0", "worker-0"}},
	}
	for change, tc := range changes {
		for name, happen := range trouble {
			t.Run(change+", "+name, func(t *testing.T) {
				for at, more := 0, true; more; at++ {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t, 2)
						tc.before(w)
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						c := &counter{meant: at}
						w.machines.Fail = func(call driver.Call) error {
							if c.hit(fmt.Sprint(call)) {
								return happen(cancel)
							}
							return nil
						}
						err := w.reconcile(ctx)
						if more = c.what != ""; !more {
							if err != nil || at < 15 {
								t.Errorf("without trouble, after %d calls: %v", at, err)
							}
							return
						}
						if err == nil {
							t.Errorf("call %d, %s: nobody heard of it", at, c.what)
						}
						if kind := fault.KindOf(err); kind == fault.Invalid {
							t.Errorf("call %d, %s: %v is %s", at, c.what, err, kind)
						}
						if err := w.reconcile(t.Context()); err != nil {
							t.Errorf("after call %d, %s: %v", at, c.what, err)
						}
						w.wantWhole(fmt.Sprintf("after call %d, %s", at, c.what), tc.names...)
					})
				}
			})
		}
	}
}

// TestResumeAfterTheAPI makes each call of the API server fail once.
func TestResumeAfterTheAPI(t *testing.T) {
	for change, before := range map[string]func(*world){"create": func(*world) {}, "upgrade": older} {
		t.Run(change, func(t *testing.T) {
			for at, more := 0, true; more; at++ {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 2)
					before(w)
					c := &counter{meant: at}
					w.refuse = func(call string) error {
						if c.hit(call) {
							return errors.New("the connection was cut")
						}
						return nil
					}
					err := w.reconcile(t.Context())
					if more = c.what != ""; !more && at < 10 {
						t.Errorf("there were only %d calls", at)
					}
					// Draining is left to a library, and tried again as a whole.
					if err != nil && !strings.HasPrefix(c.what, "create Secret") && !strings.Contains(err.Error(), "draining node") {
						t.Errorf("call %d, %s, was not tried again: %v", at, c.what, err)
					}
					if err != nil {
						err = w.reconcile(t.Context())
					}
					if err != nil {
						t.Errorf("after call %d, %s: %v", at, c.what, err)
					}
					w.wantWhole(fmt.Sprintf("after call %d, %s", at, c.what), []string{"control-plane-0", "worker-0", "worker-1"}[:1+w.cluster.Pools[1].Count]...)
				})
			}
		})
	}
}

func TestAnAPIServerThatNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		w.refuse = func(string) error { return errors.New("no route to host") }
		err := w.reconcile(t.Context())
		if fault.KindOf(err) != fault.Transient || !strings.Contains(err.Error(), "reaching API server: after 5m0s still: ") || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("got %v", err)
		}
	})
}
