// Package provider reads what a Shoot of provider type local holds in its
// provider configurations (loam.dev/v1alpha1): strictly, and with every problem
// at the path of its field. The garden refuses Shoots by it, flows build by it.
//
// It must not know the rest of a Shoot.
package provider

import (
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/json"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/patching"
)

// Kinds of provider configurations.
const (
	KindControlPlaneConfig = "ControlPlaneConfig"
	KindWorkerConfig       = "WorkerConfig"
)

// ControlPlane reads spec.provider.controlPlaneConfig; nil gives an empty one.
func ControlPlane(raw *runtime.RawExtension, path *field.Path) (v1alpha1.ControlPlaneConfig, field.ErrorList) {
	var c v1alpha1.ControlPlaneConfig
	if empty(raw) {
		return c, nil
	}
	errs := decode(raw.Raw, &c, &c.TypeMeta, KindControlPlaneConfig, path)
	if len(errs) > 0 {
		return c, errs
	}
	if s := c.APIServer; s != nil {
		_, problems := address(s.Address, path.Child("apiServer", "address"))
		errs = append(errs, problems...)
		errs = append(errs, portOrZero(s.Port, path.Child("apiServer", "port"))...)
	}
	_, problems := Ports(c.PortMappings, path.Child("portMappings"))
	errs = append(errs, problems...)
	for i, m := range c.PortMappings {
		if strings.EqualFold(m.Protocol, "SCTP") {
			errs = append(errs, field.NotSupported(path.Child("portMappings").Index(i).Child("protocol"), m.Protocol, []string{"TCP", "UDP"}))
		}
	}
	errs = append(errs, checkSearch(c.DNSSearch, path.Child("dnsSearch"))...)
	errs = append(errs, checkProxy(c.Proxy, path.Child("proxy"))...)
	errs = append(errs, patching.Check(c.KubeadmPatches, path)...)
	return c, append(errs, patching.CheckContainerd(c, path)...)
}

// Worker reads workers[].providerConfig of a pool with so many machines; nil
// gives an empty one.
func Worker(raw *runtime.RawExtension, machines int, path *field.Path) (v1alpha1.WorkerConfig, field.ErrorList) {
	var c v1alpha1.WorkerConfig
	if empty(raw) {
		return c, nil
	}
	errs := decode(raw.Raw, &c, &c.TypeMeta, KindWorkerConfig, path)
	if len(errs) > 0 {
		return c, errs
	}
	errs = append(errs, checkMounts(c.ExtraMounts, path.Child("extraMounts"))...)
	ports, problems := Ports(c.ExtraPortMappings, path.Child("extraPortMappings"))
	errs = append(errs, problems...)
	if machines > 1 {
		for _, p := range ports {
			if p.Host != 0 {
				errs = append(errs, field.Invalid(p.Path, p.Host, fmt.Sprintf("the pool has %d machines, and a port of the host can be only one's: leave it out to get a free one for each", machines)))
			}
		}
	}
	return c, append(errs, patching.Check(c.KubeadmPatches, path)...)
}

func empty(raw *runtime.RawExtension) bool { return raw == nil || len(raw.Raw) == 0 }

// decode reads JSON strictly and names every field that is not known, and a kind
// that is not the wanted one.
func decode(text []byte, into any, meta *metav1.TypeMeta, wanted string, path *field.Path) field.ErrorList {
	unknown, err := json.UnmarshalStrict(text, into)
	if err != nil {
		return field.ErrorList{field.Invalid(path, string(text), err.Error())}
	}
	var errs field.ErrorList
	for _, problem := range unknown {
		var at interface{ FieldPath() string }
		if errors.As(problem, &at) {
			errs = append(errs, field.Forbidden(path.Child(at.FieldPath()), problem.Error()))
			continue
		}
		errs = append(errs, field.Invalid(path, string(text), problem.Error()))
	}
	if have := v1alpha1.SchemeGroupVersion.String(); meta.APIVersion != have {
		errs = append(errs, field.NotSupported(path.Child("apiVersion"), meta.APIVersion, []string{have}))
	}
	if meta.Kind != wanted {
		errs = append(errs, field.NotSupported(path.Child("kind"), meta.Kind, []string{wanted}))
	}
	return errs
}
