package soak_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	operationsv1alpha1 "github.com/gardener/gardener/pkg/apis/operations/v1alpha1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

const (
	// home is where seeds and controller deployments look for what they name.
	home     = "garden"
	projects = 4
)

// load is what users do.
type load struct {
	*testing.T
	client client.Client
	kinds  []kind

	mutex    sync.Mutex
	outcomes map[string]int
}

// kind is one kind of object that is created, changed and deleted at random.
type kind struct {
	name string
	// count is how many names there are, in each project where it has namespaces.
	count int
	// namespaces are those in which it is; nil for kinds without.
	namespaces []string
	make       func(r *rand.Rand, meta metav1.ObjectMeta) client.Object
	list       client.ObjectList
}

func projectNamespace(i int) string { return fmt.Sprintf("garden-soak%d", i) }

func newLoad(t *testing.T) *load {
	t.Helper()
	l := &load{T: t, client: gardentest.Client(t), outcomes: map[string]int{}}
	var namespaces []string
	for i := range projects {
		namespaces = append(namespaces, projectNamespace(i))
	}
	l.kinds = kinds(namespaces)
	return l
}

// prepare makes the projects and waits for their namespaces, which the
// controllers make.
func (l *load) prepare() {
	l.Helper()
	// Managed seeds are clusters of the garden's own project.
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}}
	labels := []byte(`{"metadata":{"labels":{"gardener.cloud/role":"project","project.gardener.cloud/name":"garden"}}}`)
	if err := l.client.Patch(l.Context(), namespace, client.RawPatch(types.MergePatchType, labels)); err != nil {
		l.Fatal(err)
	}
	own := &gardencorev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: home}, Spec: gardencorev1beta1.ProjectSpec{Namespace: ptr.To(home)}}
	if err := l.client.Create(l.Context(), own); client.IgnoreAlreadyExists(err) != nil {
		l.Fatal(err)
	}
	for i := range projects {
		project := &gardencorev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("soak%d", i), Annotations: confirmed()}}
		project.Spec.Namespace = ptr.To(projectNamespace(i))
		if err := l.client.Create(l.Context(), project); err != nil {
			l.Fatal(err)
		}
	}
	l.settle("before the load", func(w *world) []string {
		problems := checkRoles(w, projects)
		for i := range projects {
			if _, there := w.objects["Namespace"][key("", projectNamespace(i))]; !there {
				problems = append(problems, "Namespace "+projectNamespace(i)+" is not there yet")
			}
		}
		return problems
	})
}

func confirmed() map[string]string {
	return map[string]string{"confirmation.gardener.cloud/deletion": "true"}
}

// kinds lists everything that the load makes.
func kinds(namespaces []string) []kind {
	return []kind{
		{"Secret", 6, append([]string{home}, namespaces...), makeSecret, &corev1.SecretList{}},
		{"ConfigMap", 3, append([]string{home}, namespaces...), makeConfigMap, &corev1.ConfigMapList{}},
		{"WorkloadIdentity", 2, namespaces, makeWorkloadIdentity, &securityv1alpha1.WorkloadIdentityList{}},
		{"Quota", 2, namespaces, makeQuota, &gardencorev1beta1.QuotaList{}},
		{"SecretBinding", 3, namespaces, makeSecretBinding, &gardencorev1beta1.SecretBindingList{}},
		{"CredentialsBinding", 3, namespaces, makeCredentialsBinding, &securityv1alpha1.CredentialsBindingList{}},
		{"NamespacedCloudProfile", 1, namespaces, makeNamespacedCloudProfile, &gardencorev1beta1.NamespacedCloudProfileList{}},
		{"Shoot", 4, append([]string{home}, namespaces...), makeShoot, &gardencorev1beta1.ShootList{}},
		{"Bastion", 2, namespaces, makeBastion, &operationsv1alpha1.BastionList{}},
		{"ShootState", 4, namespaces, makeShootState, &gardencorev1beta1.ShootStateList{}},
		{"BackupEntry", 2, namespaces, makeBackupEntry, &gardencorev1beta1.BackupEntryList{}},
		{"BackupBucket", 2, nil, makeBackupBucket, &gardencorev1beta1.BackupBucketList{}},
		{"Seed", 3, nil, makeSeed, &gardencorev1beta1.SeedList{}},
		{"CloudProfile", 2, nil, makeCloudProfile, &gardencorev1beta1.CloudProfileList{}},
		{"ManagedSeed", 2, []string{home}, makeManagedSeed, &seedmanagementv1alpha1.ManagedSeedList{}},
		{"ManagedSeedSet", 2, []string{home}, makeManagedSeedSet, &seedmanagementv1alpha1.ManagedSeedSetList{}},
		{"ExposureClass", 2, nil, makeExposureClass, &gardencorev1beta1.ExposureClassList{}},
		{"ControllerDeployment", 2, nil, makeControllerDeployment, &gardencorev1.ControllerDeploymentList{}},
		{"ControllerRegistration", 3, nil, makeControllerRegistration, &gardencorev1beta1.ControllerRegistrationList{}},
	}
}

func pick(r *rand.Rand, prefix string, count int) string {
	return fmt.Sprintf("%s%d", prefix, r.IntN(count))
}

func sometimes(r *rand.Rand) bool { return r.IntN(2) == 0 }

func makeSecret(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	if meta.Namespace == home && sometimes(r) {
		meta.Labels = map[string]string{"gardener.cloud/role": "openvpn-diffie-hellman"}
	}
	return &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"key": fmt.Sprint(r.IntN(100))}}
}

func makeConfigMap(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	return &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"key": fmt.Sprint(r.IntN(100))}}
}

func makeWorkloadIdentity(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	return &securityv1alpha1.WorkloadIdentity{ObjectMeta: meta, Spec: securityv1alpha1.WorkloadIdentitySpec{
		Audiences: []string{pick(r, "a", 3)}, TargetSystem: securityv1alpha1.TargetSystem{Type: "local"},
	}}
}

func makeQuota(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	return &gardencorev1beta1.Quota{ObjectMeta: meta, Spec: gardencorev1beta1.QuotaSpec{
		Scope:   corev1.ObjectReference{APIVersion: "core.gardener.cloud/v1beta1", Kind: "Project"},
		Metrics: corev1.ResourceList{"cpu": *resource.NewQuantity(int64(1000+r.IntN(9)), resource.DecimalSI)},
	}}
}

func quotas(r *rand.Rand, namespace string) []corev1.ObjectReference {
	if !sometimes(r) {
		return nil
	}
	return []corev1.ObjectReference{{Namespace: namespace, Name: pick(r, "quota", 2)}}
}

func makeSecretBinding(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	return &gardencorev1beta1.SecretBinding{
		ObjectMeta: meta, Quotas: quotas(r, meta.Namespace), Provider: &gardencorev1beta1.SecretBindingProvider{Type: "local"},
		SecretRef: corev1.SecretReference{Namespace: meta.Namespace, Name: pick(r, "secret", 6)},
	}
}

func makeCredentialsBinding(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	reference := corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: meta.Namespace, Name: pick(r, "secret", 6)}
	if sometimes(r) {
		reference = corev1.ObjectReference{APIVersion: "security.gardener.cloud/v1alpha1", Kind: "WorkloadIdentity", Namespace: meta.Namespace, Name: pick(r, "workloadidentity", 2)}
	}
	return &securityv1alpha1.CredentialsBinding{
		ObjectMeta: meta, Quotas: quotas(r, meta.Namespace),
		Provider: securityv1alpha1.CredentialsBindingProvider{Type: "local"}, CredentialsRef: reference,
	}
}

func makeNamespacedCloudProfile(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	return &gardencorev1beta1.NamespacedCloudProfile{ObjectMeta: meta, Spec: gardencorev1beta1.NamespacedCloudProfileSpec{
		Parent: gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: "local"},
		Limits: &gardencorev1beta1.Limits{MaxNodesTotal: ptr.To(int32(10 + r.IntN(5)))},
	}}
}

func shootSpec() gardencorev1beta1.ShootSpec {
	return gardencorev1beta1.ShootSpec{
		CloudProfile: &gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: "local"},
		Region:       "local", Kubernetes: gardencorev1beta1.Kubernetes{Version: "1.36.3"},
		Provider: gardencorev1beta1.Provider{Type: "local", Workers: []gardencorev1beta1.Worker{{
			Name: "worker", Minimum: 1, Maximum: 1, Machine: gardencorev1beta1.Machine{Type: "local"},
		}}},
	}
}

func makeShoot(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	// As an agent does before it begins.
	meta.Finalizers = []string{gardencorev1beta1.GardenerName}
	shoot := &gardencorev1beta1.Shoot{ObjectMeta: meta, Spec: shootSpec()}
	if sometimes(r) {
		shoot.Spec.SeedName = ptr.To(pick(r, "seed", 3))
	}
	if r.IntN(4) == 0 {
		shoot.Spec.CloudProfile = &gardencorev1beta1.CloudProfileReference{Kind: "NamespacedCloudProfile", Name: "namespacedcloudprofile0"}
	}
	if sometimes(r) {
		shoot.Spec.CredentialsBindingName = ptr.To(pick(r, "credentialsbinding", 3))
	}
	for i := range r.IntN(3) {
		kind, version, name := "Secret", "v1", pick(r, "secret", 6)
		if sometimes(r) {
			kind, name = "ConfigMap", pick(r, "configmap", 3)
		}
		shoot.Spec.Resources = append(shoot.Spec.Resources, gardencorev1beta1.NamedResourceReference{
			Name: fmt.Sprint("r", i), ResourceRef: resourceRef(version, kind, name),
		})
	}
	return shoot
}

func makeBastion(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl someone@example.com"
	bastion := &operationsv1alpha1.Bastion{ObjectMeta: meta, Spec: operationsv1alpha1.BastionSpec{SSHPublicKey: key}}
	bastion.Spec.ShootRef.Name = pick(r, "shoot", 4)
	bastion.Spec.Ingress = []operationsv1alpha1.BastionIngressPolicy{{}}
	bastion.Spec.Ingress[0].IPBlock.CIDR = "10.0.0.0/8"
	return bastion
}

func makeShootState(_ *rand.Rand, meta metav1.ObjectMeta) client.Object {
	// It has its Shoot's name.
	meta.Name = "shoot" + meta.Name[len(meta.Name)-1:]
	return &gardencorev1beta1.ShootState{ObjectMeta: meta}
}

func makeBackupEntry(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	return &gardencorev1beta1.BackupEntry{ObjectMeta: meta, Spec: gardencorev1beta1.BackupEntrySpec{
		BucketName: pick(r, "backupbucket", 2), SeedName: ptr.To(pick(r, "seed", 3)),
	}}
}

func makeBackupBucket(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	return &gardencorev1beta1.BackupBucket{ObjectMeta: meta, Spec: gardencorev1beta1.BackupBucketSpec{
		Provider: gardencorev1beta1.BackupBucketProvider{Type: "local", Region: "local"}, SeedName: ptr.To(pick(r, "seed", 3)),
	}}
}

func makeSeed(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	seed := bootstrap.LocalSeed(meta.Name, "local")
	seed.Annotations, seed.Labels = meta.Annotations, map[string]string{"soak": pick(r, "", 3)}
	for i := range r.IntN(3) {
		seed.Spec.Resources = append(seed.Spec.Resources, gardencorev1beta1.NamedResourceReference{
			Name: fmt.Sprint("r", i), ResourceRef: resourceRef("v1", "Secret", pick(r, "secret", 6)),
		})
	}
	return seed
}

// gardenlet is the least configuration that makes a managed seed.
const gardenlet = `{"apiVersion":"gardenlet.config.gardener.cloud/v1alpha1","kind":"GardenletConfiguration",
	"seedConfig":{"spec":{"provider":{"type":"local","region":"local"},"networks":{"pods":"10.1.0.0/16","services":"10.2.0.0/16"}}}}`

func makeManagedSeed(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	managed := &seedmanagementv1alpha1.ManagedSeed{ObjectMeta: meta}
	managed.Spec.Shoot = &seedmanagementv1alpha1.Shoot{Name: pick(r, "shoot", 4)}
	managed.Spec.Gardenlet.Config.Raw = []byte(gardenlet)
	return managed
}

// makeManagedSeedSet wants up to two clusters, which get as far as the agents of
// the load take them.
func makeManagedSeedSet(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	labels := map[string]string{"set": meta.Name}
	set := &seedmanagementv1alpha1.ManagedSeedSet{ObjectMeta: meta, Spec: seedmanagementv1alpha1.ManagedSeedSetSpec{
		Replicas: ptr.To(r.Int32N(3)), Selector: metav1.LabelSelector{MatchLabels: labels},
		Template:      seedmanagementv1alpha1.ManagedSeedTemplate{ObjectMeta: metav1.ObjectMeta{Labels: labels}},
		ShootTemplate: gardencorev1beta1.ShootTemplate{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: shootSpec()},
	}}
	set.Spec.Template.Spec.Gardenlet.Config.Raw = []byte(gardenlet)
	return set
}

func makeCloudProfile(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	return &gardencorev1beta1.CloudProfile{ObjectMeta: meta, Spec: gardencorev1beta1.CloudProfileSpec{
		Type: "local", Kubernetes: gardencorev1beta1.KubernetesSettings{Versions: []gardencorev1beta1.ExpirableVersion{{Version: "1.36.3"}}},
		Regions:       []gardencorev1beta1.Region{{Name: "local"}},
		MachineTypes:  []gardencorev1beta1.MachineType{{Name: "local", CPU: *resource.NewQuantity(int64(1+r.IntN(4)), resource.DecimalSI), GPU: resource.MustParse("0"), Memory: resource.MustParse("1Gi")}},
		MachineImages: []gardencorev1beta1.MachineImage{{Name: "debian", Versions: []gardencorev1beta1.MachineImageVersion{{ExpirableVersion: gardencorev1beta1.ExpirableVersion{Version: "12.0.0"}}}}},
	}}
}

func makeExposureClass(_ *rand.Rand, meta metav1.ObjectMeta) client.Object {
	return &gardencorev1beta1.ExposureClass{ObjectMeta: meta, Handler: "handler"}
}

func makeControllerDeployment(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	return &gardencorev1.ControllerDeployment{ObjectMeta: meta, Helm: &gardencorev1.HelmControllerDeployment{RawChart: []byte(pick(r, "chart", 5))}}
}

func makeControllerRegistration(r *rand.Rand, meta metav1.ObjectMeta) client.Object {
	registration := &gardencorev1beta1.ControllerRegistration{ObjectMeta: meta, Spec: gardencorev1beta1.ControllerRegistrationSpec{
		Deployment: &gardencorev1beta1.ControllerRegistrationDeployment{
			DeploymentRefs: []gardencorev1beta1.DeploymentRef{{Name: pick(r, "controllerdeployment", 2)}},
			Policy:         ptr.To([]gardencorev1beta1.ControllerDeploymentPolicy{"OnDemand", "Always", "AlwaysExceptNoShoots"}[r.IntN(3)]),
		},
	}}
	registration.Spec.Resources = []gardencorev1beta1.ControllerResource{{Kind: "Extension", Type: meta.Name}}
	return registration
}

// run lets all clients work until the context ends; the channel is closed then.
func (l *load) run(ctx context.Context, seed uint64) <-chan struct{} {
	done := make(chan struct{})
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			c, err := client.New(gardentest.Start(l).RESTConfig(), client.Options{Scheme: scheme.Client()})
			if err != nil {
				l.Error(err)
				return
			}
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for ctx.Err() == nil {
				l.step(ctx, c, r)
				// Twenty people, not twenty machines.
				sleep(ctx, time.Duration(r.IntN(300))*time.Millisecond)
			}
		})
	}
	go func() { running.Wait(); close(done) }()
	return done
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// step is one thing that somebody does: more creations than deletions.
func (l *load) step(ctx context.Context, c client.Client, r *rand.Rand) {
	k := l.kinds[r.IntN(len(l.kinds))]
	meta := metav1.ObjectMeta{Name: lower(k.name) + fmt.Sprint(r.IntN(k.count)), Annotations: confirmed()}
	if k.namespaces != nil {
		meta.Namespace = k.namespaces[r.IntN(len(k.namespaces))]
	}
	fresh := k.make(r, meta)
	var verb string
	var err error
	switch r.IntN(5) {
	case 0, 1:
		verb, err = "create", c.Create(ctx, fresh)
	case 2, 3:
		verb, err = "change", change(ctx, c, fresh)
	default:
		verb, err = "delete", c.Delete(ctx, fresh)
	}
	l.count(ctx, verb, k.name, err)
}

// change gives an object that is there the content of another.
func change(ctx context.Context, c client.Client, fresh client.Object) error {
	have := fresh.DeepCopyObject().(client.Object)
	if err := c.Get(ctx, client.ObjectKeyFromObject(fresh), have); err != nil {
		return err
	}
	fresh.SetResourceVersion(have.GetResourceVersion())
	fresh.SetUID(have.GetUID())
	fresh.SetFinalizers(have.GetFinalizers())
	fresh.SetOwnerReferences(have.GetOwnerReferences())
	labels := maps.Clone(fresh.GetLabels())
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, have.GetLabels())
	fresh.SetLabels(labels)
	annotations := maps.Clone(have.GetAnnotations())
	maps.Copy(annotations, fresh.GetAnnotations())
	fresh.SetAnnotations(annotations)
	return c.Update(ctx, fresh)
}

// count keeps what came of a step. Only answers that nobody can mean are
// failures.
func (l *load) count(ctx context.Context, verb, kind string, err error) {
	outcome := "done"
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return
	case apierrors.IsInternalError(err), apierrors.ReasonForError(err) == metav1.StatusReasonUnknown:
		l.Errorf("%s %s: %v", verb, kind, err)
		outcome = "broken"
	default:
		outcome = string(apierrors.ReasonForError(err))
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.outcomes[verb+" "+outcome]++
	if err == nil {
		l.outcomes[verb+" "+kind]++
	}
}

// report wants every kind to have been created, changed and deleted: a load that
// is always refused shows nothing.
func (l *load) report() {
	l.Helper()
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, k := range l.kinds {
		for _, verb := range []string{"create", "delete"} {
			if l.outcomes[verb+" "+k.name] == 0 {
				l.Errorf("nobody managed to %s a %s", verb, k.name)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(l.outcomes)) {
		l.Logf("%6d %s", l.outcomes[key], key)
	}
}

// playAgents does what seeds' agents do: they let go of clusters at the end of
// their life, and bring those of sets up.
func (l *load) playAgents(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			shoots := &gardencorev1beta1.ShootList{}
			if err := l.client.List(ctx, shoots); err == nil {
				for i := range shoots.Items {
					l.letGo(ctx, &shoots.Items[i])
					l.bringUp(ctx, &shoots.Items[i])
				}
			}
			sleep(ctx, 500*time.Millisecond)
		}
	})
	return func() { cancel(); running.Wait() }
}

func (l *load) letGo(ctx context.Context, shoot *gardencorev1beta1.Shoot) {
	base := shoot.DeepCopy()
	if shoot.DeletionTimestamp == nil || !controllerutil.RemoveFinalizer(shoot, gardencorev1beta1.GardenerName) {
		return
	}
	// What does not succeed now does in half a second.
	_ = l.client.Patch(ctx, shoot, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

func (l *load) bringUp(ctx context.Context, shoot *gardencorev1beta1.Shoot) {
	if shoot.DeletionTimestamp != nil || metav1.GetControllerOf(shoot) == nil || shoot.Status.ObservedGeneration == shoot.Generation {
		return
	}
	base := shoot.DeepCopy()
	shoot.Status.ObservedGeneration = shoot.Generation
	shoot.Status.LastOperation = &gardencorev1beta1.LastOperation{
		Type: gardencorev1beta1.LastOperationTypeCreate, State: gardencorev1beta1.LastOperationStateSucceeded, Progress: 100, LastUpdateTime: metav1.Now(),
	}
	_ = l.client.Status().Patch(ctx, shoot, client.MergeFrom(base)) // as above
}
