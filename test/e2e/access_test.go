package e2e_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
)

// kubeconfigsOnRequest asks the garden for kubeconfigs of a cluster and uses
// them, as gardenctl does.
func kubeconfigsOnRequest(i *installation) {
	ask := func(subresource, kind string) string {
		path := "/apis/core.gardener.cloud/v1beta1/namespaces/garden-local/shoots/one/" + subresource
		request := `{"apiVersion":"authentication.gardener.cloud/v1alpha1","kind":"` + kind + `","spec":{"expirationSeconds":600}}`
		answer := i.kube(filepath.Join(i.data, "kubeconfig"), request, "create", "--raw", path, "-f", "-")
		_, rest, found := strings.Cut(answer, `"kubeconfig":"`)
		encoded, _, _ := strings.Cut(rest, `"`)
		text, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || !found {
			i.t.Fatalf("%s answers %s", subresource, answer)
		}
		file := filepath.Join(i.t.TempDir(), subresource)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			i.t.Fatal(err)
		}
		return file
	}
	admin, viewer := ask("adminkubeconfig", "AdminKubeconfigRequest"), ask("viewerkubeconfig", "ViewerKubeconfigRequest")
	if who := i.kube(admin, "", "auth", "whoami"); !strings.Contains(who, "loam:admin") || !strings.Contains(who, "gardener.cloud:system:admins") {
		i.t.Errorf("the admin is\n%s", who)
	}
	i.kube(admin, "", "create", "namespace", "of-an-admin")
	i.kube(admin, "", "get", "secrets", "-A")
	i.kube(viewer, "", "get", "nodes,pods,deployments,clusterroles", "-A")
	for _, refused := range [][]string{{"get", "secrets", "-A"}, {"create", "namespace", "of-a-viewer"}, {"delete", "namespace", "of-an-admin"}} {
		if out, err := i.tryKube(viewer, "", refused...); err == nil || !strings.Contains(out, "forbidden") {
			i.t.Errorf("a viewer may %v: %s, %v", refused, out, err)
		}
	}
	i.kube(admin, "", "delete", "namespace", "of-an-admin")
}
