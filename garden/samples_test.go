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
	"k8s.io/utils/ptr"
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
	// change is a merge patch of the content that makes a difference; nil for
	// kinds whose content cannot be changed.
	change map[string]any
	// home is the only namespace of the kind, if there is one.
	home string
	// needs makes what an object refers to and what nothing else may share.
	needs func(tb testing.TB, server server, namespace, name string, object map[string]any)
	// server is where the objects go.
	server server
}

// object is one for namespace, or for the kind's home. What it refers to is there
// afterwards.
func (s sample) object(tb testing.TB, namespace, name string) *unstructured.Unstructured {
	tb.Helper()
	object := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(s.body)}
	object.SetGroupVersionKind(s.resource.GroupVersion().WithKind(s.kind))
	object.SetName(name)
	object.SetAnnotations(map[string]string{"confirmation.gardener.cloud/deletion": "true"})
	if s.namespaced {
		object.SetNamespace(s.namespace(namespace))
	}
	if s.needs != nil {
		s.needs(tb, s.server, s.namespace(namespace), name, object.Object)
	}
	return object
}

func (s sample) namespace(other string) string {
	if s.home != "" {
		return s.home
	}
	return other
}

func (s sample) client(tb testing.TB, namespace string) dynamic.ResourceInterface {
	tb.Helper()
	c, err := dynamic.NewForConfig(s.server.rest(tb))
	if err != nil {
		tb.Fatal(err)
	}
	if s.namespaced && namespace != "" {
		return c.Resource(s.resource).Namespace(s.namespace(namespace))
	}
	return c.Resource(s.resource)
}

func spec(content map[string]any) map[string]any { return map[string]any{"spec": content} }

// labelled is metadata with a label, for what a selector has to find.
func labelled() map[string]any { return map[string]any{"labels": map[string]any{"set": "s"}} }

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl someone@example.com"

// samples has one entry per kind that the garden serves itself.
func samples() []sample {
	core := v1beta1.SchemeGroupVersion.WithResource
	seedmanagement := seedmanagementv1alpha1.SchemeGroupVersion.WithResource
	security := securityv1alpha1.SchemeGroupVersion.WithResource
	object := map[string]any{}
	seedSpec := map[string]any{
		"provider": map[string]any{"type": "local", "region": "local"},
		"networks": map[string]any{"pods": "10.8.0.0/16", "services": "10.9.0.0/16"},
	}
	gardenletConfig := map[string]any{
		"apiVersion": "gardenlet.config.gardener.cloud/v1alpha1", "kind": "GardenletConfiguration",
		"seedConfig": spec(seedSpec),
	}
	bastion := map[string]any{"sshPublicKey": publicKey, "ingress": []any{map[string]any{"ipBlock": map[string]any{"cidr": "10.0.0.0/8"}}}}
	secret := map[string]any{"name": "sample", "namespace": "garden-local"}
	invisible := map[string]any{"settings": map[string]any{"scheduling": map[string]any{"visible": false}}}
	return []sample{
		{resource: core("shoots"), kind: "Shoot", namespaced: true, status: true, generation: true, body: spec(map[string]any{
			"cloudProfile": map[string]any{"name": "local"}, "region": "local",
			"provider":   map[string]any{"type": "local", "workers": []any{map[string]any{"name": "worker", "minimum": int64(1), "maximum": int64(1), "machine": map[string]any{"type": "local"}}}},
			"kubernetes": map[string]any{"version": "1.36.3"},
		}), change: spec(map[string]any{"purpose": "testing"})},
		{resource: core("seeds"), kind: "Seed", status: true, generation: true, body: spec(seedSpec), change: spec(invisible)},
		{resource: core("projects"), kind: "Project", status: true, generation: true,
			body: spec(map[string]any{"description": "one"}), change: spec(map[string]any{"description": "two"})},
		{resource: core("cloudprofiles"), kind: "CloudProfile", status: true, body: spec(map[string]any{
			"type": "local", "kubernetes": map[string]any{"versions": []any{map[string]any{"version": "1.36.3"}}}, "regions": []any{map[string]any{"name": "local"}},
			"machineTypes":  []any{map[string]any{"name": "local", "cpu": "1", "gpu": "0", "memory": "1Gi"}},
			"machineImages": []any{map[string]any{"name": "debian", "versions": []any{map[string]any{"version": "12.0.0"}}}},
		}), change: spec(map[string]any{"limits": map[string]any{"maxNodesTotal": int64(3)}})},
		{resource: core("namespacedcloudprofiles"), kind: "NamespacedCloudProfile", namespaced: true, status: true, generation: true,
			body: spec(map[string]any{"parent": map[string]any{"kind": "CloudProfile", "name": "local"}}), change: spec(map[string]any{"limits": map[string]any{"maxNodesTotal": int64(3)}})},
		{resource: core("backupbuckets"), kind: "BackupBucket", status: true, generation: true,
			body: spec(map[string]any{"provider": map[string]any{"type": "local", "region": "local"}, "seedName": "local"}), change: spec(map[string]any{"providerConfig": map[string]any{"a": "b"}})},
		{resource: core("backupentries"), kind: "BackupEntry", namespaced: true, status: true, generation: true,
			body: spec(map[string]any{"bucketName": "sample"}), change: spec(map[string]any{"seedName": "local"}), needs: commonObjects},
		{resource: core("controllerregistrations"), kind: "ControllerRegistration", generation: true, body: spec(object),
			change: spec(map[string]any{"resources": []any{map[string]any{"kind": "Worker", "type": "local", "primary": false}}})},
		{resource: core("controllerdeployments"), kind: "ControllerDeployment", generation: true,
			body: map[string]any{"type": "custom", "providerConfig": map[string]any{"a": "b"}}, change: map[string]any{"providerConfig": map[string]any{"a": "c"}}},
		{resource: corev1.SchemeGroupVersion.WithResource("controllerdeployments"), kind: "ControllerDeployment", generation: true,
			body: map[string]any{"helm": map[string]any{"rawChart": "Zm9v"}}, change: map[string]any{"helm": map[string]any{"rawChart": "YmFy"}}},
		{resource: core("controllerinstallations"), kind: "ControllerInstallation", status: true, generation: true, body: spec(map[string]any{
			"registrationRef": map[string]any{"name": "sample"}, "seedRef": map[string]any{"name": "local"},
		}), change: spec(map[string]any{"deploymentRef": map[string]any{"name": "d"}}), needs: commonObjects},
		{resource: core("exposureclasses"), kind: "ExposureClass", body: map[string]any{"handler": "h"}},
		{resource: core("quotas"), kind: "Quota", namespaced: true, body: spec(map[string]any{
			"scope": map[string]any{"apiVersion": "core.gardener.cloud/v1beta1", "kind": "Project"}, "metrics": map[string]any{"cpu": "1"},
		}), change: spec(map[string]any{"metrics": map[string]any{"cpu": "2"}})},
		{resource: core("secretbindings"), kind: "SecretBinding", namespaced: true,
			body: map[string]any{"secretRef": secret, "provider": map[string]any{"type": "local"}}, needs: commonObjects},
		{resource: core("internalsecrets"), kind: "InternalSecret", namespaced: true,
			body: map[string]any{"data": map[string]any{"k": "dg=="}}, change: map[string]any{"data": map[string]any{"k": "dw=="}}},
		{resource: core("shootstates"), kind: "ShootState", namespaced: true, generation: true,
			body: spec(object), change: spec(map[string]any{"gardener": []any{map[string]any{"name": "n", "type": "t", "data": object}}})},
		{resource: seedmanagement("managedseeds"), kind: "ManagedSeed", namespaced: true, status: true, generation: true, home: "garden",
			body: spec(map[string]any{"gardenlet": map[string]any{"config": gardenletConfig}}), change: spec(map[string]any{"gardenlet": map[string]any{"deployment": map[string]any{"replicaCount": int64(3)}}}),
			needs: func(tb testing.TB, server server, namespace, name string, object map[string]any) {
				object["spec"].(map[string]any)["shoot"] = map[string]any{"name": clusterOf(tb, server, namespace, name)}
			}},
		{resource: seedmanagement("managedseedsets"), kind: "ManagedSeedSet", namespaced: true, status: true, generation: true, home: "garden", body: spec(map[string]any{
			"replicas": int64(1), "selector": map[string]any{"matchLabels": map[string]any{"set": "s"}},
			"template":      map[string]any{"metadata": labelled(), "spec": map[string]any{"gardenlet": map[string]any{"config": gardenletConfig}}},
			"shootTemplate": map[string]any{"metadata": labelled(), "spec": map[string]any{"region": "local", "provider": map[string]any{"type": "local"}, "kubernetes": map[string]any{"version": "1.36.3"}}},
		}), change: spec(map[string]any{"replicas": int64(2)})},
		{resource: seedmanagement("gardenlets"), kind: "Gardenlet", namespaced: true, status: true, generation: true, home: "garden", body: spec(map[string]any{
			"deployment": map[string]any{"helm": map[string]any{"ociRepository": map[string]any{"ref": "example.org/chart:1"}}}, "config": gardenletConfig,
		}), change: spec(map[string]any{"kubeconfigSecretRef": map[string]any{"name": "k"}})},
		{resource: operationsv1alpha1.SchemeGroupVersion.WithResource("bastions"), kind: "Bastion", namespaced: true, status: true, generation: true,
			body: spec(bastion), change: spec(map[string]any{"ingress": []any{map[string]any{"ipBlock": map[string]any{"cidr": "10.1.0.0/16"}}}}),
			needs: func(tb testing.TB, server server, namespace, name string, object map[string]any) {
				object["spec"].(map[string]any)["shootRef"] = map[string]any{"name": clusterOf(tb, server, namespace, name)}
			}},
		{resource: security("credentialsbindings"), kind: "CredentialsBinding", namespaced: true, body: map[string]any{
			"provider": map[string]any{"type": "local"}, "credentialsRef": map[string]any{"apiVersion": "v1", "kind": "Secret", "name": "sample", "namespace": "garden-local"},
		}, needs: commonObjects},
		{resource: security("workloadidentities"), kind: "WorkloadIdentity", namespaced: true, status: true, generation: true, body: spec(map[string]any{
			"audiences": []any{"a"}, "targetSystem": map[string]any{"type": "local"},
		}), change: spec(map[string]any{"audiences": []any{"b"}})},
		{resource: loamv1alpha1.SchemeGroupVersion.WithResource("machines"), kind: "Machine", namespaced: true, status: true, generation: true, body: spec(map[string]any{
			"shootName": "demo", "pool": "worker", "role": "Worker", "providerType": "local",
		}), change: spec(map[string]any{"image": "i"})},
	}
}

// commonObjects makes, once, what samples of several kinds refer to, all of the
// name "sample".
func commonObjects(tb testing.TB, server server, _, _ string, _ map[string]any) {
	tb.Helper()
	meta := metav1.ObjectMeta{Name: "sample"}
	server.ensure(tb,
		&kubev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: "sample"}},
		&v1beta1.BackupBucket{ObjectMeta: meta, Spec: v1beta1.BackupBucketSpec{Provider: v1beta1.BackupBucketProvider{Type: "local", Region: "local"}, SeedName: ptr.To("local")}},
		&v1beta1.ControllerRegistration{ObjectMeta: meta},
	)
}

// clusterOf makes a Shoot with a seed for the object of that name, and for
// namespace garden its project. It returns the Shoot's name.
func clusterOf(tb testing.TB, server server, namespace, name string) string {
	tb.Helper()
	shoot := newShoot(namespace, "of-"+name)
	shoot.Spec.SeedName = ptr.To("local")
	server.ensure(tb, &v1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: "garden"}, Spec: v1beta1.ProjectSpec{Namespace: ptr.To("garden")}}, shoot)
	return shoot.Name
}

// newShoot is the smallest Shoot for this host.
func newShoot(namespace, name string) *v1beta1.Shoot {
	return &v1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{"confirmation.gardener.cloud/deletion": "true"}},
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
