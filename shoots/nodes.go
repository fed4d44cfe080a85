package shoots

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
	"github.com/loam-cloud/loam/shoots/prefill"
)

func (r *run) createControlPlane(ctx context.Context) error {
	members := r.cluster.members(v1alpha1.RoleControlPlane)
	all, gone := make([]controlPlane, len(members)), make([]bool, len(members))
	err := each(ctx, indices(members), func(ctx context.Context, i int) error {
		m, err := r.createMember(ctx, members[i])
		all[i] = controlPlane{Machine: m, member: members[i], place: i}
		if gone[i] = r.cluster.Established && fault.KindOf(err) == fault.Missing; gone[i] {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := r.part(all, func(m controlPlane) bool { return gone[m.place] }); err != nil {
		return err
	}
	for _, balancer := range r.cluster.balancer() {
		m, err := r.createMember(ctx, balancer)
		if fault.KindOf(err) == fault.Missing {
			m, err = r.create(ctx, r.cluster.spec(balancer))
		}
		if err != nil {
			return err
		}
		r.balancer = m
	}
	return nil
}

// createMember makes a machine that holds what others depend on, or finds it. In a
// cluster that was whole once it is made on the disks that it has left. Fault:
// Missing if there are none.
func (r *run) createMember(ctx context.Context, m member) (machines.Machine, error) {
	spec := r.cluster.spec(m)
	if r.cluster.Established {
		spec.Recover = true
		r.likeOthers(&spec)
	}
	return r.create(ctx, spec)
}

func (r *run) createWorkers(ctx context.Context) error {
	members := r.cluster.members(v1alpha1.RoleWorker)
	r.workers = make([]machines.Machine, len(members))
	return each(ctx, indices(members), func(ctx context.Context, i int) error {
		m, err := r.create(ctx, r.cluster.spec(members[i]))
		r.workers[i] = m
		return err
	})
}

func (r *run) create(ctx context.Context, spec machines.Spec) (machines.Machine, error) {
	created, err := r.Machines.Create(ctx, spec)
	if err != nil {
		return created, fmt.Errorf("creating machine %q: %w", spec.Name, err)
	}
	if len(created.Addresses) == 0 {
		return created, fault.New(fault.Internal, "machine %q has no address", spec.Name)
	}
	return created, nil
}

// bootControlPlane puts what makes machines the cluster's control plane into them
// before their first boot. A machine that has been started once got it then.
func (r *run) bootControlPlane(ctx context.Context) error {
	return each(ctx, r.controlPlanes, func(ctx context.Context, m controlPlane) error {
		if m.State == machines.StateCreated && !r.cluster.Established {
			files, err := r.controlPlaneFiles(m)
			if err != nil {
				return err
			}
			if err := r.put(ctx, m.Machine, files); err != nil {
				return err
			}
		}
		return r.boot(ctx, m.Machine)
	})
}

// controlPlaneFiles name the machine's own API server to its kubelet, which starts
// that.
func (r *run) controlPlaneFiles(m controlPlane) ([]nodeconfig.File, error) {
	token, err := bootstraputil.GenerateBootstrapToken()
	if err != nil {
		return nil, err
	}
	node := r.node(m.Machine, m.member.pool)
	if !r.cluster.Established {
		node.PodSubnets = r.cluster.subnets(m.place)
	}
	files, err := nodeconfig.InitFiles(r.clusterOf(m.Machine), node, token)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	own, err := r.authorities.kubeletFiles(node.Name, "https://"+r.endpoint(m.Machine), r.Clock.Now())
	if err != nil {
		return nil, err
	}
	kept, err := r.settingsFile(m.member.pool)
	if err != nil {
		return nil, err
	}
	if !r.cluster.Established {
		requests, err := prefill.Requests(prefill.Cluster{
			KubernetesVersion: r.cluster.KubernetesVersion, CA: r.authorities["ca.crt"], Created: r.Clock.Now(), NewUID: uuid.NewUUID,
		})
		if err != nil {
			return nil, err
		}
		files = append(files, nodeconfig.File{Path: nodeconfig.PrefillPath, Content: requests, Mode: 0o600})
	}
	return slices.Concat(r.authorities.files(), own, files, kept), nil
}

func (r *run) bootWorkers(ctx context.Context) error {
	return each(ctx, r.workers, r.boot)
}

func (r *run) boot(ctx context.Context, m machines.Machine) error {
	if err := r.connectOutside(ctx, m); err != nil {
		return err
	}
	if err := r.Machines.Start(ctx, m.Cluster, m.Name); err != nil {
		return fmt.Errorf("starting machine %q: %w", m.Name, err)
	}
	return r.patchContainerd(ctx, m)
}

func (r *run) put(ctx context.Context, m machines.Machine, files []nodeconfig.File) error {
	converted := make([]machines.File, len(files))
	for i, f := range files {
		converted[i] = machines.File(f)
	}
	if err := r.Machines.PutFiles(ctx, m.Cluster, m.Name, converted); err != nil {
		return fmt.Errorf("putting files into machine %q: %w", m.Name, err)
	}
	return nil
}

// script runs a shell script in a machine. The error of one that fails ends
// with the last lines that it printed.
func (r *run) script(ctx context.Context, m machines.Machine, text string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	err := r.Machines.Run(ctx, m.Cluster, m.Name, machines.Command{
		Args:   append([]string{"/bin/sh", "-ceu", text, "loam"}, args...),
		Stdout: &stdout, Stderr: &stderr,
	})
	if err == nil {
		return stdout.String(), nil
	}
	err = fmt.Errorf("machine %q: %w%s", m.Name, err, tail(stderr.String(), 12))
	if exit := (*machines.ExitError)(nil); errors.As(err, &exit) {
		// What ran is the same for all machines: one that is slow, or not as
		// expected for a moment, is why it failed.
		return "", fault.Wrap(fault.Transient, err)
	}
	return "", err
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	if len(all) == 1 && all[0] == "" {
		return ""
	}
	return ":\n" + strings.Join(all[max(0, len(all)-lines):], "\n")
}

// probeScript tells how far kubeadm has come in the machine, and the settings that
// are in force.
const probeScript = `
if test -e ` + upgradingPath + `; then
  echo upgrading
elif test -e ` + nodeconfig.BootstrappedPath + `; then
  echo bootstrapped
elif test -e ` + joiningPath + `; then
  echo joining
elif test -d /var/lib/etcd/member; then
  echo kept
fi
cat ` + nodeconfig.SettingsPath + ` 2>/dev/null || true
`

// bootstrapHead begins the scripts that run kubeadm in a machine: one at a time,
// and none once it has done its work. A second run of the flow, after a crash,
// waits here for a kubeadm that the first one left behind; one that was cut short
// starts over on what is there, which kubeadm's phases allow once its checks for
// an untouched machine are off.
//
//	logged FILE PROGRAM... shows what a program said only when it failed
const bootstrapHead = `
mkdir -p /run/loam /var/log/loam
exec 9>/run/loam/bootstrap.lock
flock 9
test ! -e ` + nodeconfig.BootstrappedPath + ` || exit 0
logged() { log=$1; shift; "$@" >>"$log" 2>&1 9>&- || { cat "$log" >&2; exit 1; }; }
`

// initScript waits for what the machine does by itself at its first boot, and
// does it again where it has failed. It prints how many processors the machine has,
// and how much memory in KiB.
const initScript = bootstrapHead + nodeconfig.AwaitSystemd + `
systemctl start ` + nodeconfig.BootstrapUnit + ` 9>&- || { cat ` + nodeconfig.InitLogPath + ` >&2; exit 1; }
systemctl start kubelet 9>&-
nproc
sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo
`

// release gives new nodes of the control plane what the controller manager would
// give them, and then has that and the scheduler started: the first is to lead.
func (r *run) release(ctx context.Context) error {
	fresh := slices.DeleteFunc(slices.Clone(r.controlPlanes), func(m controlPlane) bool { return !m.fresh })
	if len(fresh) == 0 {
		return nil
	}
	if err := each(ctx, fresh, r.introduce); err != nil {
		return err
	}
	start := func(ctx context.Context, m controlPlane) error {
		_, err := r.script(ctx, m.Machine, bootstrapHead+nodeconfig.ReleaseScript)
		return err
	}
	if err := start(ctx, fresh[0]); err != nil {
		return err
	}
	return each(ctx, fresh[1:], start)
}

// introduce makes a control plane's node known, with the subnets that its machine
// already works with. The kubelet may have done the former meanwhile. Until the
// kubelet has written what it can give, it trusts what it reads, and refuses static
// pods for good that do not fit into a node of nothing.
//
// To a node that is there a kubelet gives no labels and taints of its own, so where
// its user has a say in these it goes first, which takes seconds longer.
func (r *run) introduce(ctx context.Context, m controlPlane) error {
	var subnets []string
	for _, subnet := range r.cluster.subnets(m.place) {
		subnets = append(subnets, subnet.String())
	}
	if len(subnets) == 0 {
		return nil
	}
	set := func(node *corev1.Node) {
		if node.Spec.PodCIDR == "" {
			node.Spec.PodCIDR, node.Spec.PodCIDRs = subnets[0], subnets
		}
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: m.Hostname},
		Status:     corev1.NodeStatus{Capacity: m.room, Allocatable: m.room},
	}
	set(node)
	if !r.patched(m.member.pool) {
		err := poll(ctx, r.Clock, func(ctx context.Context) error { return classify(client.IgnoreAlreadyExists(r.api.Create(ctx, node))) })
		if err != nil {
			return fmt.Errorf("introducing node %q: %w", node.Name, err)
		}
	}
	return r.changeNode(ctx, node.Name, set)
}

// patched tells whether the user patches what machines of a pool are made from.
func (r *run) patched(p Pool) bool {
	return !equality.Semantic.DeepEqual([]v1alpha1.KubeadmPatches{r.cluster.Patches, p.Patches}, make([]v1alpha1.KubeadmPatches, 2))
}

// recordScript has kubeadm put into the cluster what kubeadm itself needs there
// later. It runs phases one by one: an init that skips the addons would write down
// that there are none.
//
//	$1... phases
const recordScript = bootstrapHead + `
for phase; do
  logged ` + nodeconfig.InitLogPath + ` kubeadm init phase $phase --config=` + nodeconfig.KubeadmConfigPath + `
done
: >` + nodeconfig.BootstrappedPath + `
`

// Phases of kubeadm init: what marks a node of the control plane, and what one of
// them writes down for the whole cluster, which is its configuration, the kubelet's,
// and what lets nodes join.
const (
	phaseMark          = "mark-control-plane"
	phaseConfiguration = "upload-config all"
	phaseTokens        = "bootstrap-token --skip-token-print"
)

// joinScript makes the machine a node. A kubelet that has its certificate has all:
// kubeadm refuses to join a node that is ready, and what it would still do is wait
// for the kubelet. A kubelet.conf alone says nothing: the kubelet writes it before
// it asks for the certificate that it names. Why a kubelet got none, only the
// kubelet knows.
const joinScript = bootstrapHead + `
if test -s ` + kubeletPairPath + `; then
  systemctl restart kubelet 9>&-
else
` + nodeconfig.AwaitContainerd + nodeconfig.CgroupPatch + `
  systemctl stop kubelet 9>&-
  rm -f /var/log/loam/kubeadm-join.log ` + kubeletConfigPath + `
  kubeadm join --config=` + nodeconfig.KubeadmConfigPath + ` --ignore-preflight-errors=all >/var/log/loam/kubeadm-join.log 2>&1 9>&- || {
    grep -v '^$' /var/log/loam/kubeadm-join.log | grep -E '^error|^\[' | tail -n 4 >&2
    journalctl --unit=kubelet --output=cat --no-pager --lines=8 >&2
    exit 1
  }
fi
: >` + nodeconfig.BootstrappedPath + `
rm -f ` + joiningPath + `
`

// initialise waits until kubeadm has made the files of the control plane and the
// kubelets work with them, from the authorities that were put into the machines.
func (r *run) initialise(ctx context.Context) error {
	have := make([]condition, len(r.controlPlanes))
	err := each(ctx, indices(r.controlPlanes), func(ctx context.Context, i int) (err error) {
		m := &r.controlPlanes[i]
		have[i], err = r.condition(ctx, m.Machine)
		m.done = have[i].progress
		switch {
		case err != nil || m.done == bootstrapped || m.done == upgrading:
			return err
		case r.cluster.Established && m.done == kept:
			return r.revive(ctx, *m)
		case r.cluster.Established:
			return nil
		}
		m.fresh = true
		printed, err := r.script(ctx, m.Machine, initScript)
		if err != nil {
			return err
		}
		if m.room, err = room(printed, m.member.pool); err != nil || i > 0 {
			return err
		}
		// While its API server starts there is time for it.
		return r.renderAddons(ctx, m.Machine)
	})
	if err != nil {
		return err
	}
	if err := r.part(r.controlPlanes, r.outsideEtcd); err != nil {
		return err
	}
	// One after the other, as they were replaced.
	for i, m := range r.controlPlanes {
		switch {
		case m.done == upgrading:
			err = r.finishControlPlane(ctx, m)
		case r.due(m.Machine, have[i], m.member.pool):
			err = r.configureControlPlane(ctx, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// defaultMaxPods is the kubelet's own (KubeletConfiguration, maxPods).
const defaultMaxPods = 110

// room is what a machine of a pool can give to pods, from what initScript printed.
// The script sees a bound of memory, and none of processors.
func room(printed string, pool Pool) (corev1.ResourceList, error) {
	var processors, kibibytes int64
	if _, err := fmt.Sscan(printed, &processors, &kibibytes); err != nil {
		return nil, fault.New(fault.Internal, "a machine told its processors and memory as %q: %w", printed, err)
	}
	thousandths := processors * 1000
	if pool.CPUs > 0 {
		thousandths = min(thousandths, int64(pool.CPUs*1000))
	}
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(thousandths, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(kibibytes<<10, resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(int64(cmp.Or(pool.MaxPods, defaultMaxPods)), resource.DecimalSI),
	}, nil
}

// record has kubeadm write down in the cluster how it was made.
func (r *run) record(ctx context.Context) error {
	for _, m := range r.controlPlanes {
		if !m.fresh {
			continue
		}
		phases := []string{phaseMark}
		if m.place == 0 {
			phases = []string{phaseConfiguration, phaseMark, phaseTokens}
		}
		if _, err := r.script(ctx, m.Machine, recordScript, phases...); err != nil {
			return err
		}
	}
	return nil
}

// joinWorkers makes each worker a node. The token that lets them in is minted
// by the first that needs one, and ends soon after.
func (r *run) joinWorkers(ctx context.Context) error {
	members := r.cluster.members(v1alpha1.RoleWorker)
	token := sync.OnceValues(func() (string, error) { return r.mintToken(ctx) })
	return each(ctx, indices(members), func(ctx context.Context, i int) error {
		m := r.workers[i]
		done, err := r.condition(ctx, m)
		switch {
		case err != nil:
			return err
		case done.progress == upgrading:
			return r.finishWorker(ctx, m)
		case r.due(m, done, members[i].pool):
			return r.configureWorker(ctx, m, members[i].pool)
		case done.progress == bootstrapped:
			return nil
		}
		secret, err := token()
		if err != nil {
			return err
		}
		join := nodeconfig.Join{Server: "https://" + r.insideEndpoint(), CA: r.authorities["ca.crt"], Token: secret}
		files, err := nodeconfig.JoinFiles(r.nodeCluster(), r.node(m, members[i].pool), join)
		if err != nil {
			return fault.Wrap(fault.Invalid, err)
		}
		kept, err := r.settingsFile(members[i].pool)
		if err != nil {
			return err
		}
		if err := r.put(ctx, m, append(files, kept...)); err != nil {
			return err
		}
		_, err = r.script(ctx, m, joinScript)
		return err
	})
}

// insideEndpoint is where nodes reach the API server.
func (r *run) insideEndpoint() string {
	if len(r.cluster.balancer()) > 0 {
		return r.endpoint(r.balancer)
	}
	return r.endpoint(r.controlPlanes[0].Machine)
}

func (r *run) endpoint(m machines.Machine) string {
	return netip.AddrPortFrom(r.cluster.addresses(m)[0], APIServerPort).String()
}

// clusterOf is the cluster as a machine of the control plane has it, whose version
// is the machine's: the cluster may have been given another one since.
func (r *run) clusterOf(m machines.Machine) nodeconfig.Cluster {
	cluster := r.nodeCluster()
	cluster.KubernetesVersion = m.Labels[labelVersion]
	return cluster
}

func (r *run) nodeCluster() nodeconfig.Cluster {
	c := r.cluster
	sans := []string{"localhost", "127.0.0.1"}
	if host := c.APIServer.HostAddress; host.IsValid() && !host.IsUnspecified() && host.String() != "127.0.0.1" {
		sans = append(sans, host.String())
	}
	sans = append(sans, r.furtherNames()...)
	return nodeconfig.Cluster{
		Name:              c.Name,
		KubernetesVersion: c.KubernetesVersion,
		PodCIDR:           c.PodCIDR,
		ServiceCIDR:       c.ServiceCIDR,
		DNSDomain:         c.DNSDomain,
		Endpoint:          r.insideEndpoint(),
		CertSANs:          sans,
		KubeProxyMode:     c.KubeProxyMode,
		FeatureGates:      c.FeatureGates,
		RuntimeConfig:     c.RuntimeConfig,
		Patches:           c.Patches,
		NodeSettings:      c.NodeSettings,
		ControlPlanes:     r.controlPlaneMembers(),
	}
}

// furtherNames are those of the API servers in a cluster with IPv6: kubeadm names the
// first address of each machine only.
func (r *run) furtherNames() []string {
	if _, ipv6 := r.cluster.families(); !ipv6 {
		return nil
	}
	names := []string{netip.IPv6Loopback().String()}
	all := []machines.Machine{r.balancer}
	for _, m := range r.controlPlanes {
		all = append(all, m.Machine)
	}
	for _, m := range all {
		for i, a := range r.cluster.addresses(m) {
			if i > 0 {
				names = append(names, a.String())
			}
		}
	}
	return names
}

// progress is how far kubeadm has come in a machine.
type progress string

const (
	untouched    progress = ""
	bootstrapped progress = "bootstrapped"
	// upgrading is a node whose machine has another image, and nothing else yet.
	upgrading progress = "upgrading"
	// joining is a control plane that was to join others and has not come to the end.
	joining progress = "joining"
	// kept is a machine that has etcd's data, and nothing of what is not on disks.
	kept progress = "kept"
)

// condition is what a machine says of itself: settings are nil where they are not
// known.
type condition struct {
	progress progress
	settings nodeconfig.Settings
}

func (r *run) condition(ctx context.Context, m machines.Machine) (condition, error) {
	found, err := r.script(ctx, m, probeScript)
	var c condition
	for line := range strings.Lines(found) {
		if settings := nodeconfig.ReadSettings(line); settings != nil {
			c.settings = settings
		} else {
			c.progress = progress(strings.TrimSpace(line))
		}
	}
	return c, err
}

// node is what a machine is to be configured as.
func (r *run) node(m machines.Machine, pool Pool) nodeconfig.Node {
	addresses := r.cluster.addresses(m)
	var second netip.Addr
	if len(addresses) > 1 {
		second = addresses[1]
	}
	return nodeconfig.Node{
		Name: m.Hostname, Role: pool.Role, Address: addresses[0], SecondAddress: second,
		Labels: pool.nodeLabels(), Taints: pool.taints(), MaxPods: pool.MaxPods, Kubelet: pool.Kubelet, Patches: pool.Patches, Settings: pool.NodeSettings,
		CPUs: pool.CPUs, MemoryBytes: pool.MemoryBytes,
	}
}
