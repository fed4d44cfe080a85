package maintenance

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/garden/releases"
)

// removeFields takes out what the API refuses for the new version: an update
// that is forced must not fail because of it.
func (p *plan) removeFields(facts facts) {
	spec, version := &p.shoot.Spec, p.shoot.Spec.Kubernetes.Version
	remove := func(field releases.Field, set bool, clear func()) {
		if set && field.Gone(version) {
			clear()
			p.add(p.removal(controlPlane, field.Path, "Kubernetes "+field.Since+" and newer do not have it"))
		}
	}
	if c := spec.Kubernetes.KubeControllerManager; c != nil {
		remove(releases.PodEvictionTimeout(), c.PodEvictionTimeout != nil, func() { c.PodEvictionTimeout = nil })
	}
	if c := spec.Kubernetes.ClusterAutoscaler; c != nil {
		remove(releases.MaxEmptyBulkDelete(), c.MaxEmptyBulkDelete != nil, func() { c.MaxEmptyBulkDelete = nil })
	}
	if releases.SecretBindingName().Gone(version) {
		p.migrateBinding(facts)
	}
	if c := spec.Kubernetes.KubeAPIServer; c != nil {
		remove(releases.AnonymousAuthentication(), c.EnableAnonymousAuthentication != nil, func() { c.EnableAnonymousAuthentication = nil })
		if sizes := c.WatchCacheSizes; sizes != nil {
			remove(releases.DefaultWatchCacheSize(), sizes.Default != nil, func() { sizes.Default = nil })
		}
	}
	if c := spec.Kubernetes.KubeScheduler; c != nil {
		remove(releases.KubeMaxPDVols(), c.KubeMaxPDVols != nil, func() { c.KubeMaxPDVols = nil })
	}
	if addons := spec.Addons; addons != nil {
		dashboard, nginx := addons.KubernetesDashboard, addons.NginxIngress
		remove(releases.KubernetesDashboard(), dashboard != nil && dashboard.Enabled, func() { addons.KubernetesDashboard = nil })
		remove(releases.NginxIngress(), nginx != nil && nginx.Enabled, func() { addons.NginxIngress = nil })
	}
	if spec.DNS == nil {
		return
	}
	for i := range spec.DNS.Providers {
		provider := &spec.DNS.Providers[i]
		remove(releases.DNSProviderSecretName(), provider.SecretName != nil, func() {
			if provider.CredentialsRef == nil {
				provider.CredentialsRef = &autoscalingv1.CrossVersionObjectReference{APIVersion: "v1", Kind: "Secret", Name: *provider.SecretName}
			}
			provider.SecretName = nil
		})
	}
}

// disableNginx switches the addon off where the operator has it no more. Its
// other settings stay, for a version that has the addon accepts them.
func (p *plan) disableNginx(facts facts) {
	addons := p.shoot.Spec.Addons
	if !facts.disableNginx || addons == nil || addons.NginxIngress == nil || !addons.NginxIngress.Enabled {
		return
	}
	addons.NginxIngress.Enabled = false
	what := "spec.addons.nginxIngress"
	p.add(result{subject: controlPlane, what: what, done: "Disabled " + what, reason: "the feature gate DisableNginxIngressInShoot is on"})
}

func (p *plan) removal(subject, what, reason string) result {
	return result{subject: subject, what: what, done: "Removed " + what, reason: reason}
}

// removeGates takes out feature gates that the components of the new versions do
// not start with: those that they do not have, and values that can no longer be
// chosen.
func (p *plan) removeGates() {
	spec := &p.shoot.Spec
	version := spec.Kubernetes.Version
	if c := spec.Kubernetes.KubeAPIServer; c != nil {
		p.removeGatesOf(controlPlane, "kube-apiserver", version, c.FeatureGates)
	}
	if c := spec.Kubernetes.KubeControllerManager; c != nil {
		p.removeGatesOf(controlPlane, "kube-controller-manager", version, c.FeatureGates)
	}
	if c := spec.Kubernetes.KubeScheduler; c != nil {
		p.removeGatesOf(controlPlane, "kube-scheduler", version, c.FeatureGates)
	}
	if c := spec.Kubernetes.KubeProxy; c != nil {
		p.removeGatesOf(controlPlane, "kube-proxy", version, c.FeatureGates)
	}
	if c := spec.Kubernetes.Kubelet; c != nil {
		p.removeGatesOf(controlPlane, "kubelet", version, c.FeatureGates)
	}
	for i := range spec.Provider.Workers {
		worker := &spec.Provider.Workers[i]
		if worker.Kubernetes != nil && worker.Kubernetes.Kubelet != nil {
			p.removeGatesOf(pool(worker.Name), "kubelet", workerVersion(p.shoot, worker), worker.Kubernetes.Kubelet.FeatureGates)
		}
	}
}

func (p *plan) removeGatesOf(subject, component, version string, gates map[string]bool) {
	var removed []string
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		if !startsWith(name, gates[name], version) {
			delete(gates, name)
			removed = append(removed, name)
		}
	}
	if len(removed) > 0 {
		p.add(p.removal(subject, fmt.Sprintf("feature gates from %q: %s", component, strings.Join(removed, ", ")), fmt.Sprintf("Kubernetes %s does not know them", version)))
	}
}

// startsWith tells whether components of a version start with a gate.
func startsWith(name string, value bool, version string) bool {
	if !releases.HasFeatureGate(name, version) {
		return false
	}
	gate, found := releases.FeatureGate(name)
	to, fixed := gate.Fixed(version)
	return !found || !fixed || value == to
}

// removePlugins takes out admission plugins that the new API server does not have.
func (p *plan) removePlugins() {
	server, version := p.shoot.Spec.Kubernetes.KubeAPIServer, p.shoot.Spec.Kubernetes.Version
	if server == nil {
		return
	}
	var removed []string
	server.AdmissionPlugins = slices.DeleteFunc(server.AdmissionPlugins, func(plugin gardencorev1beta1.AdmissionPlugin) bool {
		gone := !releases.HasAdmissionPlugin(plugin.Name, version)
		if gone {
			removed = append(removed, plugin.Name)
		}
		return gone
	})
	if len(removed) > 0 {
		p.add(p.removal(controlPlane, "admission plugins from \"kube-apiserver\": "+strings.Join(removed, ", "), fmt.Sprintf("Kubernetes %s does not know them", version)))
	}
}

// Bindings that maintenance made carry this label.
const (
	bindingStatus = "credentialsbinding.gardener.cloud/status"
	forceMigrated = "force-migrated"
)

// migrateBinding replaces a Shoot's SecretBinding by a CredentialsBinding of the
// same Secret: the one that was made for this before, or the first by name that
// says the same, or a new one.
func (p *plan) migrateBinding(facts facts) {
	name := p.shoot.Spec.SecretBindingName
	if name == nil {
		return
	}
	field := releases.SecretBindingName()
	done := result{subject: controlPlane, what: field.Path, reason: fmt.Sprintf("Kubernetes %s and newer do not have it", field.Since)}
	if facts.secretBinding == nil {
		done.problem = fmt.Sprintf("there is no secret binding %q to take the credentials from", *name)
		p.add(done)
		return
	}
	wanted := bindingFor(facts)
	to := wanted.Name
	if found := sameBinding(facts.credentialsBindings, wanted); found != "" {
		to = found
	} else {
		p.binding = wanted
	}
	done.done = fmt.Sprintf("Migrated spec.secretBindingName %q to spec.credentialsBindingName %q", *name, to)
	p.shoot.Spec.SecretBindingName, p.shoot.Spec.CredentialsBindingName = nil, &to
	p.add(done)
}

// bindingFor is a binding of the same Secret and quotas.
func bindingFor(facts facts) *securityv1alpha1.CredentialsBinding {
	from := facts.secretBinding
	namespace := from.SecretRef.Namespace
	if namespace == "" {
		namespace = from.Namespace
	}
	binding := &securityv1alpha1.CredentialsBinding{
		ObjectMeta:     metav1.ObjectMeta{Namespace: from.Namespace, Name: forceMigrated + "-" + from.Name, Labels: map[string]string{bindingStatus: forceMigrated}},
		CredentialsRef: corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: namespace, Name: from.SecretRef.Name},
		Quotas:         slices.Clone(from.Quotas),
	}
	if from.Provider != nil {
		binding.Provider.Type = from.Provider.Type
	}
	return binding
}

// sameBinding names the binding to reuse; empty if there is none.
func sameBinding(all []securityv1alpha1.CredentialsBinding, wanted *securityv1alpha1.CredentialsBinding) string {
	var same []string
	for i := range all {
		b := &all[i]
		switch {
		case b.DeletionTimestamp != nil:
		case b.Name == wanted.Name:
			return b.Name
		case b.Provider.Type == wanted.Provider.Type && sameObject(b.CredentialsRef, wanted.CredentialsRef) && sameObjects(b.Quotas, wanted.Quotas):
			same = append(same, b.Name)
		}
	}
	if len(same) == 0 {
		return ""
	}
	return slices.Min(same)
}

// sameObject compares what is referred to; a kind that is left out is the same.
func sameObject(a, b corev1.ObjectReference) bool {
	return a.Namespace == b.Namespace && a.Name == b.Name && (a.Kind == b.Kind || a.Kind == "" || b.Kind == "")
}

// sameObjects compares lists without their order.
func sameObjects(a, b []corev1.ObjectReference) bool {
	names := func(refs []corev1.ObjectReference) []string {
		var all []string
		for _, ref := range refs {
			all = append(all, ref.Namespace+"/"+ref.Name)
		}
		return slices.Sorted(slices.Values(all))
	}
	return slices.Equal(names(a), names(b))
}
