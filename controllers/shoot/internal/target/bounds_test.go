package target_test

import (
	"errors"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/loam-cloud/loam/controllers/shoot/internal/target"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/scheme"
)

func machineTypes(name, cpu, memory string) []gardencorev1beta1.MachineType {
	return []gardencorev1beta1.MachineType{{Name: "local", CPU: resource.MustParse("1"), Memory: resource.MustParse("1Gi")}, {Name: name, CPU: resource.MustParse(cpu), Memory: resource.MustParse(memory)}}
}

func TestBound(t *testing.T) {
	profile := &gardencorev1beta1.CloudProfile{ObjectMeta: metav1.ObjectMeta{Name: "local"}, Spec: gardencorev1beta1.CloudProfileSpec{MachineTypes: machineTypes("half", "1500m", "2Gi")}}
	own := &gardencorev1beta1.NamespacedCloudProfile{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: "own"},
		Status: gardencorev1beta1.NamespacedCloudProfileStatus{CloudProfileSpec: gardencorev1beta1.CloudProfileSpec{MachineTypes: machineTypes("mine", "3", "4Gi")}}}
	c := clientfake.NewClientBuilder().WithScheme(scheme.Client()).WithObjects(profile, own).Build()
	for name, tc := range map[string]struct {
		profile, kind, machine string
		cpus                   float64
		memory                 int64
		// want is the problem.
		want string
		kd   fault.Kind
	}{
		"without a bound":                  {"local", "CloudProfile", "local", 0, 0, "", ""},
		"without a bound, without profile": {"none", "CloudProfile", "local", 0, 0, "", ""},
		"bounded":                          {"local", "CloudProfile", "half", 1.5, 2 << 30, "", ""},
		"by a profile of the project":      {"own", "NamespacedCloudProfile", "mine", 3, 4 << 30, "", ""},
		"a type that is gone":              {"local", "CloudProfile", "gone", 0, 0, `spec.provider.workers[0].machine.type: Unsupported value: "gone": supported values: "half", "local"`, fault.Invalid},
		"a profile that is gone":           {"none", "CloudProfile", "half", 0, 0, `reading cloud profile "none"`, fault.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			s := shoot(func(s *gardencorev1beta1.ShootSpec) {
				s.CloudProfile = &gardencorev1beta1.CloudProfileReference{Kind: tc.kind, Name: tc.profile}
				w := worker("w", 1)
				w.Machine.Type = tc.machine
				s.Provider.Workers = []gardencorev1beta1.Worker{w}
			})
			cluster, err := target.Cluster(s)
			if err != nil {
				t.Fatal(err)
			}
			err = target.Bound(t.Context(), c, s, &cluster)
			if tc.want != "" {
				if !errors.Is(err, tc.kd) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got %v (%s), want %q", err, fault.KindOf(err), tc.want)
				}
				return
			}
			if w := cluster.Pools[1]; err != nil || w.CPUs != tc.cpus || w.MemoryBytes != tc.memory {
				t.Errorf("got %v CPUs, %d bytes, %v", w.CPUs, w.MemoryBytes, err)
			}
			if cp := cluster.Pools[0]; cp.CPUs != 0 || cp.MemoryBytes != 0 {
				t.Errorf("a control plane of its own is bounded: %+v", cp)
			}
		})
	}
	old := shoot(func(s *gardencorev1beta1.ShootSpec) {
		s.CloudProfileName = ptr.To("local")
		w := controlPlane("cp", 1)
		w.Machine.Type = "half"
		s.Provider.Workers = []gardencorev1beta1.Worker{w}
	})
	cluster, err := target.Cluster(old)
	if err == nil {
		err = target.Bound(t.Context(), c, old, &cluster)
	}
	if err != nil || cluster.Pools[0].CPUs != 1.5 {
		t.Errorf("a control plane by the old name of the profile: %v, %+v", err, cluster.Pools)
	}
}
