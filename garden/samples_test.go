package garden_test

import (
	"context"
	"testing"

	corev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	operationsv1alpha1 "github.com/gardener/gardener/pkg/apis/operations/v1alpha1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	kubev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	loamv1alpha1 "github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/garden/gardentest"
)

// sample is the least that a kind accepts.
type sample struct {
	resource   schema.GroupVersionResource
	kind       string
	namespaced bool
	status     bool
	generation bool
	// body is everything but apiVersion, kind and metadata.
	body map[string]any
	// change is a merge patch of the content that makes a difference.
	change map[string]any
}

func (s sample) object(namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(s.body)}
	object.SetGroupVersionKind(s.resource.GroupVersion().WithKind(s.kind))
	object.SetName(name)
	if s.namespaced {
		object.SetNamespace(namespace)
	}
	return object
}

func (s sample) client(tb testing.TB, namespace string) dynamic.ResourceInterface {
	tb.Helper()
	c, err := dynamic.NewForConfig(gardentest.Start(tb).RESTConfig())
	if err != nil {
		tb.Fatal(err)
	}
	if s.namespaced {
		return c.Resource(s.resource).Namespace(namespace)
	}
	return c.Resource(s.resource)
}

func spec(content map[string]any) map[string]any { return map[string]any{"spec": content} }

// samples has one entry per kind that the garden serves itself.
func samples() []sample {
	core := v1beta1.SchemeGroupVersion.WithResource
	seedmanagement := seedmanagementv1alpha1.SchemeGroupVersion.WithResource
	security := securityv1alpha1.SchemeGroupVersion.WithResource
	object := map[string]any{}
	gardenletConfig := map[string]any{"apiVersion": "gardenlet.config.gardener.cloud/v1alpha1", "kind": "GardenletConfiguration"}
	bastion := map[string]any{"shootRef": map[string]any{"name": "demo"}, "sshPublicKey": "ssh-ed25519 AAAA", "ingress": []any{map[string]any{"ipBlock": map[string]any{"cidr": "10.0.0.0/8"}}}}
	seedSpec := map[string]any{
		"provider": map[string]any{"type": "local", "region": "local"},
		"networks": map[string]any{"pods": "10.8.0.0/16", "services": "10.9.0.0/16"},
	}
	return []sample{
		{core("shoots"), "Shoot", true, true, true, spec(map[string]any{
			"cloudProfile": map[string]any{"name": "local"}, "region": "local",
			"provider":   map[string]any{"type": "local", "workers": []any{map[string]any{"name": "worker", "minimum": int64(1), "maximum": int64(1), "machine": map[string]any{"type": "local"}}}},
			"kubernetes": map[string]any{"version": "1.36.3"},
		}), spec(map[string]any{"purpose": "testing"})},
		{core("seeds"), "Seed", false, true, true, spec(seedSpec), spec(map[string]any{"provider": map[string]any{"region": "elsewhere"}})},
		{core("projects"), "Project", false, true, true, spec(map[string]any{"description": "one"}), spec(map[string]any{"description": "two"})},
		{core("cloudprofiles"), "CloudProfile", false, true, false, spec(map[string]any{
			"type": "local", "kubernetes": map[string]any{"versions": []any{map[string]any{"version": "1.36.3"}}}, "regions": []any{}, "machineTypes": []any{}, "machineImages": []any{},
		}), spec(map[string]any{"type": "other"})},
		{core("namespacedcloudprofiles"), "NamespacedCloudProfile", true, true, true,
			spec(map[string]any{"parent": map[string]any{"kind": "CloudProfile", "name": "local"}}), spec(map[string]any{"caBundle": "x"})},
		{core("backupbuckets"), "BackupBucket", false, true, true,
			spec(map[string]any{"provider": map[string]any{"type": "local", "region": "local"}}), spec(map[string]any{"seedName": "local"})},
		{core("backupentries"), "BackupEntry", true, true, true, spec(map[string]any{"bucketName": "b"}), spec(map[string]any{"seedName": "local"})},
		{core("controllerregistrations"), "ControllerRegistration", false, false, true, spec(object),
			spec(map[string]any{"resources": []any{map[string]any{"kind": "Worker", "type": "local"}}})},
		{core("controllerdeployments"), "ControllerDeployment", false, false, true,
			map[string]any{"type": "custom", "providerConfig": map[string]any{"a": "b"}}, map[string]any{"providerConfig": map[string]any{"a": "c"}}},
		{corev1.SchemeGroupVersion.WithResource("controllerdeployments"), "ControllerDeployment", false, false, true,
			map[string]any{"helm": map[string]any{"rawChart": "Zm9v"}}, map[string]any{"helm": map[string]any{"rawChart": "YmFy"}}},
		{core("controllerinstallations"), "ControllerInstallation", false, true, true, spec(map[string]any{
			"registrationRef": map[string]any{"name": "r"}, "seedRef": map[string]any{"name": "local"},
		}), spec(map[string]any{"deploymentRef": map[string]any{"name": "d"}})},
		{core("exposureclasses"), "ExposureClass", false, false, false, map[string]any{"handler": "h"}, map[string]any{"handler": "i"}},
		{core("quotas"), "Quota", true, false, false, spec(map[string]any{
			"scope": map[string]any{"apiVersion": "core.gardener.cloud/v1beta1", "kind": "Project"}, "metrics": map[string]any{"cpu": "1"},
		}), spec(map[string]any{"metrics": map[string]any{"cpu": "2"}})},
		{core("secretbindings"), "SecretBinding", true, false, false, map[string]any{
			"secretRef": map[string]any{"name": "s"}, "provider": map[string]any{"type": "local"},
		}, map[string]any{"provider": map[string]any{"type": "other"}}},
		{core("internalsecrets"), "InternalSecret", true, false, false, map[string]any{"data": map[string]any{"k": "dg=="}}, map[string]any{"data": map[string]any{"k": "dw=="}}},
		{core("shootstates"), "ShootState", true, false, true, spec(object), spec(map[string]any{"gardener": []any{map[string]any{"name": "n", "type": "t", "data": object}}})},
		{seedmanagement("managedseeds"), "ManagedSeed", true, true, true, spec(map[string]any{
			"shoot": map[string]any{"name": "demo"}, "gardenlet": map[string]any{"config": gardenletConfig},
		}), spec(map[string]any{"gardenlet": map[string]any{"bootstrap": "None"}})},
		{seedmanagement("managedseedsets"), "ManagedSeedSet", true, true, true, spec(map[string]any{
			"replicas": int64(1), "selector": object,
			"template":      spec(map[string]any{"gardenlet": map[string]any{"config": gardenletConfig}}),
			"shootTemplate": spec(map[string]any{"region": "local", "provider": map[string]any{"type": "local"}, "kubernetes": map[string]any{"version": "1.36.3"}}),
		}), spec(map[string]any{"replicas": int64(2)})},
		{seedmanagement("gardenlets"), "Gardenlet", true, true, true, spec(map[string]any{
			"deployment": map[string]any{"helm": map[string]any{"ociRepository": map[string]any{"ref": "example.org/chart:1"}}}, "config": gardenletConfig,
		}), spec(map[string]any{"kubeconfigSecretRef": map[string]any{"name": "k"}})},
		{operationsv1alpha1.SchemeGroupVersion.WithResource("bastions"), "Bastion", true, true, true, spec(bastion), spec(map[string]any{"seedName": "local"})},
		{security("credentialsbindings"), "CredentialsBinding", true, false, false, map[string]any{
			"provider": map[string]any{"type": "local"}, "credentialsRef": map[string]any{"apiVersion": "v1", "kind": "Secret", "name": "s", "namespace": "n"},
		}, map[string]any{"provider": map[string]any{"type": "other"}}},
		{security("workloadidentities"), "WorkloadIdentity", true, true, true, spec(map[string]any{
			"audiences": []any{"a"}, "targetSystem": map[string]any{"type": "local"},
		}), spec(map[string]any{"audiences": []any{"b"}})},
		{loamv1alpha1.SchemeGroupVersion.WithResource("machines"), "Machine", true, true, true, spec(map[string]any{
			"shootName": "demo", "pool": "worker", "role": "Worker", "providerType": "local",
		}), spec(map[string]any{"image": "i"})},
	}
}

// newShoot is the smallest Shoot for this host.
func newShoot(namespace, name string) *v1beta1.Shoot {
	return &v1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1beta1.ShootSpec{
			CloudProfile: &v1beta1.CloudProfileReference{Name: "local"},
			Region:       "local",
			Kubernetes:   v1beta1.Kubernetes{Version: "1.36.3"},
			Provider: v1beta1.Provider{Type: "local", Workers: []v1beta1.Worker{{
				Name: "worker", Minimum: 1, Maximum: 1, Machine: v1beta1.Machine{Type: "local"},
			}}},
		},
	}
}

func create[T client.Object](tb testing.TB, object T) T {
	tb.Helper()
	if err := gardentest.Client(tb).Create(context.Background(), object); err != nil {
		tb.Fatalf("creating %T %q: %v", object, object.GetName(), err)
	}
	return object
}

func update(tb testing.TB, object client.Object) {
	tb.Helper()
	if err := gardentest.Client(tb).Update(context.Background(), object); err != nil {
		tb.Fatalf("updating %T %q: %v", object, object.GetName(), err)
	}
}

func newNamespace(tb testing.TB, name string) *kubev1.Namespace {
	tb.Helper()
	return create(tb, &kubev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}
