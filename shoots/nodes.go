package shoots

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
)

func (r *run) createControlPlane(ctx context.Context) error {
	m, err := r.create(ctx, r.cluster.members(v1alpha1.RoleControlPlane)[0])
	r.controlPlane = m
	return err
}

func (r *run) createWorkers(ctx context.Context) error {
	members := r.cluster.members(v1alpha1.RoleWorker)
	r.workers = make([]machines.Machine, len(members))
	return each(ctx, indices(members), func(ctx context.Context, i int) error {
		m, err := r.create(ctx, members[i])
		r.workers[i] = m
		return err
	})
}

func (r *run) create(ctx context.Context, m member) (machines.Machine, error) {
	created, err := r.Machines.Create(ctx, r.cluster.spec(m))
	if err != nil {
		return created, fmt.Errorf("creating machine %q: %w", m.name, err)
	}
	if len(created.Addresses) == 0 {
		return created, fault.New(fault.Internal, "machine %q has no address", m.name)
	}
	return created, nil
}

// bootControlPlane puts the cluster's keys into the machine before its first
// boot. A machine that has been started once got them then.
func (r *run) bootControlPlane(ctx context.Context) error {
	if r.controlPlane.State == machines.StateCreated {
		if err := r.put(ctx, r.controlPlane, r.authorities.files()); err != nil {
			return err
		}
	}
	return r.boot(ctx, r.controlPlane)
}

func (r *run) bootWorkers(ctx context.Context) error {
	return each(ctx, r.workers, r.boot)
}

func (r *run) boot(ctx context.Context, m machines.Machine) error {
	if err := r.Machines.Start(ctx, m.Cluster, m.Name); err != nil {
		return fmt.Errorf("starting machine %q: %w", m.Name, err)
	}
	return nil
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

// probeScript tells whether kubeadm has done its work in the machine and, where
// it has not, which version of cgroups there is: the second is the one that
// lists its controllers in a file.
const probeScript = `
if test -e ` + upgradingPath + `; then
  echo upgrading
elif test -e /etc/loam/bootstrapped; then
  echo bootstrapped
fi
if test -e /sys/fs/cgroup/cgroup.controllers; then
  echo cgroup2
else
  echo cgroup1
fi
`

// bootstrapScript runs kubeadm once in the life of a machine. A second run of
// the flow, after a crash, waits here for a kubeadm that the first one left
// behind; one that was cut short starts over on what is there, which kubeadm's
// phases allow once its checks for an untouched machine are off. The exception
// is a kubelet that has its credentials: kubeadm refuses to join a node that is
// ready, and what it would still do is wait for the kubelet.
//
//	$1 init or join, $2 log file, $3... further arguments
const bootstrapScript = `
mkdir -p /run/loam /var/log/loam
exec 9>/run/loam/bootstrap.lock
flock 9
test ! -e /etc/loam/bootstrapped || exit 0
if test "$1" = join && test -s /etc/kubernetes/kubelet.conf; then
  systemctl restart kubelet 9>&-
  : >/etc/loam/bootstrapped
  exit 0
fi
` + nodeconfig.AwaitContainerd + `
verb=$1; log=$2; shift 2
if ! kubeadm "$verb" --config=` + nodeconfig.KubeadmConfigPath + ` "$@" >"$log" 2>&1 9>&-; then
  cat "$log" >&2
  exit 1
fi
: >/etc/loam/bootstrapped
`

// initialise runs kubeadm init, which starts the control plane from the
// authorities that were put into the machine.
func (r *run) initialise(ctx context.Context) error {
	node, done, err := r.node(ctx, r.controlPlane, r.cluster.members(v1alpha1.RoleControlPlane)[0].pool)
	switch {
	case err != nil || done == bootstrapped:
		return err
	case done == upgrading:
		return r.finishControlPlane(ctx, node)
	}
	token, err := bootstraputil.GenerateBootstrapToken()
	if err != nil {
		return err
	}
	files, err := nodeconfig.InitFiles(r.nodeCluster(), node, token)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if err := r.put(ctx, r.controlPlane, files); err != nil {
		return err
	}
	_, err = r.script(ctx, r.controlPlane, bootstrapScript, "init", "/var/log/loam/kubeadm-init.log", "--ignore-preflight-errors=all", "--skip-token-print")
	return err
}

// joinWorkers makes each worker a node. The token that lets them in is minted
// by the first that needs one, and ends soon after.
func (r *run) joinWorkers(ctx context.Context) error {
	members := r.cluster.members(v1alpha1.RoleWorker)
	token := sync.OnceValues(func() (string, error) { return r.mintToken(ctx) })
	return each(ctx, indices(members), func(ctx context.Context, i int) error {
		m := r.workers[i]
		node, done, err := r.node(ctx, m, members[i].pool)
		switch {
		case err != nil || done == bootstrapped:
			return err
		case done == upgrading:
			return r.finishWorker(ctx, m)
		}
		secret, err := token()
		if err != nil {
			return err
		}
		join := nodeconfig.Join{Server: "https://" + r.insideEndpoint(), CA: r.authorities["ca.crt"], Token: secret}
		files, err := nodeconfig.JoinFiles(r.nodeCluster(), node, join)
		if err != nil {
			return fault.Wrap(fault.Invalid, err)
		}
		if err := r.put(ctx, m, files); err != nil {
			return err
		}
		_, err = r.script(ctx, m, bootstrapScript, "join", "/var/log/loam/kubeadm-join.log", "--ignore-preflight-errors=all")
		return err
	})
}

func (r *run) insideEndpoint() string {
	return netip.AddrPortFrom(r.controlPlane.Addresses[0], APIServerPort).String()
}

func (r *run) nodeCluster() nodeconfig.Cluster {
	c := r.cluster
	sans := []string{"localhost", "127.0.0.1"}
	if host := c.APIServer.HostAddress; host.IsValid() && !host.IsUnspecified() && host.String() != "127.0.0.1" {
		sans = append(sans, host.String())
	}
	return nodeconfig.Cluster{
		Name:              c.Name,
		KubernetesVersion: c.KubernetesVersion,
		PodCIDR:           c.PodCIDR,
		ServiceCIDR:       c.ServiceCIDR,
		DNSDomain:         c.DNSDomain,
		Endpoint:          r.insideEndpoint(),
		CertSANs:          sans,
		KubeProxyMode:     c.KubeProxyMode,
		ControlPlanes:     len(c.members(v1alpha1.RoleControlPlane)),
	}
}

// progress is how far kubeadm has come in a machine.
type progress string

const (
	untouched    progress = ""
	bootstrapped progress = "bootstrapped"
	// upgrading is a node whose machine has another image, and nothing else yet.
	upgrading progress = "upgrading"
)

// node is what a machine is to be configured as, and what of it is done.
func (r *run) node(ctx context.Context, m machines.Machine, pool Pool) (n nodeconfig.Node, done progress, err error) {
	found, err := r.script(ctx, m, probeScript)
	if err != nil {
		return nodeconfig.Node{}, untouched, err
	}
	words := strings.Fields(found)
	for _, known := range []progress{bootstrapped, upgrading} {
		if slices.Contains(words, string(known)) {
			done = known
		}
	}
	n = nodeconfig.Node{
		Name:     m.Hostname,
		Role:     pool.Role,
		Address:  m.Addresses[0],
		Labels:   pool.nodeLabels(),
		Taints:   pool.taints(),
		CgroupV1: slices.Contains(words, "cgroup1"),
		MaxPods:  pool.MaxPods,
	}
	return n, done, nil
}

// tokenLifetime bounds how long a bootstrap token works: longer than the
// slowest join, not a standing secret.
const tokenLifetime = 15 * time.Minute

// mintToken makes a bootstrap token that lets nodes join, and leaves it to the
// cluster's token cleaner to remove it.
func (r *run) mintToken(ctx context.Context) (string, error) {
	token, err := bootstraputil.GenerateBootstrapToken()
	if err != nil {
		return "", err
	}
	id, secret, _ := strings.Cut(token, ".")
	err = r.api.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: bootstrapapi.BootstrapTokenSecretPrefix + id, Namespace: metav1.NamespaceSystem},
		Type:       bootstrapapi.SecretTypeBootstrapToken,
		StringData: map[string]string{
			bootstrapapi.BootstrapTokenIDKey:               id,
			bootstrapapi.BootstrapTokenSecretKey:           secret,
			bootstrapapi.BootstrapTokenExpirationKey:       r.Clock.Now().Add(tokenLifetime).UTC().Format(time.RFC3339),
			bootstrapapi.BootstrapTokenUsageAuthentication: "true",
			bootstrapapi.BootstrapTokenUsageSigningKey:     "true",
			bootstrapapi.BootstrapTokenExtraGroupsKey:      "system:bootstrappers:kubeadm:default-node-token",
		},
	})
	if err != nil {
		return "", fmt.Errorf("minting a bootstrap token: %w", fault.Wrap(fault.Transient, err))
	}
	return token, nil
}
