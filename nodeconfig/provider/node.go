package provider

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/profile"
)

// Settings are node settings and the path that they stand at.
type Settings struct {
	Raw  *runtime.RawExtension
	Path *field.Path
}

// Node reports what nodes cannot be configured with: settings of all nodes of a cluster,
// and of those of one pool, on top of the profile kubernetes. That a value contradicts
// another is reported at the last settings that there are.
func Node(role v1alpha1.MachineRole, kubernetesVersion string, settings ...Settings) field.ErrorList {
	p, err := profile.Load(profile.Kubernetes)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	var last *Settings
	for i, s := range settings {
		if empty(s.Raw) {
			continue
		}
		with, errs := p.With("the Shoot", s.Path, s.Raw.Raw)
		if len(errs) > 0 {
			return errs
		}
		p, last = with, &settings[i]
	}
	if last == nil {
		return nil
	}
	if _, err := p.Resolve(profile.Input{Role: role, KubernetesVersion: kubernetesVersion, Container: true}); err != nil {
		return field.ErrorList{field.Invalid(last.Path, field.OmitValueType{}, err.Error())}
	}
	return nil
}
