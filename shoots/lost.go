package shoots

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
)

// A control plane of a cluster that was whole once may be lost:
//
//	machine gone, disks there   made again on them, with its address: kubeadm makes
//	                            the files that were not on disks
//	disks gone, most others     etcd forgets it, then a machine on empty disks joins
//	are there                   as one that learns, and gets a vote once it knows all
//	most disks gone             refused: whatever would be made knew nothing
//
// A machine that has begun to join and has not come to the end is as good as lost,
// so whatever ends that, the next run begins it anew.

// joiningPath is in a machine that is to join from before its first boot until it
// has.
const joiningPath = "/etc/loam/joining"

// part sets those machines of the control plane aside that are lost. Fault: Invalid
// if most are.
func (r *run) part(all []controlPlane, lost func(controlPlane) bool) error {
	var kept []controlPlane
	for _, m := range all {
		if lost(m) {
			r.lost = append(r.lost, m)
		} else {
			kept = append(kept, m)
		}
	}
	// Where none is lost, steps that only need an API server may be looking at them.
	if len(kept) != len(r.controlPlanes) {
		r.controlPlanes = kept
	}
	n := len(r.controlPlanes) + len(r.lost)
	const advice = "whatever is left is kept; once nothing in it is needed, delete the cluster and create it again"
	switch {
	case len(r.controlPlanes) > n/2:
		return nil
	case n == 1:
		return fault.New(fault.Invalid, "cluster %q: the machine of its control plane is gone, and its disks with it: a new one would begin with an empty cluster; %s", r.cluster.Name, advice)
	}
	return fault.New(fault.Invalid, "cluster %q: of its %d control planes %d are gone, and their disks with them: without a majority etcd takes no new member; %s", r.cluster.Name, n, len(r.lost), advice)
}

// outsideEtcd tells whether a machine of a cluster that was whole once is no member
// of its etcd: its disks are empty, or it has not come to the end of joining.
func (r *run) outsideEtcd(m controlPlane) bool {
	return r.cluster.Established && (m.done == untouched || m.done == joining)
}

// likeOthers has a machine begin with the version of the control planes that there
// are, which may be older than the cluster's: then all are upgraded after that.
func (r *run) likeOthers(spec *machines.Spec) {
	if others := withRole(r.existing, v1alpha1.RoleControlPlane); len(others) > 0 {
		spec.Image, spec.Labels[labelVersion] = others[0].Image, others[0].Labels[labelVersion]
	}
}

// reviveScript has kubeadm make what a machine had besides its disks.
const reviveScript = bootstrapHead + nodeconfig.AwaitSystemd + `
systemctl daemon-reload 9>&-
systemctl start ` + nodeconfig.BootstrapUnit + ` 9>&- || { cat ` + nodeconfig.InitLogPath + ` >&2; exit 1; }
` + nodeconfig.ReleaseScript + `
: >` + nodeconfig.BootstrappedPath + `
systemctl restart kubelet 9>&-
`

// revive makes a machine what it was that was made again on its disks.
func (r *run) revive(ctx context.Context, m controlPlane) error {
	files, err := r.controlPlaneFiles(m)
	if err != nil {
		return err
	}
	if err := r.put(ctx, m.Machine, files); err != nil {
		return err
	}
	_, err = r.script(ctx, m.Machine, reviveScript)
	return err
}

// joinControlPlanes makes those anew that are lost, one after the other: the others
// keep their majority. Nothing of them is left before, so that what is still at work
// in one does not join after it was forgotten.
func (r *run) joinControlPlanes(ctx context.Context) error {
	if len(r.lost) == 0 {
		return nil
	}
	// Only a majority tells.
	if _, err := r.etcdMembers(ctx); err != nil {
		return err
	}
	for _, m := range r.lost {
		if err := r.Machines.Delete(ctx, r.cluster.ID, m.member.name); err != nil {
			return fmt.Errorf("removing machine %q: %w", m.member.name, err)
		}
	}
	if err := poll(ctx, r.Clock, r.forgetMembers); err != nil {
		return fmt.Errorf("taking lost members out of etcd: %w", err)
	}
	for _, m := range r.lost {
		if err := r.joinControlPlane(ctx, m); err != nil {
			return fmt.Errorf("making control plane %q anew: %w", m.member.name, err)
		}
	}
	r.lost = nil
	return nil
}

func (r *run) joinControlPlane(ctx context.Context, m controlPlane) error {
	spec := r.cluster.spec(m.member)
	if err := r.removeNode(ctx, spec.Hostname); err != nil {
		return err
	}
	if err := r.asRecorded(ctx, &spec); err != nil {
		return err
	}
	var err error
	if m.Machine, err = r.create(ctx, spec); err != nil {
		return err
	}
	if err := r.put(ctx, m.Machine, []nodeconfig.File{{Path: joiningPath, Mode: 0o644}}); err != nil {
		return err
	}
	token, err := r.mintToken(ctx)
	if err != nil {
		return err
	}
	join := nodeconfig.Join{Server: "https://" + r.insideEndpoint(), CA: r.authorities["ca.crt"], Token: token}
	files, err := nodeconfig.JoinFiles(r.clusterOf(m.Machine), r.node(m.Machine, m.member.pool), join)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	kept, err := r.settingsFile(m.member.pool)
	if err != nil {
		return err
	}
	if err := r.put(ctx, m.Machine, slices.Concat(r.authorities.files(), files, kept)); err != nil {
		return err
	}
	if err := r.boot(ctx, m.Machine); err != nil {
		return err
	}
	if _, err := r.script(ctx, m.Machine, joinScript); err != nil {
		return err
	}
	r.controlPlanes = append(r.controlPlanes, m)
	slices.SortFunc(r.controlPlanes, func(a, b controlPlane) int { return cmp.Compare(a.place, b.place) })
	if err := r.awaitServer(ctx, r.api, m.Machine); err != nil {
		return err
	}
	return r.bootBalancer(ctx)
}

// removeNode removes a node that is gone, with the pods by which its kubelet told of
// its control plane: they say of the old one that it is ready.
func (r *run) removeNode(ctx context.Context, name string) error {
	return poll(ctx, r.Clock, func(ctx context.Context) error {
		node := &corev1.Node{}
		node.Name = name
		if err := client.IgnoreNotFound(r.api.Delete(ctx, node)); err != nil {
			return fmt.Errorf("removing node %q: %w", name, classify(err))
		}
		var pods corev1.PodList
		if err := r.api.List(ctx, &pods, client.InNamespace(metav1.NamespaceSystem), client.MatchingLabels{"tier": "control-plane"}); err != nil {
			return classify(err)
		}
		for _, pod := range pods.Items {
			if pod.Spec.NodeName != name {
				continue
			}
			if err := client.IgnoreNotFound(r.api.Delete(ctx, &pod, client.GracePeriodSeconds(0))); err != nil {
				return fmt.Errorf("removing pod %q: %w", pod.Name, classify(err))
			}
		}
		return nil
	})
}

// asRecorded has a machine begin with the version that kubeadm has written down in
// the cluster, and looks for when a machine joins: with an upgrade half done that may
// be newer than what the control planes have that are left.
func (r *run) asRecorded(ctx context.Context, spec *machines.Spec) error {
	var recorded string
	err := poll(ctx, r.Clock, func(ctx context.Context) error {
		var config corev1.ConfigMap
		if err := r.api.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "kubeadm-config"}, &config); err != nil {
			return fmt.Errorf("reading what kubeadm has written down: %w", classify(err))
		}
		var cluster struct {
			KubernetesVersion string `json:"kubernetesVersion"`
		}
		err := yaml.Unmarshal([]byte(config.Data["ClusterConfiguration"]), &cluster)
		recorded = cluster.KubernetesVersion
		return fault.Wrap(fault.Invalid, err)
	})
	if err != nil || recorded == spec.Labels[labelVersion] {
		return err
	}
	for _, m := range r.controlPlanes {
		if m.Labels[labelVersion] == recorded {
			spec.Image, spec.Labels[labelVersion] = m.Image, recorded
			return nil
		}
	}
	return fault.New(fault.Invalid, "kubeadm has written down that the cluster has Kubernetes %q, and no control plane has that", recorded)
}
