package cli

import (
	"bytes"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

func TestPlanUpgrade(t *testing.T) {
	machine := func(name, pool string, role v1alpha1.MachineRole, version string) v1alpha1.Machine {
		m := v1alpha1.Machine{Spec: v1alpha1.MachineSpec{Pool: pool, Role: role, KubernetesVersion: version}, Status: v1alpha1.MachineStatus{State: "Running", NodeName: name}}
		m.Name = name
		return m
	}
	shoot := &gardencorev1beta1.Shoot{}
	shoot.Name, shoot.Spec.Kubernetes.Version = "demo", "1.36.2"
	shoot.Spec.Provider.Workers = []gardencorev1beta1.Worker{{Name: "zeta"}, {Name: "alpha"}}
	controlPlane := machine("demo-control-plane-0", "control-plane", v1alpha1.RoleControlPlane, "v1.36.2")
	all := []v1alpha1.Machine{
		machine("demo-alpha-0", "alpha", v1alpha1.RoleWorker, "v1.36.2"),
		machine("demo-zeta-10", "zeta", v1alpha1.RoleWorker, "v1.36.2"),
		machine("demo-zeta-9", "zeta", v1alpha1.RoleWorker, "v1.36.2"),
		machine("demo-zeta-8", "zeta", v1alpha1.RoleWorker, "v1.36.3"),
		controlPlane,
	}
	for name, test := range map[string]struct {
		version  string
		machines []v1alpha1.Machine
		want     string
	}{
		"whole": {"1.36.3", all, `Cluster "demo" goes from Kubernetes 1.36.2 to 1.36.3, one node after the other:
NODE                   POOL            FROM     TO       PODS
demo-control-plane-0   control-plane   1.36.2   1.36.3   move to other nodes
demo-zeta-9            zeta            1.36.2   1.36.3   move to other nodes
demo-zeta-10           zeta            1.36.2   1.36.3   move to other nodes
demo-alpha-0           alpha           1.36.2   1.36.3   move to other nodes
`},
		"one node": {"1.36.3", []v1alpha1.Machine{controlPlane}, `Cluster "demo" goes from Kubernetes 1.36.2 to 1.36.3, one node after the other:
NODE                   POOL            FROM     TO       PODS
demo-control-plane-0   control-plane   1.36.2   1.36.3   stop meanwhile
`},
		"several control planes": {"1.36.3", []v1alpha1.Machine{
			controlPlane, machine("demo-control-plane-1", "control-plane", v1alpha1.RoleControlPlane, "v1.36.2"), machine("demo-balancer", "balancer", v1alpha1.RoleBalancer, "v1.36.2"),
		}, `Cluster "demo" goes from Kubernetes 1.36.2 to 1.36.3, one node after the other:
NODE                   POOL            FROM     TO       PODS
demo-balancer          balancer        1.36.2   1.36.3   has none
demo-control-plane-0   control-plane   1.36.2   1.36.3   move to other nodes
demo-control-plane-1   control-plane   1.36.2   1.36.3   move to other nodes
`},
		"nothing to do": {"1.36.2", []v1alpha1.Machine{controlPlane}, "Cluster \"demo\": all nodes have Kubernetes 1.36.2\n"},
	} {
		var out bytes.Buffer
		plan := planUpgrade(shoot, test.version, test.machines)
		if err := plan.print(&out); err != nil || out.String() != test.want {
			t.Errorf("%s: got\n%s%v\nwant\n%s", name, out.String(), err, test.want)
		}
		out.Reset()
		if err := printData(&out, "json", plan, nil); err != nil || !strings.Contains(out.String(), `"steps": [`) {
			t.Errorf("%s: got %s, %v", name, out.String(), err)
		}
	}
}

func TestRaise(t *testing.T) {
	own := "1.36.2"
	spec := &gardencorev1beta1.ShootSpec{}
	spec.Provider.Workers = []gardencorev1beta1.Worker{{Name: "follows"}, {Name: "names", Kubernetes: &gardencorev1beta1.WorkerKubernetes{Version: &own}}}
	raise(spec, "1.36.3")
	if spec.Kubernetes.Version != "1.36.3" || spec.Provider.Workers[0].Kubernetes != nil || *spec.Provider.Workers[1].Kubernetes.Version != "1.36.3" {
		t.Errorf("got %+v", spec)
	}
	if own != "1.36.2" {
		t.Error("what was there before was changed")
	}
}
