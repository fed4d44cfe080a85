package shoots_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/machines"
	driver "github.com/loam-cloud/loam/machines/fake"
)

// etcdFile stands for what etcd has on its disk: the ID of its member.
const etcdFile = "/var/lib/etcd/member"

// etcdMember is a member of the cluster's etcd, in etcd's own words.
type etcdMember struct {
	ID       string   `json:"ID"`
	PeerURLs []string `json:"peerURLs"`
}

func has(guest driver.Guest, path string) bool {
	_, found := guest.ReadFile(path)
	return found
}

// joinEtcd makes a machine a member of etcd.
func (w *world) joinEtcd(guest driver.Guest) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	id := "18446744073709551" + guest.ID
	w.etcd = append(w.etcd, etcdMember{ID: id, PeerURLs: []string{fmt.Sprintf("https://%s:2380", guest.Addresses[0])}})
	guest.WriteFile(machines.File{Path: etcdFile, Content: []byte(id)})
}

// members are those of etcd's that run, and how many there should be.
func (w *world) members() (running, all int) {
	for _, m := range w.guests(v1alpha1.RoleControlPlane) {
		file, _ := m.ReadFile(etcdFile)
		if m.State == machines.StateRunning && slices.ContainsFunc(w.etcd, func(e etcdMember) bool { return e.ID == string(file.Content) }) {
			running++
		}
	}
	return running, len(w.etcd)
}

// askEtcd answers what is asked of etcd in a machine.
func (w *world) askEtcd(guest driver.Guest, rest []string, c machines.Command) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if running, all := w.members(); 2*running <= all || !has(guest, etcdFile) {
		return &machines.ExitError{Program: "/bin/sh", Code: 1}
	}
	if rest[0] == "/v3/cluster/member/remove" {
		var request etcdMember
		if err := json.Unmarshal([]byte(rest[1]), &request); err != nil {
			return err
		}
		w.etcd = slices.DeleteFunc(w.etcd, func(m etcdMember) bool { return m.ID == request.ID })
	}
	return json.NewEncoder(c.Stdout).Encode(map[string]any{"header": map[string]string{"cluster_id": "1"}, "members": w.etcd})
}

// joinControlPlane is what kubeadm does with a machine that joins others: it has etcd
// take it, which a majority of the old members and then of all has to agree to.
func (w *world) joinControlPlane(ctx context.Context, guest driver.Guest) error {
	w.mutex.Lock()
	running, all := w.members()
	w.mutex.Unlock()
	if 2*running <= all || !has(guest, "/etc/loam/joining") || !has(guest, "/etc/kubernetes/pki/etcd/ca.key") {
		w.t.Errorf("machine %q is to join with %d of %d members of etcd", guest.Name, running, all)
		return &machines.ExitError{Program: "/bin/sh", Code: 1}
	}
	w.joinEtcd(guest)
	guest.WriteFile(machines.File{Path: madeFile})
	return w.startServer(ctx, guest)
}

// revive is what is done in a machine that was made again on its disks.
func (w *world) revive(guest driver.Guest) error {
	for _, path := range []string{"/etc/kubernetes/pki/ca.key", "/etc/kubernetes/kubelet.conf", "/var/lib/kubelet/pki/kubelet-client-current.pem", etcdFile} {
		if !has(guest, path) {
			w.t.Errorf("machine %q is to be made what it was without %s", guest.Name, path)
		}
	}
	if broken := w.isBroken(guest); broken {
		return &machines.ExitError{Program: "/bin/sh", Code: 1}
	}
	guest.WriteFile(machines.File{Path: madeFile})
	guest.WriteFile(machines.File{Path: marker})
	return nil
}

// isBroken tells whether the next script in a machine is to fail.
func (w *world) isBroken(guest driver.Guest) bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	broken := w.broken[guest.Name]
	delete(w.broken, guest.Name)
	return broken
}

// TestResumeLost has one of three control planes and its disks lost, makes each call
// of the driver for that machine or about etcd fail once, and runs the flow again.
func TestResumeLost(t *testing.T) {
	for name, happen := range trouble {
		t.Run(name, func(t *testing.T) {
			for at, more := 0, true; more; at++ {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 0)
					w.cluster.Pools[0].Count = 3
					if err := w.reconcile(t.Context()); err != nil {
						t.Fatal(err)
					}
					w.cluster.Established = true
					if err := w.machines.Delete(t.Context(), w.cluster.ID, "control-plane-1"); err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					c := &counter{meant: at}
					w.machines.Fail = func(call driver.Call) error {
						if running, all := w.members(); 2*running <= all {
							t.Errorf("at call %d %d of %d members of etcd run", at, running, all)
						}
						concerned := call.Name == "control-plane-1" || strings.Contains(fmt.Sprint(call), "create --raw")
						if concerned && c.hit(fmt.Sprint(call)) {
							return happen(cancel)
						}
						return nil
					}
					err := w.reconcile(ctx)
					if more = c.what != ""; !more && (err != nil || at < 10) {
						t.Errorf("without trouble, after %d calls: %v", at, err)
					}
					if more && err != nil {
						err = w.reconcile(t.Context())
					}
					if running, all := w.members(); err != nil || running != 3 || all != 3 {
						t.Errorf("after call %d, %s: %d of %d members of etcd run, %v", at, c.what, running, all, err)
					}
				})
			}
		})
	}
}
