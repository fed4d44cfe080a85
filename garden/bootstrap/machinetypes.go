package bootstrap

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/garden/defaulting"
)

// managedTypes is the annotation that lists the machine types which were put into a
// cloud profile from here.
const managedTypes = "loam.dev/machine-types"

// machineTypes are those of a new cloud profile: one without a bound, and some with.
func machineTypes() []corev1beta1.MachineType {
	// What a machine without a bound needs, not what it gets.
	types := []corev1beta1.MachineType{machineType(defaulting.MachineTypeUnbounded, 1, 1)}
	for _, size := range [][2]int64{{1, 1}, {1, 2}, {2, 2}, {2, 4}, {4, 8}, {8, 16}} {
		types = append(types, machineType(fmt.Sprintf("%s-%dc-%dg", Name, size[0], size[1]), size[0], size[1]))
	}
	return types
}

func machineType(name string, cpus, gibibytes int64) corev1beta1.MachineType {
	architecture := runtime.GOARCH
	return corev1beta1.MachineType{
		Name: name, CPU: *resource.NewQuantity(cpus, resource.DecimalSI), Memory: *resource.NewQuantity(gibibytes<<30, resource.BinarySI),
		GPU: *resource.NewQuantity(0, resource.DecimalSI), Architecture: &architecture,
	}
}

// mergeTypes adds machine types that a profile has not had yet, and tells whether it
// did. Those that a user added or changed stay, and one that a user took out is not
// put back.
func mergeTypes(profile *corev1beta1.CloudProfile) bool {
	managed := strings.FieldsFunc(profile.Annotations[managedTypes], func(r rune) bool { return r == ',' })
	changed := false
	for _, t := range machineTypes() {
		if slices.Contains(managed, t.Name) {
			continue
		}
		managed, changed = append(managed, t.Name), true
		if !slices.ContainsFunc(profile.Spec.MachineTypes, func(have corev1beta1.MachineType) bool { return have.Name == t.Name }) {
			profile.Spec.MachineTypes = append(profile.Spec.MachineTypes, t)
		}
	}
	if changed {
		metav1.SetMetaDataAnnotation(&profile.ObjectMeta, managedTypes, strings.Join(managed, ","))
	}
	return changed
}
