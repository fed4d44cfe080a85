package kinds

import (
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"

	loamv1alpha1 "github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/garden/strategy"
	operationrules "github.com/loam-cloud/loam/garden/validation/operations"
)

func loamKinds() []strategy.Kind {
	return []strategy.Kind{
		strategy.Define[loamv1alpha1.Machine, loamv1alpha1.MachineList](strategy.Definition[loamv1alpha1.Machine]{
			Resource: "machines", Singular: "machine",
			Columns: []strategy.Column[loamv1alpha1.Machine]{
				{Name: "Shoot", Description: "Cluster of the machine.", Cell: func(m *loamv1alpha1.Machine) any { return m.Spec.ShootName }},
				{Name: "Pool", Description: "Worker pool of the machine.", Cell: func(m *loamv1alpha1.Machine) any { return m.Spec.Pool }},
				{Name: "Role", Description: "What the machine does.", Cell: func(m *loamv1alpha1.Machine) any { return string(m.Spec.Role) }},
				{Name: "State", Description: "What the driver last saw.", Cell: func(m *loamv1alpha1.Machine) any { return m.Status.State }},
				{Name: "Node", Description: "Node that it became.", Cell: func(m *loamv1alpha1.Machine) any { return m.Status.NodeName }},
				{Name: "Address", Description: "Primary address.", Cell: func(m *loamv1alpha1.Machine) any {
					if len(m.Status.Addresses) == 0 {
						return ""
					}
					return m.Status.Addresses[0]
				}},
				{Name: "Provider", Description: "Driver of the machine.", Wide: true, Cell: func(m *loamv1alpha1.Machine) any { return m.Spec.ProviderType }},
				{Name: "Image", Description: "What the machine booted from.", Wide: true, Cell: func(m *loamv1alpha1.Machine) any { return m.Spec.Image }},
			},
			Fields: func(m *loamv1alpha1.Machine) fields.Set {
				return fields.Set{scheme.MachineShootName: m.Spec.ShootName}
			},
			Validate: alone(func(m, _ *loamv1alpha1.Machine) field.ErrorList { return operationrules.ValidateMachine(m) }),
		}),
	}
}
