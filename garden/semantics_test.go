package garden_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	operationsv1alpha1 "github.com/gardener/gardener/pkg/apis/operations/v1alpha1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

// TestServedSemantics has a test per row of "Served semantics" that is about the
// kinds beside Shoot and has no test of its own.
func TestServedSemantics(t *testing.T) {
	const row = "garden-api: Served semantics/"
	t.Run(row+"Bastion heartbeat and expiry", bastionHeartbeat)
	t.Run(row+"Bastion knows its cluster's seed and provider", bastionKnowsItsCluster)
	t.Run(row+"WorkloadIdentity subject", identitySubject)
	t.Run(row+"ControllerDeployment in both versions", deploymentVersions)
	t.Run(row+"Deletion needs confirmation", deletionIsConfirmed)
	t.Run(row+"Deletion of a seed that clusters are bound to", deletionOfSeeds)
	t.Run(row+"Project creator and owner", projectOwner)
	t.Run(row+"Project keeps what was filled in", projectKeepsWhatWasFilledIn)
	t.Run(row+"ManagedSeed knows its cluster's networks", managedSeedKnowsItsCluster)
	t.Run(row+"Labels of what rules would refuse today", labelsCanAlwaysChange)
	t.Run(row+"Generation/none on CloudProfile, Quota, bindings, ExposureClass", withoutGeneration)
}

func bastionHeartbeat(t *testing.T) {
	object := create(t, sampleOf(t, "Bastion").object(t, gardentest.Namespace(t), "bastion"))
	bastion := &operationsv1alpha1.Bastion{}
	if err := gardentest.Client(t).Get(context.Background(), client.ObjectKeyFromObject(object), bastion); err != nil {
		t.Fatal(err)
	}
	first := bastion.Status.ExpirationTimestamp
	if first == nil || first.Sub(bastion.Status.LastHeartbeatTimestamp.Time) != time.Hour {
		t.Fatalf("status: %+v", bastion.Status)
	}
	time.Sleep(time.Second) // timestamps have seconds
	patch(t, bastion, `{"metadata":{"annotations":{"operations.gardener.cloud/operation":"keepalive"}}}`)
	if !first.Before(bastion.Status.ExpirationTimestamp) || bastion.Annotations["operations.gardener.cloud/operation"] != "" {
		t.Errorf("after a heartbeat: %v, %v", bastion.Status.ExpirationTimestamp, bastion.Annotations)
	}
	if bastion.Generation != 1 {
		t.Errorf("a heartbeat raised the generation to %d", bastion.Generation)
	}
	patch(t, bastion, `{"metadata":{"annotations":{"operations.gardener.cloud/operation":"other"}}}`)
	if bastion.Annotations["operations.gardener.cloud/operation"] != "other" {
		t.Errorf("an unknown operation was consumed: %v", bastion.Annotations)
	}
}

func bastionKnowsItsCluster(t *testing.T) {
	object := sampleOf(t, "Bastion").object(t, gardentest.Namespace(t), "bastion")
	object.Object["spec"].(map[string]any)["seedName"] = "a-lie"
	object.SetAnnotations(map[string]string{"gardener.cloud/created-by": "a-lie"})
	create(t, object)
	bastion := &operationsv1alpha1.Bastion{}
	if err := gardentest.Client(t).Get(context.Background(), client.ObjectKeyFromObject(object), bastion); err != nil {
		t.Fatal(err)
	}
	if *bastion.Spec.SeedName != "local" || *bastion.Spec.ProviderType != "local" {
		t.Errorf("seed %q, provider %q", *bastion.Spec.SeedName, *bastion.Spec.ProviderType)
	}
	patch(t, bastion, `{"metadata":{"annotations":{"gardener.cloud/created-by":"another-lie"}}}`)
	if creator := bastion.Annotations["gardener.cloud/created-by"]; strings.Contains(creator, "lie") || creator == "" {
		t.Errorf("created by %q", creator)
	}
}

func identitySubject(t *testing.T) {
	namespace := gardentest.Namespace(t)
	identity := create(t, &securityv1alpha1.WorkloadIdentity{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "id"},
		Spec:       securityv1alpha1.WorkloadIdentitySpec{Audiences: []string{"a"}, TargetSystem: securityv1alpha1.TargetSystem{Type: "local"}},
		Status:     securityv1alpha1.WorkloadIdentityStatus{Sub: "a-lie"},
	})
	want := "gardener.cloud:workloadidentity:" + namespace + ":id:" + string(identity.UID)
	if identity.Status.Sub != want {
		t.Errorf("subject: got %q, want %q", identity.Status.Sub, want)
	}
	update(t, identity)
	if identity.Status.Sub != want {
		t.Errorf("subject after an update: %q", identity.Status.Sub)
	}
}

// deploymentVersions writes in one version and reads in the other, both ways.
func deploymentVersions(t *testing.T) {
	ctx, c := context.Background(), gardentest.Client(t)
	chart := []byte("chart")
	now := create(t, &corev1.ControllerDeployment{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "now-"}, Helm: &corev1.HelmControllerDeployment{RawChart: chart},
	})
	former := &v1beta1.ControllerDeployment{}
	if err := c.Get(ctx, client.ObjectKeyFromObject(now), former); err != nil {
		t.Fatal(err)
	}
	if former.Type != "helm" || !strings.Contains(string(former.ProviderConfig.Raw), "Y2hhcnQ=") {
		t.Errorf("as v1beta1: %s %s", former.Type, former.ProviderConfig.Raw)
	}
	custom := create(t, &v1beta1.ControllerDeployment{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "former-"}, Type: "own", ProviderConfig: runtime.RawExtension{Raw: []byte(`{"a":"b"}`)},
	})
	if err := c.Get(ctx, client.ObjectKeyFromObject(custom), now); err != nil {
		t.Fatal(err)
	}
	patch(t, now, `{"metadata":{"labels":{"seen":"as-v1"}}}`)
	if err := c.Get(ctx, client.ObjectKeyFromObject(custom), custom); err != nil {
		t.Fatal(err)
	}
	if custom.Type != "own" || string(custom.ProviderConfig.Raw) != `{"a":"b"}` || custom.Labels["seen"] != "as-v1" {
		t.Errorf("back as v1beta1: %s %s %v", custom.Type, custom.ProviderConfig.Raw, custom.Labels)
	}
}

func deletionIsConfirmed(t *testing.T) {
	namespace := gardentest.Namespace(t)
	for _, kind := range []string{"Project", "ManagedSeed", "ShootState"} {
		s := sampleOf(t, kind)
		ctx, c, name := context.Background(), s.client(t, namespace), "confirm-"+rand.String(5)
		object := s.object(t, namespace, name)
		object.SetAnnotations(nil)
		create(t, object)
		err := c.Delete(ctx, name, metav1.DeleteOptions{})
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), " annotate "+strings.ToLower(kind)+"s "+name+" confirmation.gardener.cloud/deletion=true") {
			t.Errorf("%s: got %v, want Forbidden with what to do", kind, err)
		}
		one := metav1.ListOptions{FieldSelector: "metadata.name=" + name}
		if err := c.DeleteCollection(ctx, metav1.DeleteOptions{}, one); !apierrors.IsForbidden(err) {
			t.Errorf("%s among others: got %v, want Forbidden", kind, err)
		}
		patch(t, object, `{"metadata":{"finalizers":["example.org/held"],"annotations":{"confirmation.gardener.cloud/deletion":"true"}}}`)
		if err := c.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Fatalf("%s: confirmed: %v", kind, err)
		}
		patch(t, object, `{"metadata":{"annotations":null}}`)
		if err := c.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("%s: a second time: %v", kind, err)
		}
		patch(t, object, `{"metadata":{"finalizers":null}}`)
		wantGone(t, object)
	}
}

func deletionOfSeeds(t *testing.T) {
	ctx, c, namespace := context.Background(), gardentest.Client(t), gardentest.Namespace(t)
	seed := create(t, sampleOf(t, "Seed").object(t, "", "bound-"+rand.String(5)))
	shoot := newShoot(namespace, "bound")
	shoot.Spec.SeedName = ptr.To(seed.GetName())
	create(t, shoot)
	if err := c.Delete(ctx, seed); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), namespace+"/bound") {
		t.Errorf("got %v, want Forbidden with the cluster", err)
	}
	if err := c.Delete(ctx, shoot); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, seed); err != nil {
		t.Errorf("without clusters: %v", err)
	}
}

func projectOwner(t *testing.T) {
	user := func(name string) rbacv1.Subject {
		return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}
	}
	config := rest.CopyConfig(gardentest.Start(t).RESTConfig())
	config.Impersonate = rest.ImpersonationConfig{UserName: "ada", Groups: []string{"system:masters"}}
	ada, err := client.New(config, client.Options{Scheme: scheme.Client()})
	if err != nil {
		t.Fatal(err)
	}
	project := &v1beta1.Project{
		ObjectMeta: metav1.ObjectMeta{Name: "owned-" + rand.String(5)},
		Spec:       v1beta1.ProjectSpec{CreatedBy: ptr.To(user("a-lie")), Members: []v1beta1.ProjectMember{{Subject: user("bob"), Role: "viewer"}}},
	}
	if err := ada.Create(context.Background(), project); err != nil {
		t.Fatal(err)
	}
	if *project.Spec.CreatedBy != user("ada") || *project.Spec.Owner != user("ada") {
		t.Errorf("creator %v, owner %v", project.Spec.CreatedBy, project.Spec.Owner)
	}
	roles := func() string {
		var all []string
		for _, member := range project.Spec.Members {
			all = append(all, member.Name+"="+strings.Join(append([]string{member.Role}, member.Roles...), "+"))
		}
		return strings.Join(all, " ")
	}
	if got, want := roles(), "bob=viewer ada=admin+owner"; got != want {
		t.Errorf("members: got %s, want %s", got, want)
	}
	patch(t, project, `{"spec":{"owner":{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"bob"}}}`)
	if got, want := roles(), "bob=viewer+owner ada=admin"; got != want {
		t.Errorf("members after a change of the owner: got %s, want %s", got, want)
	}
}

func projectKeepsWhatWasFilledIn(t *testing.T) {
	name := "t" + rand.String(6)
	project := create(t, &v1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1beta1.ProjectSpec{Namespace: ptr.To("garden-" + name)}})
	before := project.Spec.DeepCopy()
	project.Spec = v1beta1.ProjectSpec{Description: ptr.To("replaced")}
	update(t, project)
	if *project.Spec.Owner != *before.Owner || *project.Spec.CreatedBy != *before.CreatedBy || *project.Spec.Namespace != *before.Namespace {
		t.Errorf("got %+v", project.Spec)
	}
}

func managedSeedKnowsItsCluster(t *testing.T) {
	s := sampleOf(t, "ManagedSeed")
	object := s.object(t, "", "described-"+rand.String(5))
	shoot := &v1beta1.Shoot{}
	if err := gardentest.Client(t).Get(context.Background(), client.ObjectKey{Namespace: "garden", Name: "of-" + object.GetName()}, shoot); err != nil {
		t.Fatal(err)
	}
	networking := shoot.Spec.Networking
	config := object.Object["spec"].(map[string]any)["gardenlet"].(map[string]any)["config"].(map[string]any)
	config["seedConfig"] = spec(map[string]any{"taints": []any{map[string]any{"key": "a"}}})
	create(t, object)
	seed := &seedmanagementv1alpha1.ManagedSeed{}
	if err := gardentest.Client(t).Get(context.Background(), client.ObjectKeyFromObject(object), seed); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"type":"local"`, `"region":"local"`, `"pods":"` + *networking.Pods + `"`, `"services":"` + *networking.Services + `"`, `"key":"a"`} {
		if !strings.Contains(string(seed.Spec.Gardenlet.Config.Raw), want) {
			t.Errorf("no %s in %s", want, seed.Spec.Gardenlet.Config.Raw)
		}
	}
}

// labelsCanAlwaysChange takes an object to where its rules would refuse it, by
// taking away what it refers to, and wants labels and finalizers to be free.
func labelsCanAlwaysChange(t *testing.T) {
	ctx, c, namespace := context.Background(), gardentest.Client(t), gardentest.Namespace(t)
	parent := create(t, sampleOf(t, "CloudProfile").object(t, "", "parent-"+rand.String(5)))
	profile := create(t, &v1beta1.NamespacedCloudProfile{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "orphan", Finalizers: []string{"example.org/held"}},
		Spec:       v1beta1.NamespacedCloudProfileSpec{Parent: v1beta1.CloudProfileReference{Kind: "CloudProfile", Name: parent.GetName()}},
	})
	if err := c.Delete(ctx, parent); err != nil {
		t.Fatal(err)
	}
	// Rules accept what the server's memory, a moment behind the store, still has.
	eventually(t, "the parent to be forgotten", func() error {
		err := c.Get(ctx, client.ObjectKeyFromObject(parent), parent.DeepCopyObject().(client.Object), &client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: "0"}})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errNotYet, err)
	})
	if err := c.Patch(ctx, profile.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"limits":{"maxNodesTotal":3}}}`))); !apierrors.IsInvalid(err) {
		t.Errorf("a change without a parent: %v", err)
	}
	patch(t, profile, `{"metadata":{"labels":{"a":"b"}}}`)
	if err := c.Delete(ctx, profile); err != nil {
		t.Fatal(err)
	}
	patch(t, profile, `{"metadata":{"finalizers":null}}`)
	wantGone(t, profile)
}

func withoutGeneration(t *testing.T) {
	counted := map[string]bool{}
	for _, s := range samples() {
		counted[s.kind] = s.generation
	}
	// TestEveryKind compares what is served with this.
	for _, kind := range []string{"CloudProfile", "Quota", "SecretBinding", "CredentialsBinding", "ExposureClass"} {
		if counted[kind] {
			t.Errorf("%s is said to have one", kind)
		}
	}
}
