// Package forecast says what a change of a Shoot will do to the machines of its
// cluster. Commands show it before they make the change.
//
// It must not change anything, nor ask anyone: the Shoots and machines come in.
package forecast

import (
	"cmp"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/controllers/shoot/internal/target"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
	"github.com/loam-cloud/loam/shoots/plan"
)

// Steps are what the flow will do to the machines that there are, in its order.
// What settings machines have is taken from the Shoot before the change.
//
// Faults: Invalid for a Shoot that no cluster can be made of.
func Steps(before, after *gardencorev1beta1.Shoot, existing []v1alpha1.Machine) ([]plan.Step, error) {
	was, err := wanted(before)
	if err != nil {
		return nil, err
	}
	want, err := wanted(after)
	if err != nil {
		return nil, err
	}
	known := map[string]plan.Machine{}
	for _, m := range was {
		known[m.Node] = m
	}
	have := make([]plan.Machine, 0, len(existing))
	for _, m := range existing {
		node := cmp.Or(m.Status.NodeName, m.Name)
		is := known[node]
		is.Node, is.Pool, is.Role = node, m.Spec.Pool, m.Spec.Role
		// Machines say it since the last operation of an agent that knows it.
		is.Version = cmp.Or(m.Spec.KubernetesVersion, version(before))
		is.Off = m.Status.State != string(machines.StateRunning)
		if is.Role == v1alpha1.RoleBalancer {
			is.Settings = nodeconfig.Settings{}
		}
		have = append(have, is)
	}
	return plan.Make(have, want), nil
}

func version(shoot *gardencorev1beta1.Shoot) string {
	return "v" + strings.TrimPrefix(shoot.Spec.Kubernetes.Version, "v")
}

func wanted(shoot *gardencorev1beta1.Shoot) ([]plan.Machine, error) {
	cluster, err := target.Cluster(shoot)
	if err != nil {
		return nil, err
	}
	return cluster.Machines()
}
