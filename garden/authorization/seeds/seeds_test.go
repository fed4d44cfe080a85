package seeds_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	operationsv1alpha1 "github.com/gardener/gardener/pkg/apis/operations/v1alpha1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	loamv1alpha1 "github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

const seedsGroup = "gardener.cloud:system:seeds"

// side is one seed with one cluster in one project, and its agent.
type side struct {
	seed, namespace, project string
	shoot                    *corev1beta1.Shoot
	agent                    client.WithWatch
}

func newSide(t *testing.T, admin client.Client) side {
	t.Helper()
	s := side{seed: "s" + rand.String(6), namespace: gardentest.Namespace(t)}
	s.project = strings.TrimPrefix(s.namespace, "garden-")
	s.agent = gardentest.ClientFor(t, gardentest.User(t, "gardener.cloud:system:seed:"+s.seed, seedsGroup))
	create(t, admin, &corev1beta1.Seed{
		ObjectMeta: metav1.ObjectMeta{Name: s.seed},
		Spec: corev1beta1.SeedSpec{
			Provider: corev1beta1.SeedProvider{Type: "local", Region: "local"},
			Networks: corev1beta1.SeedNetworks{Pods: "10.3.0.0/16", Services: "10.4.0.0/16"},
			Backup: &corev1beta1.Backup{Provider: "local", CredentialsRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "Secret", Namespace: "garden", Name: "backup-" + s.seed,
			}},
		},
	})
	create(t, admin, secret("garden", "backup-"+s.seed))
	create(t, admin, secret(s.namespace, "cloud"))
	create(t, admin, secret(s.namespace, "private"))
	create(t, admin, &securityv1alpha1.CredentialsBinding{
		ObjectMeta:     metav1.ObjectMeta{Namespace: s.namespace, Name: "credentials"},
		Provider:       securityv1alpha1.CredentialsBindingProvider{Type: "local"},
		CredentialsRef: corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: s.namespace, Name: "cloud"},
	})
	s.shoot = &corev1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "plant"},
		Spec: corev1beta1.ShootSpec{
			SeedName:               &s.seed,
			CloudProfile:           &corev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: "local"},
			CredentialsBindingName: ptr.To("credentials"),
			Region:                 "local",
			Kubernetes:             corev1beta1.Kubernetes{Version: "1.36.3"},
			Provider: corev1beta1.Provider{Type: "local", Workers: []corev1beta1.Worker{{
				Name: "pool", Minimum: 1, Maximum: 1,
				Machine: corev1beta1.Machine{Type: "local", Image: &corev1beta1.ShootMachineImage{Name: "debian", Version: ptr.To("12.0.0")}},
			}}},
			Networking: &corev1beta1.Networking{Type: ptr.To("flannel"), Pods: ptr.To("10.244.0.0/16"), Services: ptr.To("10.96.0.0/12"), Nodes: ptr.To("10.250.0.0/16")},
		},
	}
	create(t, admin, s.shoot)
	return s
}

func secret(namespace, name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: map[string]string{"key": "value"}}
}

func create(t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	if err := c.Create(t.Context(), object); err != nil {
		t.Fatalf("creating %T %q: %v", object, object.GetName(), err)
	}
}

func internal(namespace, name string) *corev1beta1.InternalSecret {
	return &corev1beta1.InternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func at(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// attempt is something that an agent tries.
type attempt struct {
	name string
	do   func() error
}

func wantAllowed(t *testing.T, attempts []attempt) {
	t.Helper()
	for _, attempt := range attempts {
		if err := attempt.do(); err != nil {
			t.Errorf("%s: %v", attempt.name, err)
		}
	}
}

func wantForbidden(t *testing.T, attempts []attempt) {
	t.Helper()
	for _, attempt := range attempts {
		if err := attempt.do(); !refused(err) {
			t.Errorf("%s: got %v, want a refusal", attempt.name, err)
		}
	}
}

// refused tells whether the user may not do something, or may not read what
// their object names, which is found together with what else is wrong with it.
func refused(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		return apierrors.IsForbidden(err)
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Type == metav1.CauseTypeForbidden })
}

// landscape is shared by the tests of this package: each needs two sides.
func landscape(t *testing.T) (admin client.Client, mine, theirs side) {
	t.Helper()
	admin = gardentest.Client(t)
	return admin, newSide(t, admin), newSide(t, admin)
}

func TestAnAgentReadsWhatItsSeedNeeds(t *testing.T) {
	_, mine, _ := landscape(t)
	ctx, agent, namespace := t.Context(), mine.agent, mine.namespace
	get := func(object client.Object, namespace, name string) func() error {
		return func() error { return agent.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object) }
	}
	wantAllowed(t, []attempt{
		{"its seed", get(&corev1beta1.Seed{}, "", mine.seed)},
		{"its cluster", get(&corev1beta1.Shoot{}, namespace, "plant")},
		{"the project", get(&corev1beta1.Project{}, "", mine.project)},
		{"the namespace", get(&corev1.Namespace{}, "", namespace)},
		{"the cloud profile", get(&corev1beta1.CloudProfile{}, "", "local")},
		{"the binding", get(&securityv1alpha1.CredentialsBinding{}, namespace, "credentials")},
		{"the credentials", get(&corev1.Secret{}, namespace, "cloud")},
		{"the backup credentials", get(&corev1.Secret{}, "garden", "backup-"+mine.seed)},
		{"its clusters", func() error {
			list := &corev1beta1.ShootList{}
			err := agent.List(ctx, list, client.MatchingFields{"spec.seedName": mine.seed})
			if err == nil && (len(list.Items) != 1 || list.Items[0].Namespace != namespace) {
				t.Errorf("got %d clusters", len(list.Items))
			}
			return err
		}},
		{"a watch of its clusters", func() error {
			watcher, err := agent.Watch(ctx, &corev1beta1.ShootList{}, client.MatchingFields{"status.seedName": mine.seed})
			if err == nil {
				watcher.Stop()
			}
			return err
		}},
		{"its seed in a list", func() error {
			return agent.List(ctx, &corev1beta1.SeedList{}, client.MatchingFields{"metadata.name": mine.seed})
		}},
		{"the project of a namespace", func() error {
			return agent.List(ctx, &corev1beta1.ProjectList{}, client.MatchingFields{"spec.namespace": namespace})
		}},
		{"all cloud profiles", func() error { return agent.List(ctx, &corev1beta1.CloudProfileList{}) }},
	})
}

func TestAnAgentWritesWhatIsItsOwn(t *testing.T) {
	_, mine, _ := landscape(t)
	ctx, agent, namespace := t.Context(), mine.agent, mine.namespace
	machine := &loamv1alpha1.Machine{ObjectMeta: at(namespace, "m-"+mine.seed), Spec: loamv1alpha1.MachineSpec{ShootName: "plant", Pool: "pool", Role: loamv1alpha1.RoleWorker, ProviderType: "local"}}
	lease := &coordinationv1.Lease{ObjectMeta: at("gardener-system-seed-lease", mine.seed)}
	wantAllowed(t, []attempt{
		{"the status of its cluster", func() error {
			base := mine.shoot.DeepCopy()
			mine.shoot.Status.SeedName, mine.shoot.Status.TechnicalID = &mine.seed, "shoot--x"
			return agent.Status().Patch(ctx, mine.shoot, client.MergeFrom(base))
		}},
		{"a finalizer", func() error {
			base := mine.shoot.DeepCopy()
			mine.shoot.Finalizers = append(mine.shoot.Finalizers, "gardener")
			return agent.Patch(ctx, mine.shoot, client.MergeFrom(base))
		}},
		{"the keys of its cluster", func() error { return agent.Create(ctx, internal(namespace, "plant.pki")) }},
		{"the same read at once", func() error {
			return agent.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "plant.pki"}, internal("", ""))
		}},
		{"a kubeconfig", func() error { return agent.Create(ctx, secret(namespace, "plant.kubeconfig")) }},
		{"a certificate", func() error {
			return agent.Create(ctx, &corev1.ConfigMap{ObjectMeta: at(namespace, "plant.ca-cluster")})
		}},
		{"a look for a machine", func() error {
			return client.IgnoreNotFound(agent.Get(ctx, client.ObjectKeyFromObject(machine), &loamv1alpha1.Machine{}))
		}},
		{"a machine", func() error { return agent.Create(ctx, machine) }},
		{"the status of a machine that was just made", func() error {
			base := machine.DeepCopy()
			machine.Status.State = "Running"
			return agent.Status().Patch(ctx, machine, client.MergeFrom(base))
		}},
		{"the cluster's machines", func() error {
			return agent.List(ctx, &loamv1alpha1.MachineList{}, client.InNamespace(namespace), client.MatchingFields{"spec.shootName": "plant"})
		}},
		{"a machine's end", func() error { return agent.Delete(ctx, machine) }},
		{"its lease", func() error { return agent.Create(ctx, lease) }},
		{"its lease again", func() error {
			lease.Spec.HolderIdentity = ptr.To("me")
			return agent.Update(ctx, lease)
		}},
		{"an event", func() error {
			return agent.Create(ctx, &corev1.Event{ObjectMeta: at(namespace, "event"), InvolvedObject: corev1.ObjectReference{Namespace: namespace, Name: "plant", Kind: "Shoot"}})
		}},
		{"the end of what it published", func() error { return agent.Delete(ctx, secret(namespace, "plant.kubeconfig")) }},
	})
}

// TestAnAgentSeesNothingOfOthers is "an agent's certificate cannot read another
// seed's secrets", with all that could lead around it.
func TestAnAgentSeesNothingOfOthers(t *testing.T) {
	admin, mine, theirs := landscape(t)
	create(t, admin, internal(theirs.namespace, "plant.pki"))
	create(t, admin, &coordinationv1.Lease{ObjectMeta: at("gardener-system-seed-lease", theirs.seed)})
	create(t, admin, &loamv1alpha1.Machine{ObjectMeta: at(theirs.namespace, "m-theirs"), Spec: loamv1alpha1.MachineSpec{ShootName: "plant", Pool: "pool", Role: loamv1alpha1.RoleWorker, ProviderType: "local"}})
	ctx, agent := t.Context(), mine.agent
	var forbidden []attempt
	for name, object := range map[string]client.Object{
		"credentials":        secret(theirs.namespace, "cloud"),
		"backup credentials": secret("garden", "backup-"+theirs.seed),
		"a project's secret": secret(theirs.namespace, "private"),
		"own project's":      secret(mine.namespace, "private"),
		"keys":               internal(theirs.namespace, "plant.pki"),
		"cluster":            &corev1beta1.Shoot{ObjectMeta: at(theirs.namespace, "plant")},
		"seed":               &corev1beta1.Seed{ObjectMeta: at("", theirs.seed)},
		"project":            &corev1beta1.Project{ObjectMeta: at("", theirs.project)},
		"binding":            &securityv1alpha1.CredentialsBinding{ObjectMeta: at(theirs.namespace, "credentials")},
		"lease":              &coordinationv1.Lease{ObjectMeta: at("gardener-system-seed-lease", theirs.seed)},
		"namespace":          &corev1.Namespace{ObjectMeta: at("", theirs.namespace)},
		"machine":            &loamv1alpha1.Machine{ObjectMeta: at(theirs.namespace, "m-theirs")},
		"no machine":         &loamv1alpha1.Machine{ObjectMeta: at(theirs.namespace, "m-none")},
		"the system's":       secret("kube-system", "x"),
	} {
		key := client.ObjectKeyFromObject(object)
		forbidden = append(forbidden,
			attempt{"get " + name, func() error { return agent.Get(ctx, key, object) }},
			attempt{"patch " + name, func() error {
				return agent.Patch(ctx, object, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"mine":"yes"}}}`)))
			}},
			attempt{"delete " + name, func() error { return agent.Delete(ctx, object) }},
		)
	}
	for name, list := range map[string]client.ObjectList{
		"secrets": &corev1.SecretList{}, "internal secrets": &corev1beta1.InternalSecretList{}, "shoots": &corev1beta1.ShootList{},
		"seeds": &corev1beta1.SeedList{}, "projects": &corev1beta1.ProjectList{}, "config maps": &corev1.ConfigMapList{},
		"bindings": &securityv1alpha1.CredentialsBindingList{}, "bastions": &operationsv1alpha1.BastionList{},
		"roles": &rbacv1.ClusterRoleList{}, "machines": &loamv1alpha1.MachineList{}, "namespaces": &corev1.NamespaceList{},
	} {
		forbidden = append(forbidden,
			attempt{"list all " + name, func() error { return agent.List(ctx, list) }},
			attempt{"list in their namespace " + name, func() error { return agent.List(ctx, list, client.InNamespace(theirs.namespace)) }},
			attempt{"watch " + name, func() error {
				watcher, err := agent.Watch(ctx, list)
				if err == nil {
					watcher.Stop()
				}
				return err
			}},
		)
	}
	forbidden = append(forbidden,
		attempt{"their clusters by their seed", func() error {
			return agent.List(ctx, &corev1beta1.ShootList{}, client.MatchingFields{"spec.seedName": theirs.seed})
		}},
		attempt{"all but its own by its seed", func() error {
			return agent.List(ctx, &corev1beta1.ShootList{}, &client.ListOptions{Raw: &metav1.ListOptions{FieldSelector: "spec.seedName!=" + mine.seed}})
		}},
		attempt{"own secrets in a list", func() error { return agent.List(ctx, &corev1.SecretList{}, client.InNamespace(mine.namespace)) }},
		attempt{"their secret by name in a list", func() error {
			return agent.List(ctx, &corev1.SecretList{}, client.InNamespace(theirs.namespace), client.MatchingFields{"metadata.name": "cloud"})
		}},
		attempt{"their machines", func() error {
			return agent.List(ctx, &loamv1alpha1.MachineList{}, client.InNamespace(theirs.namespace), client.MatchingFields{"spec.shootName": "plant"})
		}},
		attempt{"all of its own at once", func() error { return agent.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(mine.namespace)) }},
		attempt{"all machines at once", func() error {
			return agent.DeleteAllOf(ctx, &loamv1alpha1.Machine{}, client.InNamespace(mine.namespace))
		}},
	)
	wantForbidden(t, forbidden)
}

// TestAnAgentCannotRaiseItself are ways to come by what it does not see.
func TestAnAgentCannotRaiseItself(t *testing.T) {
	admin, mine, theirs := landscape(t)
	create(t, admin, &corev1.ServiceAccount{ObjectMeta: at(mine.namespace, "robot")})
	ctx, agent := t.Context(), mine.agent
	patch := func(object client.Object, text string) func() error {
		return func() error {
			return agent.Patch(ctx, object, client.RawPatch("application/merge-patch+json", []byte(text)))
		}
	}
	ref := &corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: theirs.namespace, Name: "cloud"}
	subject := []rbacv1.Subject{{Kind: "Group", APIGroup: rbacv1.GroupName, Name: seedsGroup}}
	wantForbidden(t, []attempt{
		{"their cluster to its seed", patch(&corev1beta1.Shoot{ObjectMeta: at(theirs.namespace, "plant")}, `{"spec":{"seedName":"`+mine.seed+`"}}`)},
		{"their cluster by the binding", func() error {
			return agent.SubResource("binding").Update(ctx, theirs.shoot)
		}},
		{"its own cluster by the binding", func() error { return agent.SubResource("binding").Update(ctx, mine.shoot) }},
		{"its cluster's spec", patch(&corev1beta1.Shoot{ObjectMeta: at(mine.namespace, "plant")}, `{"spec":{"purpose":"testing"}}`)},
		{"its cluster's secrets", patch(&corev1beta1.Shoot{ObjectMeta: at(mine.namespace, "plant")}, `{"spec":{"resources":[{"name":"x","resourceRef":{"apiVersion":"v1","kind":"Secret","name":"private"}}]}}`)},
		{"its cluster's owners", patch(&corev1beta1.Shoot{ObjectMeta: at(mine.namespace, "plant")}, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Secret","name":"x","uid":"x"}]}}`)},
		{"its seed's credentials", patch(&corev1beta1.Seed{ObjectMeta: at("", mine.seed)}, `{"spec":{"backup":{"credentialsRef":{"namespace":"`+theirs.namespace+`","name":"cloud"}}}}`)},
		{"its seed's resources", patch(&corev1beta1.Seed{ObjectMeta: at("", mine.seed)}, `{"spec":{"resources":[{"name":"x","resourceRef":{"apiVersion":"v1","kind":"Secret","name":"backup-`+theirs.seed+`"}}]}}`)},
		{"a bucket with their credentials", func() error {
			return agent.Create(ctx, &corev1beta1.BackupBucket{ObjectMeta: at("", "bucket-"+mine.seed), Spec: corev1beta1.BackupBucketSpec{
				SeedName: &mine.seed, Provider: corev1beta1.BackupBucketProvider{Type: "local", Region: "local"}, CredentialsRef: ref,
			}})
		}},
		{"a bucket of their seed", func() error {
			return agent.Create(ctx, &corev1beta1.BackupBucket{ObjectMeta: at("", "bucket-"+theirs.seed), Spec: corev1beta1.BackupBucketSpec{
				SeedName: &theirs.seed, Provider: corev1beta1.BackupBucketProvider{Type: "local", Region: "local"},
				CredentialsRef: &corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: "garden", Name: "backup-" + mine.seed},
			}})
		}},
		{"another seed", func() error {
			return agent.Create(ctx, &corev1beta1.Seed{ObjectMeta: at("", "x"+mine.seed), Spec: corev1beta1.SeedSpec{
				Provider: corev1beta1.SeedProvider{Type: "local", Region: "local"}, Networks: corev1beta1.SeedNetworks{Pods: "10.3.0.0/16", Services: "10.4.0.0/16"},
			}})
		}},
		{"another seed's lease", func() error {
			return agent.Create(ctx, &coordinationv1.Lease{ObjectMeta: at("gardener-system-seed-lease", "x"+theirs.seed)})
		}},
		{"a secret of any name", func() error { return agent.Create(ctx, secret(mine.namespace, "any")) }},
		{"a secret of a generated name", func() error {
			return agent.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: mine.namespace, GenerateName: "plant.kubeconfig-"}})
		}},
		{"a secret of their cluster", func() error { return agent.Create(ctx, secret(theirs.namespace, "plant.kubeconfig")) }},
		{"the token of a service account", func() error {
			token := secret(mine.namespace, "plant.kubeconfig")
			token.Type, token.Annotations = corev1.SecretTypeServiceAccountToken, map[string]string{corev1.ServiceAccountNameKey: "robot"}
			return agent.Create(ctx, token)
		}},
		{"a machine of their cluster", func() error {
			return agent.Create(ctx, &loamv1alpha1.Machine{ObjectMeta: at(theirs.namespace, "m"), Spec: loamv1alpha1.MachineSpec{ShootName: "plant", Pool: "pool", Role: loamv1alpha1.RoleWorker, ProviderType: "local"}})
		}},
		{"a machine of a cluster that is not there", func() error {
			return agent.Create(ctx, &loamv1alpha1.Machine{ObjectMeta: at(mine.namespace, "m"), Spec: loamv1alpha1.MachineSpec{ShootName: "weed", Pool: "pool", Role: loamv1alpha1.RoleWorker, ProviderType: "local"}})
		}},
		{"a role", func() error { return agent.Create(ctx, &rbacv1.ClusterRole{ObjectMeta: at("", "mine")}) }},
		{"a binding of a role", func() error {
			return agent.Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: at("", "mine"), Subjects: subject, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}})
		}},
		{"a namespace", func() error { return agent.Create(ctx, &corev1.Namespace{ObjectMeta: at("", "seed-"+mine.seed)}) }},
		{"its cluster's end", func() error { return agent.Delete(ctx, mine.shoot) }},
		{"somebody else", func() error {
			config := gardentest.User(t, "gardener.cloud:system:seed:"+mine.seed, seedsGroup)
			config.Impersonate.UserName = "gardener.cloud:system:seed:" + theirs.seed
			config.Impersonate.Groups = []string{seedsGroup}
			return gardentest.ClientFor(t, config).Get(ctx, client.ObjectKeyFromObject(theirs.shoot), &corev1beta1.Shoot{})
		}},
	})

	// A role that someone binds by accident does not widen it either.
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: at("", "accident-"+mine.seed), Subjects: subject, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}}
	create(t, admin, binding)
	t.Cleanup(func() { _ = admin.Delete(t.Context(), binding) })
	time.Sleep(500 * time.Millisecond) // for the role to be known, were it asked
	wantForbidden(t, []attempt{
		{"a secret by a role", func() error {
			return agent.Get(ctx, client.ObjectKey{Namespace: theirs.namespace, Name: "cloud"}, &corev1.Secret{})
		}},
		{"roles by a role", func() error { return agent.List(ctx, &rbacv1.ClusterRoleList{}) }},
	})
}

func TestSomebodyWhoClaimsToBeAnAgent(t *testing.T) {
	_, mine, _ := landscape(t)
	key := client.ObjectKeyFromObject(mine.shoot)
	for _, who := range [][]string{
		{"jane", seedsGroup}, {"gardener.cloud:system:seed:", seedsGroup}, {"gardener.cloud:system:seed:" + mine.seed},
	} {
		c := gardentest.ClientFor(t, gardentest.User(t, who[0], who[1:]...))
		if err := c.Get(t.Context(), key, &corev1beta1.Shoot{}); !apierrors.IsForbidden(err) {
			t.Errorf("%v: got %v", who, err)
		}
	}
}

// TestAClusterThatMoves opens it to the new seed at once, and closes it to the
// old one when that has let go.
func TestAClusterThatMoves(t *testing.T) {
	admin, from, to := landscape(t)
	ctx, key := t.Context(), client.ObjectKeyFromObject(from.shoot)
	sees := func(s side) bool {
		return s.agent.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: "cloud"}, &corev1.Secret{}) == nil
	}
	eventually := func(what string, old, new bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); sees(from) != old || sees(to) != new; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: the old seed sees it: %v, the new one: %v", what, sees(from), sees(to))
			}
		}
	}
	eventually("before", true, false)
	base := from.shoot.DeepCopy()
	from.shoot.Status.SeedName = &from.seed
	if err := admin.Status().Patch(ctx, from.shoot, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	base = from.shoot.DeepCopy()
	from.shoot.Status.SeedName = &to.seed
	if err := from.agent.Status().Patch(ctx, from.shoot, client.MergeFrom(base)); !apierrors.IsForbidden(err) {
		t.Errorf("an agent gave its cluster to another seed: %v", err)
	}
	if err := admin.Status().Patch(ctx, from.shoot, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	eventually("while it moves", true, true)
	if err := admin.Delete(ctx, &securityv1alpha1.CredentialsBinding{ObjectMeta: at(key.Namespace, "credentials")}); err != nil {
		t.Fatal(err)
	}
	eventually("without what led to it", false, false)
}
