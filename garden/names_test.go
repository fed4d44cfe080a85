package garden_test

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// TestNamesOfKinds wants what people type after "kubectl get": exactly these
// short names, the singular, and one category for all kinds of a project.
func TestNamesOfKinds(t *testing.T) {
	short := map[string][]string{
		"BackupBucket": {"bbc"}, "BackupEntry": {"bec"}, "CloudProfile": {"cprofile", "cpfl"}, "ControllerDeployment": {"ctrldeploy"},
		"ControllerInstallation": {"ctrlinst"}, "ControllerRegistration": {"ctrlreg"}, "CredentialsBinding": {"credb"},
		"ExposureClass": {"expclass", "expcls"}, "InternalSecret": {"isec"}, "ManagedSeed": {"ms"}, "ManagedSeedSet": {"mss"},
		"NamespacedCloudProfile": {"nscpfl"}, "Quota": {"squota"}, "SecretBinding": {"sb"}, "ShootState": {"ss"}, "WorkloadIdentity": {"wlid"},
	}
	client := discovery.NewDiscoveryClientForConfigOrDie(gardentest.Start(t).RESTConfig())
	for _, s := range samples() {
		t.Run(s.resource.Version+" "+s.kind, func(t *testing.T) {
			list, err := client.ServerResourcesForGroupVersion(s.resource.GroupVersion().String())
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == s.resource.Resource })
			if i < 0 {
				t.Fatal("is not served")
			}
			served := list.APIResources[i]
			category := "gardener"
			if s.resource.Group == "loam.dev" {
				category = "loam"
			}
			if !slices.Equal(served.ShortNames, short[s.kind]) || !slices.Equal(served.Categories, []string{category}) {
				t.Errorf("short names %q, categories %q, want %q and %q", served.ShortNames, served.Categories, short[s.kind], category)
			}
			if served.Kind != s.kind || served.SingularName != strings.ToLower(s.kind) || served.Namespaced != s.namespaced {
				t.Errorf("kind %s, singular %s, namespaced %v", served.Kind, served.SingularName, served.Namespaced)
			}
		})
	}
}
