package shoots

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
	"github.com/loam-cloud/loam/shoots/graph"
	"github.com/loam-cloud/loam/shoots/manifest"
	"github.com/loam-cloud/loam/shoots/plan"
)

// A machine that runs gets other settings where it stands: kubeadm writes what
// programs are started with, they are started again, pods stay.
//
//	settings in force -> forgotten -> files written, programs started -> in force
//
// Each machine keeps the settings that are in force, so that a flow that is run again
// knows what is left to do. One that keeps none is in the middle: it is taken up
// before anything else, since what it was given last may have been what its programs
// do not start with.

// settings are those that nodes of a pool should have.
func (c *Cluster) settings(p Pool) (nodeconfig.Settings, error) {
	s, err := nodeconfig.SettingsOf(
		nodeconfig.Cluster{FeatureGates: c.FeatureGates, RuntimeConfig: c.RuntimeConfig, Patches: c.Patches},
		nodeconfig.Node{Role: p.Role, MaxPods: p.MaxPods, Kubelet: p.Kubelet, Patches: p.Patches},
	)
	return s, fault.Wrap(fault.Invalid, err)
}

// Machines are those that the cluster should have, in the order in which things are
// done to them.
func (c *Cluster) Machines() ([]plan.Machine, error) {
	var all []plan.Machine
	for _, m := range slices.Concat(c.balancer(), c.all()) {
		wanted := plan.Machine{
			Node: c.spec(m).Hostname, Pool: m.pool.Name, Role: m.pool.Role, Version: c.KubernetesVersion,
			Settings: nodeconfig.Settings{}, Together: m.pool.Together,
		}
		if m.pool.Role != v1alpha1.RoleBalancer {
			var err error
			if wanted.Settings, err = c.settings(m.pool); err != nil {
				return nil, err
			}
			wanted.Marks = m.pool.marks()
		}
		all = append(all, wanted)
	}
	return all, nil
}

// marks are the labels and taints of a pool as users write them.
func (p Pool) marks() map[string]string {
	all := map[string]string{}
	for key, value := range p.Labels {
		all["label "+key] = key + "=" + value
	}
	for _, t := range p.Taints {
		all["taint "+taintName(t)] = t.ToString()
	}
	return all
}

// look finds out which settings machines have that run. One that is off gets its
// settings when it starts, one that is to go none.
func (r *run) look(ctx context.Context) error {
	if !r.cluster.Established {
		return nil
	}
	want, err := r.cluster.Machines()
	if err != nil {
		return err
	}
	have := make([]plan.Machine, len(r.existing))
	err = each(ctx, indices(r.existing), func(ctx context.Context, i int) error {
		m := r.existing[i]
		at := slices.IndexFunc(want, func(w plan.Machine) bool { return w.Node == m.Hostname })
		if at < 0 {
			have[i] = plan.Machine{Node: m.Hostname}
			return nil
		}
		have[i] = want[at]
		have[i].Version, have[i].Off = m.Labels[labelVersion], m.State != machines.StateRunning
		if have[i].Off || have[i].Role == v1alpha1.RoleBalancer {
			return nil
		}
		c, err := r.condition(ctx, m)
		have[i].Settings = c.settings
		return err
	})
	r.plan = plan.Make(have, want)
	return err
}

// configureSteps are those for the workers that need other settings, after those named:
// as many at the same time as their pool allows.
func (r *run) configureSteps(after []string) []graph.Step {
	var steps []graph.Step
	batches := map[int][]string{}
	var order []int
	for _, s := range r.plan {
		if s.Action != plan.Configure || s.Role != v1alpha1.RoleWorker {
			continue
		}
		if batches[s.Batch] == nil {
			order = append(order, s.Batch)
		}
		batches[s.Batch] = append(batches[s.Batch], s.Node)
	}
	for _, batch := range order {
		nodes := batches[batch]
		name := "configuring node " + strings.Join(nodes, ", ")
		steps = append(steps, graph.Step{Name: name, After: after, Run: func(ctx context.Context) error {
			return each(ctx, nodes, r.configureNode)
		}})
		after = []string{name}
	}
	return steps
}

const stepConfigureControlPlane = "configuring control plane"

// configuresControlPlane tells whether one of its machines needs other settings.
func (r *run) configuresControlPlane() bool {
	return slices.ContainsFunc(r.plan, func(s plan.Step) bool {
		return s.Action == plan.Configure && s.Role == v1alpha1.RoleControlPlane
	})
}

func (r *run) configureAll(ctx context.Context) error {
	for _, m := range r.controlPlanes {
		different, err := r.differs(ctx, m.Machine, m.member.pool)
		if err == nil && different {
			err = r.configureControlPlane(ctx, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) configureNode(ctx context.Context, node string) error {
	for i, member := range r.cluster.members(v1alpha1.RoleWorker) {
		m := r.workers[i]
		if m.Hostname != node {
			continue
		}
		different, err := r.differs(ctx, m, member.pool)
		if err != nil || !different {
			return err
		}
		return r.configureWorker(ctx, m, member.pool)
	}
	return nil
}

func (r *run) differs(ctx context.Context, m machines.Machine, p Pool) (bool, error) {
	have, err := r.condition(ctx, m)
	if err != nil {
		return false, err
	}
	want, err := r.cluster.settings(p)
	return !maps.Equal(have.settings, want) || have.settings == nil, err
}

// due tells whether a machine takes its settings at once: it is in the middle of a
// change, or was off and has just been started.
func (r *run) due(m machines.Machine, have condition, p Pool) bool {
	if !r.cluster.Established || have.progress != bootstrapped {
		return false
	}
	want, err := r.cluster.settings(p)
	return have.settings == nil || m.State != machines.StateRunning && err == nil && !maps.Equal(have.settings, want)
}

// settingsFile is what a machine keeps of the settings that it is made with.
func (r *run) settingsFile(p Pool) ([]nodeconfig.File, error) {
	s, err := r.cluster.settings(p)
	if err != nil {
		return nil, err
	}
	file, err := s.File()
	return []nodeconfig.File{file}, err
}

// forgetScript takes away what says which settings are in force, and patches of the
// user's that there may be more of than before.
const forgetScript = `
rm -f ` + nodeconfig.SettingsPath + ` ` + nodeconfig.PatchesPath + `/kubeletconfiguration[0-9][0-9][0-9]+*.json
`

func (r *run) forget(ctx context.Context, m machines.Machine) error {
	_, err := r.script(ctx, m, forgetScript)
	return err
}

func (r *run) remember(ctx context.Context, m machines.Machine, p Pool) error {
	kept, err := r.settingsFile(p)
	if err != nil {
		return err
	}
	return r.put(ctx, m, kept)
}

// unusable is the exit code of scripts for settings that no node can have.
const unusable = 3

// configureHead begins the scripts: one at a time, and none once it is done.
//
//	refused PROGRAM... ends the script with what the program said when it failed
//	settled            waits for the kubelet, or ends the script with its last words
const configureHead = `
mkdir -p /run/loam /var/log/loam
exec 9>/run/loam/bootstrap.lock
flock 9
` + nodeconfig.AwaitContainerd + `
refused() { "$@" >/var/log/loam/configure.log 2>&1 9>&- || { cat /var/log/loam/configure.log >&2; exit 3; }; }
listens() { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ':280A [0-9A-F]*:0000 0A '; }
restarts() { systemctl show kubelet --property=NRestarts --value; }
settled() {
  # systemd counts on from former settings.
  i=0 before=$(restarts)
  until listens; do
    i=$((i+1))
    test $i -lt 1500 || { echo "the kubelet does not listen after five minutes" >&2; exit 1; }
    if test $(($(restarts) - before)) -gt 1; then
      echo "the kubelet does not start with these settings:" >&2
      journalctl _SYSTEMD_UNIT=kubelet.service --output=cat --no-pager --lines=2 >&2
      exit 3
    fi
    sleep 0.2
  done
}
`

// leaderScript has kubeadm write what the programs of a control plane are started
// with, and starts the kubelet again, which starts those that changed. The kubelet is
// off meanwhile: one that starts without an API server and then sees a manifest change
// waits for that API server before it mounts what the new pod needs.
//
// A manifest that stays the same keeps its time: crashScript goes by it.
const leaderScript = configureHead + `
systemctl stop kubelet
trap 'systemctl start kubelet 9>&-' EXIT
rm -rf /run/loam/manifests
cp -a /etc/kubernetes/manifests /run/loam/manifests
refused kubeadm init phase control-plane all --config=` + nodeconfig.KubeadmConfigPath + `
for name in ` + leaderPrograms + `; do
  now=/etc/kubernetes/manifests/$name.yaml was=/run/loam/manifests/$name.yaml
  ! cmp -s $was $now || touch -r $was $now
  cat $now
  echo ---
done
refused kubeadm init phase kubelet-start --config=` + nodeconfig.KubeadmConfigPath + `
settled
`

const leaderPrograms = "kube-apiserver kube-controller-manager kube-scheduler"

// uploadScript has kubeadm write down what nodes are to be configured with that join
// or are upgraded later.
const uploadScript = configureHead + `
kubeadm init phase upload-config all --config=` + nodeconfig.KubeadmConfigPath + ` >/var/log/loam/configure.log 2>&1 9>&- || { cat /var/log/loam/configure.log >&2; exit 1; }
`

// followerScript has kubeadm fetch what the kubelets of the cluster share, and starts
// the kubelet of a worker again.
const followerScript = configureHead + `
kubeadm upgrade node phase kubelet-config --patches=` + nodeconfig.PatchesPath + ` >/var/log/loam/configure.log 2>&1 9>&- || { cat /var/log/loam/configure.log >&2; exit 1; }
systemctl restart kubelet 9>&-
settled
`

// configureScript runs one of the scripts. What the settings themselves keep from
// working is the user's to mend.
func (r *run) configureScript(ctx context.Context, m machines.Machine, text string) (string, error) {
	printed, err := r.script(ctx, m, text)
	if exit := (*machines.ExitError)(nil); errors.As(err, &exit) && exit.Code == unusable {
		err = fault.Wrap(fault.Invalid, err)
	}
	return printed, err
}

// configureControlPlane gives a machine of the control plane the settings that it
// should have.
func (r *run) configureControlPlane(ctx context.Context, m controlPlane) error {
	// kubeadm demands one and makes nothing of it here.
	token, err := bootstraputil.GenerateBootstrapToken()
	if err != nil {
		return err
	}
	files, err := nodeconfig.InitFiles(r.clusterOf(m.Machine), r.node(m.Machine, m.member.pool), token)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if err := r.forget(ctx, m.Machine); err != nil {
		return err
	}
	if err := r.put(ctx, m.Machine, files); err != nil {
		return err
	}
	printed, err := r.configureScript(ctx, m.Machine, leaderScript)
	if err != nil {
		return err
	}
	api, err := r.Connection(ctx, r.cluster, r.authorities)
	if err != nil {
		return err
	}
	defer api.Close()
	if err := r.awaitPrograms(ctx, api, m.Machine, printed); err != nil {
		return err
	}
	if _, err := r.configureScript(ctx, m.Machine, uploadScript); err != nil {
		return err
	}
	if err := r.awaitConfigured(ctx, api, m.Machine); err != nil {
		return err
	}
	return r.remember(ctx, m.Machine, m.member.pool)
}

func (r *run) configureWorker(ctx context.Context, m machines.Machine, p Pool) error {
	files, err := nodeconfig.KubeletFiles(r.nodeCluster(), r.node(m, p))
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if err := r.forget(ctx, m); err != nil {
		return err
	}
	if err := r.put(ctx, m, files); err != nil {
		return err
	}
	if _, err := r.configureScript(ctx, m, followerScript); err != nil {
		return err
	}
	if err := r.awaitConfigured(ctx, r.api, m); err != nil {
		return err
	}
	return r.remember(ctx, m, p)
}

// awaitConfigured waits until a node is ready whose kubelet was started again.
func (r *run) awaitConfigured(ctx context.Context, api *Connection, m machines.Machine) error {
	if !r.cluster.DefaultNetwork {
		return nil
	}
	return poll(ctx, r.Clock, func(ctx context.Context) error {
		var node corev1.Node
		if err := api.Get(ctx, client.ObjectKey{Name: m.Hostname}, &node); err != nil {
			return fmt.Errorf("node %q: %w", m.Hostname, classify(err))
		}
		if !nodeReady(&node) {
			return fault.New(fault.Waiting, "node %q is not ready", m.Hostname)
		}
		return nil
	})
}

// crashScript prints the last words of programs that ended at least three times
// since their manifest changed: once may be because of a port that was still in use.
const crashScript = `
for name in ` + leaderPrograms + `; do
  ! pidof $name >/dev/null || continue
  pod=$(find /var/log/pods -maxdepth 1 -name "kube-system_$name-*" -newer /etc/kubernetes/manifests/$name.yaml | head -n 1)
  test -n "$pod" || continue
  logs=$(ls -tr "$pod/$name")
  case ${logs##*[!0-9a-z.]} in
  "" | 0.log | 1.log) continue ;;
  esac
  echo "$name does not start with these settings:"
  # The last one may have begun this moment.
  (cd "$pod/$name" && cat $logs) | tail -n 3 | sed 's/^[^ ]* std[a-z]* [FP] //'
done
`

// awaitPrograms waits until those of a machine's control plane run as their
// manifests say.
func (r *run) awaitPrograms(ctx context.Context, api *Connection, m machines.Machine, manifests string) error {
	objects, err := manifest.Decode(strings.NewReader(manifests))
	if err != nil {
		return fault.New(fault.Internal, "manifests of %q: %w", m.Hostname, err)
	}
	return poll(ctx, r.Clock, func(ctx context.Context) error {
		for _, o := range objects {
			var wanted corev1.Pod
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &wanted); err != nil {
				return fault.New(fault.Internal, "manifest of %q: %w", o.GetName(), err)
			}
			problem := r.runsAs(ctx, api, &wanted, m)
			if problem == nil {
				continue
			}
			words, err := r.script(ctx, m, crashScript)
			if err == nil && strings.TrimSpace(words) != "" {
				return fault.New(fault.Invalid, "machine %q: %s", m.Name, strings.TrimSpace(words))
			}
			return problem
		}
		return nil
	})
}

// runsAs tells why a static pod does not run as it should.
func (r *run) runsAs(ctx context.Context, api *Connection, wanted *corev1.Pod, m machines.Machine) error {
	have, err := staticPod(ctx, api, wanted.Name, m)
	if err != nil {
		return err
	}
	same := slices.EqualFunc(have.Spec.Containers, wanted.Spec.Containers, func(a, b corev1.Container) bool {
		return slices.Equal(a.Command, b.Command) && a.Image == b.Image
	})
	if !same || !podReady(have) {
		return fault.New(fault.Waiting, "%s of %q does not run yet as it should", wanted.Name, m.Hostname)
	}
	return nil
}
