package references_test

import (
	"strings"
	"testing"

	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/controllers/internal/references"
)

func joined(refs []references.Reference) string {
	var all []string
	for _, ref := range refs {
		all = append(all, ref.String())
	}
	return strings.Join(all, ", ")
}

// TestOfShoot lists every field by which a Shoot refers to something.
func TestOfShoot(t *testing.T) {
	for _, test := range []struct{ name, spec, want string }{
		{"nothing", `{}`, ""},
		{"resources of known versions", `
resources:
- {name: a, resourceRef: {apiVersion: v1, kind: Secret, name: a}}
- {name: b, resourceRef: {apiVersion: v1, kind: ConfigMap, name: b}}
- {name: c, resourceRef: {apiVersion: security.gardener.cloud/v1alpha1, kind: WorkloadIdentity, name: c}}
- {name: d, resourceRef: {apiVersion: v2, kind: Secret, name: d}}
- {name: e, resourceRef: {apiVersion: apps/v1, kind: Deployment, name: e}}
- {name: f, resourceRef: {apiVersion: core.gardener.cloud/v1beta1, kind: InternalSecret, name: f}}
- {name: again, resourceRef: {apiVersion: v1, kind: Secret, name: a}}`, "Secret n/a, ConfigMap n/b, WorkloadIdentity n/c"},
		{"DNS providers by the reference only", `
dns:
  providers:
  - {secretName: old}
  - {credentialsRef: {apiVersion: v1, kind: Secret, name: a}}
  - {credentialsRef: {apiVersion: security.gardener.cloud/v1alpha1, kind: WorkloadIdentity, name: b}}
  - {credentialsRef: {apiVersion: v1, kind: ConfigMap, name: c}}`, "Secret n/a, WorkloadIdentity n/b"},
		{"the API server", `
kubernetes:
  kubeAPIServer:
    auditConfig: {auditPolicy: {configMapRef: {name: a}}}
    structuredAuthentication: {configMapName: b}
    structuredAuthorization: {configMapName: c, kubeconfigs: [{authorizerName: x, secretName: d}]}
    admissionPlugins: [{name: x, kubeconfigSecretName: e}, {name: y}]`, "ConfigMap n/a, ConfigMap n/b, ConfigMap n/c, Secret n/d, Secret n/e"},
		{"backups of a control plane", `
provider:
  workers:
  - controlPlane: {backup: {credentialsRef: {apiVersion: v1, kind: Secret, name: a}}}
  - controlPlane: {backup: {credentialsRef: {apiVersion: v1, kind: Secret, name: b, namespace: elsewhere}}}
  - {controlPlane: {}}`, "Secret n/a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			shoot := &gardencorev1beta1.Shoot{}
			shoot.Namespace = "n"
			if err := yaml.UnmarshalStrict([]byte(test.spec), &shoot.Spec); err != nil {
				t.Fatal(err)
			}
			if got := joined(references.OfShoot(shoot)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestOfSeedAndDeployment(t *testing.T) {
	seed := &gardencorev1beta1.Seed{}
	deployment := &gardencorev1.ControllerDeployment{}
	for into, text := range map[any]string{
		&seed.Spec: `
resources:
- {name: a, resourceRef: {apiVersion: v1, kind: Secret, name: a}}
- {name: b, resourceRef: {apiVersion: security.gardener.cloud/v1alpha1, kind: WorkloadIdentity, name: b}}`,
		deployment: `
helm: {ociRepository: {pullSecretRef: {name: pull}, caBundleSecretRef: {name: ca}}}
resources:
- {name: a, resourceRef: {apiVersion: v1, kind: ConfigMap, name: a}}
- {name: b, resourceRef: {apiVersion: security.gardener.cloud/v1alpha1, kind: WorkloadIdentity, name: b}}`,
	} {
		if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	if got := joined(references.OfSeed(seed, "garden")); got != "Secret garden/a, WorkloadIdentity garden/b" {
		t.Errorf("of the seed: %q", got)
	}
	if got := joined(references.OfDeployment(deployment, "garden")); got != "ConfigMap garden/a, Secret garden/pull, Secret garden/ca" {
		t.Errorf("of the deployment: %q", got)
	}
}
