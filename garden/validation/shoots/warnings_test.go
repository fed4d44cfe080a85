package shoots_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/garden/validation/shoots"
)

func TestWarnings(t *testing.T) {
	ends := func(after time.Duration) func(*shoots.Facts) {
		return func(f *shoots.Facts) {
			f.Profile.Kubernetes.Versions[1].Lifecycle = append(f.Profile.Kubernetes.Versions[1].Lifecycle,
				core.LifecycleStage{Classification: core.ClassificationExpired, StartTime: &metav1.Time{Time: now.Add(after)}})
		}
	}
	for name, r := range map[string]row{
		"nothing":            {},
		"deprecated version": {change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.36.1" }, want: []string{"spec.kubernetes.version: Kubernetes 1.36.1 is deprecated"}},
		"preview":            {change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.37.0" }, want: []string{"spec.kubernetes.version: Kubernetes 1.37.0 is a preview"}},
		"expires soon":       {facts: ends(29 * 24 * time.Hour), want: []string{"spec.kubernetes.version: Kubernetes 1.36.3 expires on 2026-12-19"}},
		"expires late":       {facts: ends(31 * 24 * time.Hour)},
		"image has expired":  {change: func(s *core.Shoot) { worker(s).Machine.Image.Version = "1300.0.0" }, want: []string{pool + ".machine.image.version: image linux 1300.0.0 has expired"}},
		"secret binding":     {change: func(s *core.Shoot) { s.Spec.SecretBindingName = new("s") }, want: []string{"spec.secretBindingName: is a former field, not there from Kubernetes 1.34 on: use credentialsBindingName"}},
		"proxy": {change: func(s *core.Shoot) {
			s.Spec.Kubernetes.KubeProxy = &core.KubeProxyConfig{Mode: new(core.ProxyModeIPVS)}
		}, want: []string{"spec.kubernetes.kubeProxy.mode: IPVS is deprecated"}},
		"DNS": {change: func(s *core.Shoot) {
			s.Spec.DNS = &core.DNS{Providers: []core.DNSProvider{{Primary: new(true)}, {SecretName: new("s")}}}
		}, want: []string{"spec.dns.providers: more than one", "spec.dns.providers[0].primary: is a former field", "spec.dns.providers[1].secretName: is a former field"}},
		"gates of another age": {change: func(s *core.Shoot) {
			s.Spec.Kubernetes.Version, s.Spec.Kubernetes.KubeAPIServer.FeatureGates = "1.38.1", map[string]bool{"Teleportation": true}
		}, want: []string{"spec.kubernetes: feature gate Teleportation is not known"}},
		"profile gone": {facts: func(f *shoots.Facts) { f.Profile = nil }},
	} {
		s, f := r.apply()
		got := shoots.Warnings(s, f)
		for i, want := range r.want {
			if i >= len(got) || !strings.HasPrefix(got[i], want) {
				t.Errorf("%s: got %q, want %q", name, got, r.want)
				break
			}
		}
		if len(got) != len(r.want) {
			t.Errorf("%s: got %q, want %q", name, got, r.want)
		}
	}
}
