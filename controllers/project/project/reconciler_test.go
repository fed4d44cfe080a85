package project_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/project/project"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// patience bounds the wait for what the garden does by itself.
const patience = 30 * time.Second

type harness struct {
	*testing.T
	garden     client.Client
	events     *events.FakeRecorder
	reconciler *project.Reconciler
	project    *gardencorev1beta1.Project
}

// newHarness has a Project, changed before it is made.
func newHarness(t *testing.T, change func(*gardencorev1beta1.Project)) *harness {
	t.Helper()
	h := &harness{T: t, garden: gardentest.Client(t), events: events.NewFakeRecorder(100)}
	h.reconciler = &project.Reconciler{Client: h.garden, Recorder: h.events}
	h.project = &gardencorev1beta1.Project{
		ObjectMeta: metav1.ObjectMeta{Name: "p" + rand.String(6)},
		Spec:       gardencorev1beta1.ProjectSpec{Owner: user("olga")},
	}
	if change != nil {
		change(h.project)
	}
	h.must(h.garden.Create(t.Context(), h.project))
	return h
}

func user(name string) *rbacv1.Subject {
	return &rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}
}

func member(name, role string, more ...string) gardencorev1beta1.ProjectMember {
	return gardencorev1beta1.ProjectMember{Subject: *user(name), Role: role, Roles: more}
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) reconcile() (reconcile.Result, error) {
	h.Helper()
	result, err := h.reconciler.Reconcile(h.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.project)})
	h.must(client.IgnoreNotFound(h.garden.Get(h.Context(), client.ObjectKeyFromObject(h.project), h.project)))
	return result, err
}

// ready reconciles and wants success.
func (h *harness) ready() {
	h.Helper()
	if _, err := h.reconcile(); err != nil {
		h.Fatal(err)
	}
	if s := h.project.Status; s.Phase != gardencorev1beta1.ProjectReady || s.ObservedGeneration != h.project.Generation {
		h.Errorf("status is %+v at generation %d", s, h.project.Generation)
	}
}

func (h *harness) namespace() *corev1.Namespace {
	h.Helper()
	namespace := &corev1.Namespace{}
	h.must(h.garden.Get(h.Context(), client.ObjectKey{Name: *h.project.Spec.Namespace}, namespace))
	return namespace
}

func (h *harness) change(change func(*gardencorev1beta1.Project)) {
	h.Helper()
	base := h.project.DeepCopy()
	change(h.project)
	h.must(h.garden.Patch(h.Context(), h.project, client.MergeFrom(base)))
}

func (h *harness) delete() {
	h.Helper()
	h.change(func(p *gardencorev1beta1.Project) {
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, "confirmation.gardener.cloud/deletion", "true")
	})
	h.must(h.garden.Delete(h.Context(), h.project))
}

// subjects of a binding, "-" when it is not there.
func (h *harness) subjects(name string) string {
	h.Helper()
	binding := &rbacv1.RoleBinding{}
	cluster := &rbacv1.ClusterRoleBinding{}
	err := h.garden.Get(h.Context(), client.ObjectKey{Namespace: *h.project.Spec.Namespace, Name: name}, binding)
	subjects, ref := binding.Subjects, binding.RoleRef
	if apierrors.IsNotFound(err) {
		err = h.garden.Get(h.Context(), client.ObjectKey{Name: name}, cluster)
		subjects, ref = cluster.Subjects, cluster.RoleRef
	}
	if apierrors.IsNotFound(err) {
		return "-"
	}
	h.must(err)
	if ref.Name != name || ref.Kind != "ClusterRole" {
		h.Errorf("%s leads to %v", name, ref)
	}
	var names []string
	for _, subject := range subjects {
		names = append(names, subject.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestANewProject(t *testing.T) {
	h := newHarness(t, nil)
	h.ready()
	name := *h.project.Spec.Namespace
	if !strings.HasPrefix(name, "garden-"+h.project.Name+"-") || len(name) != len("garden-"+h.project.Name+"-")+5 {
		t.Errorf("the namespace is %q", name)
	}
	namespace := h.namespace()
	if namespace.Labels["gardener.cloud/role"] != "project" || namespace.Labels["project.gardener.cloud/name"] != h.project.Name ||
		namespace.Annotations["namespace.gardener.cloud/project"] != string(h.project.UID) || namespace.Annotations["namespace.gardener.cloud/created-by-project-controller"] != "true" {
		t.Errorf("the namespace has %v, %v", namespace.Labels, namespace.Annotations)
	}
	if owner := metav1.GetControllerOf(namespace); owner == nil || owner.UID != h.project.UID || !*owner.BlockOwnerDeletion {
		t.Errorf("the namespace is owned by %v", namespace.OwnerReferences)
	}
	if !slices.Contains(h.project.Finalizers, "gardener") {
		t.Errorf("finalizers are %v", h.project.Finalizers)
	}
	version := h.project.ResourceVersion
	h.ready()
	if h.project.ResourceVersion != version {
		t.Error("a second look wrote the project")
	}
}

func TestMembers(t *testing.T) {
	h := newHarness(t, func(p *gardencorev1beta1.Project) {
		p.Spec.Members = []gardencorev1beta1.ProjectMember{
			member("anna", "admin", "uam"), member("vera", "viewer"), member("sam", "serviceaccountmanager"),
			member("emil", "viewer", "extension:tuner"), member("olga", "admin"),
		}
	})
	h.ready()
	p := h.project.Name
	want := func(all map[string]string) {
		t.Helper()
		for name, subjects := range all {
			if got := h.subjects(name); got != subjects {
				t.Errorf("%s has %q, want %q", name, got, subjects)
			}
		}
	}
	want(map[string]string{
		"gardener.cloud:system:project:" + p:                  "olga",
		"gardener.cloud:system:project-member:" + p:           "anna olga",
		"gardener.cloud:system:project-viewer:" + p:           "emil vera",
		"gardener.cloud:system:project-uam:" + p:              "anna",
		"gardener.cloud:system:project-member":                "anna olga",
		"gardener.cloud:system:project-viewer":                "emil vera",
		"gardener.cloud:system:project-serviceaccountmanager": "olga sam",
		"gardener.cloud:extension:project:" + p + ":tuner":    "emil",
	})
	role := &rbacv1.ClusterRole{}
	h.must(h.garden.Get(t.Context(), client.ObjectKey{Name: "gardener.cloud:extension:project:" + p + ":tuner"}, role))
	if r := role.AggregationRule; r == nil || r.ClusterRoleSelectors[0].MatchLabels["rbac.gardener.cloud/aggregate-to-extension-role"] != "tuner" {
		t.Errorf("the extension role aggregates %+v", r)
	}

	h.change(func(p *gardencorev1beta1.Project) { p.Spec.Members = p.Spec.Members[1:3] })
	h.must(h.garden.Delete(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: *h.project.Spec.Namespace, Name: "gardener.cloud:system:project-member"}}))
	h.must(h.garden.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: *h.project.Spec.Namespace, Name: "gardener.cloud:system:project-member"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
	}))
	h.ready()
	want(map[string]string{
		"gardener.cloud:system:project-member:" + p:        "olga",
		"gardener.cloud:system:project-member":             "olga",
		"gardener.cloud:system:project-uam:" + p:           "",
		"gardener.cloud:extension:project:" + p + ":tuner": "-",
	})
	if err := h.garden.Get(t.Context(), client.ObjectKeyFromObject(role), role); !apierrors.IsNotFound(err) {
		t.Errorf("the extension role is left: %v", err)
	}
}

func TestAdoption(t *testing.T) {
	labels := func(project string) map[string]string {
		return map[string]string{"gardener.cloud/role": "project", "project.gardener.cloud/name": project}
	}
	for _, test := range []struct {
		name        string
		labels      func(project string) map[string]string
		annotations map[string]string
		refused     string
	}{
		{"meant for it", labels, nil, ""},
		{"without labels", func(string) map[string]string { return nil }, nil, "needs the labels"},
		{"with one label", func(string) map[string]string { return map[string]string{"gardener.cloud/role": "project"} }, nil, "needs the labels"},
		{"another project's", func(string) map[string]string { return labels("other") }, nil, "needs the labels"},
		{"a former project's", labels, map[string]string{"namespace.gardener.cloud/project": "gone"}, `uid "gone"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := "garden-" + rand.String(6)
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
			c := gardentest.Client(t)
			if err := c.Create(t.Context(), namespace); err != nil {
				t.Fatal(err)
			}
			h := newHarness(t, func(p *gardencorev1beta1.Project) { p.Spec.Namespace = &name })
			base := namespace.DeepCopy()
			namespace.Labels, namespace.Annotations = test.labels(h.project.Name), test.annotations
			h.must(c.Patch(t.Context(), namespace, client.MergeFrom(base)))
			if test.refused != "" {
				_, err := h.reconcile()
				if err == nil || !strings.Contains(err.Error(), test.refused) || h.project.Status.Phase != gardencorev1beta1.ProjectFailed {
					t.Errorf("got %v, phase %s", err, h.project.Status.Phase)
				}
				if event := <-h.events.Events; !strings.Contains(event, "Warning NamespaceReconcileFailed") {
					t.Errorf("the event is %q", event)
				}
				return
			}
			h.ready()
			if a := h.namespace().Annotations; a["namespace.gardener.cloud/keep-after-project-deletion"] != "true" || a["namespace.gardener.cloud/created-by-project-controller"] != "" {
				t.Errorf("annotations are %v", a)
			}
			h.delete()
			if _, err := h.reconcile(); err != nil {
				t.Fatal(err)
			}
			left := &corev1.Namespace{}
			h.must(c.Get(t.Context(), client.ObjectKey{Name: name}, left))
			if len(left.OwnerReferences) > 0 || left.Labels["gardener.cloud/role"] != "" || left.Annotations["namespace.gardener.cloud/project"] != "" || left.DeletionTimestamp != nil {
				t.Errorf("the namespace is left with %+v", left.ObjectMeta)
			}
			h.gone()
		})
	}
}

// gone waits for the Project to be.
func (h *harness) gone() {
	h.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := h.garden.Get(context.Background(), client.ObjectKeyFromObject(h.project), &gardencorev1beta1.Project{})
		if apierrors.IsNotFound(err) {
			return
		}
		if time.Now().After(end) {
			h.Fatalf("the project is still there: %v", err)
		}
	}
}

func TestDeletion(t *testing.T) {
	h := newHarness(t, nil)
	h.ready()
	shoot := &gardencorev1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: *h.project.Spec.Namespace, Name: "plant"},
		Spec: gardencorev1beta1.ShootSpec{
			CloudProfile: &gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: "local"}, Region: "local",
			Kubernetes: gardencorev1beta1.Kubernetes{Version: "1.36.3"}, Provider: gardencorev1beta1.Provider{Type: "local"},
		},
	}
	h.must(h.garden.Create(t.Context(), shoot))
	h.delete()
	if result, err := h.reconcile(); err != nil || !result.IsZero() || h.project.Status.Phase != gardencorev1beta1.ProjectTerminating {
		t.Errorf("with a cluster: %+v, %v, %s", result, err, h.project.Status.Phase)
	}
	if h.namespace().DeletionTimestamp != nil {
		t.Fatal("the namespace goes with a cluster in it")
	}
	for said := ""; !strings.HasPrefix(said, "Warning NamespaceNotEmpty") || !strings.Contains(said, "1 Shoot: "+shoot.Namespace+"/plant"); {
		select {
		case said = <-h.events.Events:
		default:
			t.Fatalf("the last event is %q", said)
		}
	}
	base := shoot.DeepCopy()
	metav1.SetMetaDataAnnotation(&shoot.ObjectMeta, "confirmation.gardener.cloud/deletion", "true")
	h.must(h.garden.Patch(t.Context(), shoot, client.MergeFrom(base)))
	h.must(h.garden.Delete(t.Context(), shoot))
	if result, err := h.reconcile(); err != nil || result.RequeueAfter != time.Minute {
		t.Errorf("while the namespace goes: %+v, %v", result, err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if result, err := h.reconcile(); err == nil && result.IsZero() {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the namespace does not go")
		}
	}
	h.gone()
}

// TestANamespaceThatIsNoLongerTheProjects is released untouched.
func TestANamespaceThatIsNoLongerTheProjects(t *testing.T) {
	h := newHarness(t, nil)
	h.ready()
	namespace := h.namespace()
	base := namespace.DeepCopy()
	namespace.Labels["project.gardener.cloud/name"] = "other"
	h.must(h.garden.Patch(t.Context(), namespace, client.MergeFrom(base)))
	h.delete()
	if result, err := h.reconcile(); err != nil || !result.IsZero() {
		t.Errorf("got %+v, %v", result, err)
	}
	after := &corev1.Namespace{}
	h.must(h.garden.Get(t.Context(), client.ObjectKeyFromObject(namespace), after))
	if after.Labels["project.gardener.cloud/name"] != "other" || after.Annotations["namespace.gardener.cloud/project"] != string(h.project.UID) {
		t.Errorf("the namespace was changed: %+v", after.ObjectMeta)
	}
}

func TestQuota(t *testing.T) {
	h := newHarness(t, func(p *gardencorev1beta1.Project) { p.Labels = map[string]string{"tier": "small"} })
	limits := func(pairs ...string) corev1.ResourceQuota {
		hard := corev1.ResourceList{}
		for i := 0; i < len(pairs); i += 2 {
			hard[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
		}
		return corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"from": "config"}}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	}
	h.reconciler.Config.Quotas = []controllermanagerconfigv1alpha1.QuotaConfiguration{
		{Config: limits("count/secrets", "1"), ProjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "large"}}},
		{Config: limits("count/secrets", "10", "count/configmaps", "20"), ProjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "small"}}},
		{Config: limits("count/secrets", "100")},
	}
	h.ready()
	quota := &corev1.ResourceQuota{}
	key := client.ObjectKey{Namespace: *h.project.Spec.Namespace, Name: "gardener"}
	want := func(pairs ...string) {
		t.Helper()
		h.must(h.garden.Get(t.Context(), key, quota))
		wanted := limits(pairs...).Spec.Hard
		if len(quota.Spec.Hard) != len(wanted) || quota.Labels["from"] != "config" {
			t.Errorf("the quota is %v, %v", quota.Spec.Hard, quota.Labels)
		}
		for name, limit := range wanted {
			if have := quota.Spec.Hard[name]; have.Cmp(limit) != 0 {
				t.Errorf("%s is %s, want %s", name, have.String(), limit.String())
			}
		}
	}
	want("count/secrets", "10", "count/configmaps", "20")
	base := quota.DeepCopy()
	quota.Spec.Hard["count/secrets"] = resource.MustParse("15")
	quota.Labels["mine"] = "yes"
	h.must(h.garden.Patch(t.Context(), quota, client.MergeFrom(base)))
	h.reconciler.Config.Quotas[1].Config = limits("count/secrets", "10", "count/shoots.core.gardener.cloud", "3")
	h.ready()
	want("count/secrets", "15", "count/shoots.core.gardener.cloud", "3")
	if quota.Labels["mine"] != "yes" {
		t.Error("a label is lost")
	}
	h.reconciler.Config.Quotas[0].ProjectSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "x", Operator: "nonsense"}}}
	if _, err := h.reconcile(); err == nil || h.project.Status.Phase != gardencorev1beta1.ProjectFailed {
		t.Errorf("with a wrong configuration: %v, %s", err, h.project.Status.Phase)
	}
}

func TestAProjectThatIsGone(t *testing.T) {
	h := newHarness(t, nil)
	gone := reconcile.Request{NamespacedName: client.ObjectKey{Name: "gone"}}
	if result, err := h.reconciler.Reconcile(t.Context(), gone); err != nil || !result.IsZero() {
		t.Errorf("got %+v, %v", result, err)
	}
}
