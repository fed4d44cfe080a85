package graph_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/operations"
	"github.com/gardener/gardener/pkg/apis/security"
	"github.com/gardener/gardener/pkg/apis/seedmanagement"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	loamv1alpha1 "github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/garden/authorization/graph"
)

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func named(kind, name string) []core.NamedResourceReference {
	return []core.NamedResourceReference{{Name: name, ResourceRef: autoscalingv1.CrossVersionObjectReference{APIVersion: "v1", Kind: kind, Name: name}}}
}

// landscape is one object of every kind, most of which lead to seed "a".
func landscape() []runtime.Object {
	secretRef := func(name string) *corev1.ObjectReference {
		return &corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: "garden", Name: name}
	}
	return []runtime.Object{
		&core.Seed{ObjectMeta: meta("", "a"), Spec: core.SeedSpec{
			Backup: &core.Backup{CredentialsRef: secretRef("backup")},
			DNS: core.SeedDNS{
				Provider: &core.SeedDNSProvider{CredentialsRef: secretRef("dns")},
				Internal: &core.SeedDNSProviderConfig{CredentialsRef: *secretRef("internal")},
				Defaults: []core.SeedDNSProviderConfig{{CredentialsRef: *secretRef("default")}},
			},
			Resources: named("ConfigMap", "seed-resource"),
		}},
		&core.Seed{ObjectMeta: meta("", "b")},
		&core.Project{ObjectMeta: meta("", "dev"), Spec: core.ProjectSpec{Namespace: ptr.To("garden-dev")}},
		shoot(),
		&core.Shoot{ObjectMeta: meta("garden", "soil"), Spec: core.ShootSpec{SeedName: ptr.To("a")}},
		&core.SecretBinding{ObjectMeta: meta("garden-dev", "old"), SecretRef: corev1.SecretReference{Namespace: "garden-ops", Name: "cloud"}, Quotas: []corev1.ObjectReference{{Namespace: "garden-ops", Name: "trial"}}},
		&security.CredentialsBinding{ObjectMeta: meta("garden-dev", "new"), CredentialsRef: corev1.ObjectReference{Kind: "WorkloadIdentity", Namespace: "garden-dev", Name: "identity"}, Quotas: []corev1.ObjectReference{{Namespace: "garden-dev", Name: "small"}}},
		&core.NamespacedCloudProfile{ObjectMeta: meta("garden-dev", "mine"), Spec: core.NamespacedCloudProfileSpec{Parent: core.CloudProfileReference{Kind: "CloudProfile", Name: "metal"}}},
		&core.BackupBucket{ObjectMeta: meta("", "bucket"), Spec: core.BackupBucketSpec{SeedName: ptr.To("a"), CredentialsRef: secretRef("bucket-credentials")}, Status: core.BackupBucketStatus{GeneratedSecretRef: &corev1.SecretReference{Namespace: "garden", Name: "generated"}}},
		&core.BackupEntry{ObjectMeta: meta("garden-dev", "entry"), Spec: core.BackupEntrySpec{SeedName: ptr.To("b"), BucketName: "bucket"}, Status: core.BackupEntryStatus{SeedName: ptr.To("a")}},
		&core.ControllerInstallation{ObjectMeta: meta("", "installation"), Spec: core.ControllerInstallationSpec{
			SeedRef: &corev1.ObjectReference{Name: "a"}, RegistrationRef: corev1.ObjectReference{Name: "registration"},
			DeploymentRef: &corev1.ObjectReference{Name: "deployment"}, ResourceRefs: []corev1.ObjectReference{*secretRef("resource")},
		}},
		&core.ControllerRegistration{ObjectMeta: meta("", "registration"), Spec: core.ControllerRegistrationSpec{Deployment: &core.ControllerRegistrationDeployment{DeploymentRefs: []core.DeploymentRef{{Name: "second"}}}}},
		&core.ControllerDeployment{ObjectMeta: meta("", "second"), Helm: &core.HelmControllerDeployment{OCIRepository: &core.OCIRepository{
			PullSecretRef: &corev1.LocalObjectReference{Name: "pull"}, CABundleSecretRef: &corev1.LocalObjectReference{Name: "bundle"},
		}}, Resources: named("Secret", "values")},
		&operations.Bastion{ObjectMeta: meta("garden-dev", "bastion"), Spec: operations.BastionSpec{SeedName: ptr.To("a")}},
		&seedmanagement.ManagedSeed{ObjectMeta: meta("garden", "b"), Spec: seedmanagement.ManagedSeedSpec{Shoot: &seedmanagement.Shoot{Name: "soil"}}},
		&seedmanagement.Gardenlet{ObjectMeta: meta("garden", "a")},
		&loamv1alpha1.Machine{ObjectMeta: meta("garden-dev", "machine"), Spec: loamv1alpha1.MachineSpec{ShootName: "plant"}},
		&certificatesv1.CertificateSigningRequest{ObjectMeta: meta("", "renewal"), Spec: certificatesv1.CertificateSigningRequestSpec{Username: "gardener.cloud:system:seed:a"}},
	}
}

func shoot() *core.Shoot {
	return &core.Shoot{ObjectMeta: meta("garden-dev", "plant"), Spec: core.ShootSpec{
		SeedName:               ptr.To("a"),
		CloudProfile:           &core.CloudProfileReference{Kind: "NamespacedCloudProfile", Name: "mine"},
		SecretBindingName:      ptr.To("old"),
		CredentialsBindingName: ptr.To("new"),
		ExposureClassName:      ptr.To("internet"),
		Resources:              append(named("Secret", "resource"), named("ConfigMap", "settings")...),
		DNS: &core.DNS{Providers: []core.DNSProvider{
			{SecretName: ptr.To("zone")},
			{CredentialsRef: &autoscalingv1.CrossVersionObjectReference{Kind: "WorkloadIdentity", Name: "zones"}},
		}},
		Provider: core.Provider{Workers: []core.Worker{{ControlPlane: &core.WorkerControlPlane{Backup: &core.Backup{
			CredentialsRef: &corev1.ObjectReference{Kind: "Secret", Namespace: "garden-other", Name: "stolen"},
		}}}}},
		Kubernetes: core.Kubernetes{KubeAPIServer: &core.KubeAPIServerConfig{
			AuditConfig:              &core.AuditConfig{AuditPolicy: &core.AuditPolicy{ConfigMapRef: &corev1.ObjectReference{Name: "audit"}}},
			StructuredAuthentication: &core.StructuredAuthentication{ConfigMapName: "authentication"},
			StructuredAuthorization:  &core.StructuredAuthorization{ConfigMapName: "authorization", Kubeconfigs: []core.AuthorizerKubeconfigReference{{SecretName: "webhook"}}},
			AdmissionPlugins:         []core.AdmissionPlugin{{KubeconfigSecretName: ptr.To("admission")}},
		}},
	}}
}

func add(g *graph.Graph, objects ...runtime.Object) {
	for _, object := range objects {
		key, facts, found := graph.Of(object)
		if !found {
			panic(fmt.Sprintf("%T is not known", object))
		}
		g.Set(key, facts)
	}
}

// wanted is everything that seed "a" sees in the landscape.
func wanted() []graph.Key {
	garden := func(kind graph.Kind, names ...string) []graph.Key {
		var keys []graph.Key
		for _, name := range names {
			keys = append(keys, graph.Key{Kind: kind, Namespace: "garden", Name: name})
		}
		return keys
	}
	keys := []graph.Key{
		{graph.Seed, "", "a"}, {graph.Project, "", "dev"}, {graph.Namespace, "", "garden-dev"}, {graph.Namespace, "", "garden"},
		{graph.Shoot, "garden-dev", "plant"}, {graph.Shoot, "garden", "soil"},
		{graph.SecretBinding, "garden-dev", "old"}, {graph.Secret, "garden-ops", "cloud"}, {graph.Quota, "garden-ops", "trial"},
		{graph.CredentialsBinding, "garden-dev", "new"}, {graph.WorkloadIdentity, "garden-dev", "identity"}, {graph.Quota, "garden-dev", "small"},
		{graph.NamespacedCloudProfile, "garden-dev", "mine"}, {graph.CloudProfile, "", "metal"}, {graph.ExposureClass, "", "internet"},
		{graph.Secret, "garden-dev", "resource"}, {graph.ConfigMap, "garden-dev", "settings"}, {graph.Secret, "garden-dev", "zone"}, {graph.WorkloadIdentity, "garden-dev", "zones"},
		{graph.ConfigMap, "garden-dev", "audit"}, {graph.ConfigMap, "garden-dev", "authentication"}, {graph.ConfigMap, "garden-dev", "authorization"},
		{graph.Secret, "garden-dev", "webhook"}, {graph.Secret, "garden-dev", "admission"},
		{graph.BackupBucket, "", "bucket"}, {graph.BackupEntry, "garden-dev", "entry"},
		{graph.ControllerInstallation, "", "installation"}, {graph.ControllerRegistration, "", "registration"},
		{graph.ControllerDeployment, "", "deployment"}, {graph.ControllerDeployment, "", "second"},
		{graph.Bastion, "garden-dev", "bastion"}, {graph.Machine, "garden-dev", "machine"}, {graph.CertificateSigningRequest, "", "renewal"},
		// The cluster "soil" is seed "b", which the agent of "a" sets up.
		{graph.Seed, "", "b"},
	}
	keys = append(keys, garden(graph.Secret, "backup", "dns", "internal", "default", "bucket-credentials", "generated", "resource", "pull", "bundle", "values")...)
	keys = append(keys, garden(graph.ConfigMap, "seed-resource")...)
	return append(keys, garden(graph.ManagedSeed, "b")[0], garden(graph.Gardenlet, "a")[0])
}

func TestASeedSeesWhatItNeeds(t *testing.T) {
	var g graph.Graph
	add(&g, landscape()...)
	for _, key := range wanted() {
		if !g.Sees("a", key) {
			t.Errorf("a does not see %v", key)
		}
	}
	for _, key := range []graph.Key{
		{graph.Shoot, "garden-dev", "plant"}, {graph.Secret, "garden-ops", "cloud"}, {graph.Seed, "", "a"}, {graph.Secret, "garden", "backup"},
		{graph.Machine, "garden-dev", "machine"}, {graph.CertificateSigningRequest, "", "renewal"},
	} {
		if g.Sees("b", key) {
			t.Errorf("b sees %v", key)
		}
	}
	if g.Sees("a", graph.Key{Kind: graph.Secret, Namespace: "garden-other", Name: "stolen"}) {
		t.Error("a shoot leads to another project's secret")
	}
}

// TestOrder adds the landscape in many orders and takes it away in others; the
// seed sees the same each time, and nothing in the end.
func TestOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var g graph.Graph
		objects := landscape()
		random.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
		add(&g, objects...)
		add(&g, objects[:5]...) // said twice
		for _, key := range wanted() {
			if !g.Sees("a", key) {
				t.Fatalf("a does not see %v", key)
			}
		}
		random.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
		for _, object := range objects {
			key, _, _ := graph.Of(object)
			g.Remove(key)
			g.Remove(key)
		}
		for _, key := range wanted() {
			if g.Sees("a", key) || g.Knows(key) {
				t.Fatalf("%v is left", key)
			}
		}
	}
}

func TestChanges(t *testing.T) {
	var g graph.Graph
	add(&g, landscape()...)
	secret := graph.Key{Kind: graph.Secret, Namespace: "garden-ops", Name: "cloud"}
	want := func(step, seeds string) {
		t.Helper()
		var sees []string
		for _, seed := range []string{"a", "b"} {
			if g.Sees(seed, secret) {
				sees = append(sees, seed)
			}
		}
		if got := strings.Join(sees, ","); got != seeds {
			t.Errorf("%s: seen by %q, want %q", step, got, seeds)
		}
	}
	want("at first", "a")
	moving := shoot()
	moving.Spec.SeedName, moving.Status.SeedName = ptr.To("b"), ptr.To("a")
	add(&g, moving)
	want("while the cluster moves", "a,b")
	moving.Status.SeedName = ptr.To("b")
	add(&g, moving)
	want("when it has moved", "b")
	second := shoot()
	second.Name = "second"
	add(&g, second)
	want("with a second cluster", "a,b")
	second.Spec.SecretBindingName = nil
	add(&g, second)
	want("when that uses other credentials", "b")
	add(&g, &core.SecretBinding{ObjectMeta: meta("garden-dev", "old"), SecretRef: corev1.SecretReference{Namespace: "garden-ops", Name: "other"}})
	want("when the binding names another secret", "")
}

// TestNoCircles holds the order of kinds that keeps counting from going round.
func TestNoCircles(t *testing.T) {
	for _, object := range landscape() {
		key, facts, _ := graph.Of(object)
		for _, to := range facts.Leads {
			if to.Kind <= key.Kind {
				t.Errorf("%T leads from kind %d to kind %d", object, key.Kind, to.Kind)
			}
		}
		for _, from := range facts.Led {
			if from.Kind >= key.Kind {
				t.Errorf("%T is led to from kind %d, itself is %d", object, from.Kind, key.Kind)
			}
		}
	}
}

func TestAManagedSeedOfAUser(t *testing.T) {
	var g graph.Graph
	add(&g, landscape()...)
	mine := shoot()
	mine.Spec.SeedName = ptr.To("b")
	mine.Name = "bait"
	add(&g, mine, &seedmanagement.ManagedSeed{ObjectMeta: meta("garden-dev", "a"), Spec: seedmanagement.ManagedSeedSpec{Shoot: &seedmanagement.Shoot{Name: "bait"}}})
	if g.Sees("b", graph.Key{Kind: graph.Seed, Name: "a"}) {
		t.Error("a ManagedSeed in a project opens a Seed to the one that hosts its cluster")
	}
}

// BenchmarkDecision has the size that the garden is made for.
func BenchmarkDecision(b *testing.B) {
	const shoots, seeds, projects = 10_000, 200, 2_000
	g := &graph.Graph{}
	var keys []graph.Key
	for i := range shoots {
		namespace, binding := fmt.Sprintf("garden-%d", i%projects), fmt.Sprint(i%5)
		plant := shoot()
		plant.Namespace, plant.Name, plant.Spec.SeedName, plant.Spec.SecretBindingName = namespace, fmt.Sprintf("plant-%d", i), ptr.To(fmt.Sprint(i%seeds)), &binding
		add(g, plant, &core.SecretBinding{ObjectMeta: meta(namespace, binding), SecretRef: corev1.SecretReference{Namespace: namespace, Name: "cloud"}})
		keys = append(keys, graph.Key{Kind: graph.Secret, Namespace: namespace, Name: "cloud"}, graph.Key{Kind: graph.Shoot, Namespace: namespace, Name: plant.Name})
	}
	slices.SortFunc(keys, func(x, y graph.Key) int { return strings.Compare(x.Name+x.Namespace, y.Name+y.Namespace) })
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		g.Sees("7", keys[i%len(keys)])
	}
}
