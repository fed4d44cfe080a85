package soak_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func resourceRef(version, kind, name string) autoscalingv1.CrossVersionObjectReference {
	return autoscalingv1.CrossVersionObjectReference{APIVersion: version, Kind: kind, Name: name}
}

func lower(kind string) string { return strings.ToLower(kind) }

// world is everything that there is at one moment.
type world struct {
	// objects are by kind, each by namespace and name.
	objects map[string]map[string]client.Object
	// versions are those of all objects.
	versions map[string]string
}

func key(namespace, name string) string { return namespace + "/" + name }

// look reads the world.
func (l *load) look() *world {
	l.Helper()
	w := &world{objects: map[string]map[string]client.Object{}, versions: map[string]string{}}
	kinds := append(slices.Clone(l.kinds),
		kind{name: "Project", list: &gardencorev1beta1.ProjectList{}},
		kind{name: "Namespace", list: &corev1.NamespaceList{}},
		kind{name: "ControllerInstallation", list: &gardencorev1beta1.ControllerInstallationList{}},
		kind{name: "ClusterRole", list: &rbacv1.ClusterRoleList{}},
		kind{name: "ClusterRoleBinding", list: &rbacv1.ClusterRoleBindingList{}},
		kind{name: "RoleBinding", list: &rbacv1.RoleBindingList{}},
	)
	for _, k := range kinds {
		list := k.list.DeepCopyObject().(client.ObjectList)
		if err := l.client.List(l.Context(), list); err != nil {
			l.Fatal(err)
		}
		w.objects[k.name] = map[string]client.Object{}
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			w.objects[k.name][key(object.GetNamespace(), object.GetName())] = object
			w.versions[k.name+" "+key(object.GetNamespace(), object.GetName())] = object.GetResourceVersion()
			return nil
		}); err != nil {
			l.Fatal(err)
		}
	}
	return w
}

func each[T client.Object](w *world, kind string, do func(T)) {
	for _, name := range slices.Sorted(maps.Keys(w.objects[kind])) {
		do(w.objects[kind][name].(T))
	}
}

// settle waits until a check finds nothing and nobody writes any more. It gives
// up when something is wrong and nobody has written for long, however slow the
// host is, or when somebody never stops.
func (l *load) settle(when string, check func(*world) []string) {
	l.Helper()
	began := time.Now()
	last := l.look()
	for since := began; ; {
		problems, still := check(last), time.Since(since)
		if len(problems) == 0 && still >= quiet {
			return
		}
		if still >= patience || time.Since(began) >= endless {
			l.Fatalf("%s, %s after the last write:\n%s", when, still.Round(time.Second), strings.Join(problems, "\n"))
		}
		time.Sleep(time.Second)
		if now := l.look(); !maps.Equal(now.versions, last.versions) {
			since, last = time.Now(), now
		}
	}
}

// marks are what references leave on the object that they name.
type marks map[string]map[string]bool

func (m marks) add(kind, namespace, name string, more ...string) {
	k := kind + " " + key(namespace, name)
	if m[k] == nil {
		m[k] = map[string]bool{}
	}
	for _, mark := range more {
		m[k][mark] = true
	}
}

const (
	secretBindingFinalizer      = "gardener.cloud/secretbinding"
	credentialsBindingFinalizer = "gardener.cloud/credentialsbinding"
	protectionFinalizer         = "gardener.cloud/reference-protection"
	secretBindingLabel          = "reference.gardener.cloud/secretbinding"
	credentialsBindingLabel     = "reference.gardener.cloud/credentialsbinding"
	providerLabel               = "provider.shoot.gardener.cloud/local"
)

// wanted are the marks that there must be, from the objects that refer.
func wanted(w *world) marks {
	m, used := marks{}, map[string]bool{}
	each(w, "Shoot", func(s *gardencorev1beta1.Shoot) {
		if s.Spec.CredentialsBindingName != nil {
			used[key(s.Namespace, *s.Spec.CredentialsBindingName)] = true
		}
	})
	each(w, "SecretBinding", func(b *gardencorev1beta1.SecretBinding) {
		for _, quota := range b.Quotas {
			m.add("Quota", quota.Namespace, quota.Name, secretBindingLabel)
		}
		if b.DeletionTimestamp == nil {
			m.add("Secret", b.SecretRef.Namespace, b.SecretRef.Name, secretBindingFinalizer, secretBindingLabel, providerLabel)
		}
	})
	each(w, "CredentialsBinding", func(b *securityv1alpha1.CredentialsBinding) {
		for _, quota := range b.Quotas {
			m.add("Quota", quota.Namespace, quota.Name, credentialsBindingLabel)
		}
		// One that waits for a Shoot still needs its credentials.
		if b.DeletionTimestamp != nil && !used[key(b.Namespace, b.Name)] {
			return
		}
		reference := b.CredentialsRef
		m.add(reference.Kind, reference.Namespace, reference.Name, credentialsBindingFinalizer, credentialsBindingLabel)
		if reference.Kind == "Secret" {
			m.add(reference.Kind, reference.Namespace, reference.Name, providerLabel)
		}
	})
	each(w, "Shoot", func(s *gardencorev1beta1.Shoot) {
		for _, r := range s.Spec.Resources {
			m.add(r.ResourceRef.Kind, s.Namespace, r.ResourceRef.Name, protectionFinalizer)
		}
	})
	each(w, "Seed", func(s *gardencorev1beta1.Seed) {
		for _, r := range s.Spec.Resources {
			m.add(r.ResourceRef.Kind, home, r.ResourceRef.Name, protectionFinalizer)
		}
	})
	return m
}

// checkLiving compares what is marked with what is referred to, and looks for
// objects that something keeps for no reason.
func (l *load) checkLiving(w *world) []string {
	problems := checkMarks(w, wanted(w))
	problems = append(problems, checkDeletions(w)...)
	problems = append(problems, checkSeedNamespaces(w)...)
	problems = append(problems, checkInstallations(w)...)
	problems = append(problems, checkOwners(w)...)
	return append(problems, checkRoles(w, projects)...)
}

func checkMarks(w *world, want marks) []string {
	var problems []string
	finalizers := []string{secretBindingFinalizer, credentialsBindingFinalizer, protectionFinalizer}
	labels := []string{secretBindingLabel, credentialsBindingLabel, providerLabel}
	for _, kind := range []string{"Secret", "ConfigMap", "WorkloadIdentity", "Quota"} {
		each(w, kind, func(o client.Object) {
			name := kind + " " + key(o.GetNamespace(), o.GetName())
			for _, finalizer := range finalizers {
				has := slices.Contains(o.GetFinalizers(), finalizer)
				// Nothing can be added to what is in deletion.
				if has || o.GetDeletionTimestamp() == nil {
					problems = append(problems, compare(name, "finalizer "+finalizer, has, want[name][finalizer])...)
				}
			}
			for _, label := range labels {
				_, has := o.GetLabels()[label]
				problems = append(problems, compare(name, "label "+label, has, want[name][label])...)
			}
		})
	}
	return problems
}

// compare says what is wrong about a mark.
func compare(object, mark string, has, want bool) []string {
	switch {
	case has && !want:
		return []string{object + " has the " + mark + ", which nobody needs"}
	case want && !has:
		return []string{object + " lacks the " + mark}
	}
	return nil
}

// checkDeletions lists what is in deletion although nobody refers to it.
func checkDeletions(w *world) []string {
	referred := marks{}
	for name := range wanted(w) {
		referred[name] = map[string]bool{}
	}
	each(w, "Shoot", func(s *gardencorev1beta1.Shoot) {
		if p := s.Spec.CloudProfile; p != nil && p.Kind == "NamespacedCloudProfile" {
			referred.add(p.Kind, s.Namespace, p.Name)
		} else if p != nil {
			referred.add("CloudProfile", "", p.Name)
		}
		if s.Spec.CredentialsBindingName != nil {
			referred.add("CredentialsBinding", s.Namespace, *s.Spec.CredentialsBindingName)
		}
		if s.Spec.SeedName != nil {
			referred.add("Seed", "", *s.Spec.SeedName)
		}
	})
	each(w, "ControllerRegistration", func(r *gardencorev1beta1.ControllerRegistration) {
		for _, d := range r.Spec.Deployment.DeploymentRefs {
			referred.add("ControllerDeployment", "", d.Name)
		}
	})
	each(w, "ControllerInstallation", func(i *gardencorev1beta1.ControllerInstallation) {
		referred.add("ControllerRegistration", "", i.Spec.RegistrationRef.Name)
	})
	var problems []string
	for _, kind := range slices.Sorted(maps.Keys(w.objects)) {
		each(w, kind, func(o client.Object) {
			name := kind + " " + key(o.GetNamespace(), o.GetName())
			if _, used := referred[name]; o.GetDeletionTimestamp() != nil && !used {
				problems = append(problems, fmt.Sprintf("%s is in deletion, nobody refers to it, and it is kept by %q", name, o.GetFinalizers()))
			}
		})
	}
	return problems
}

// checkSeedNamespaces wants one for each seed and none for others.
func checkSeedNamespaces(w *world) []string {
	var problems []string
	each(w, "Namespace", func(n *corev1.Namespace) {
		seed, is := strings.CutPrefix(n.Name, "seed-")
		if _, exists := w.objects["Seed"][key("", seed)]; is && !exists {
			problems = append(problems, "Namespace "+n.Name+" has lost its seed")
		}
	})
	each(w, "Seed", func(s *gardencorev1beta1.Seed) {
		if _, exists := w.objects["Namespace"][key("", "seed-"+s.Name)]; !exists {
			problems = append(problems, "Seed "+s.Name+" has no namespace")
		}
	})
	return problems
}

// checkInstallations wants none for what is not there.
func checkInstallations(w *world) []string {
	var problems []string
	seen := map[string]string{}
	each(w, "ControllerInstallation", func(i *gardencorev1beta1.ControllerInstallation) {
		if _, exists := w.objects["ControllerRegistration"][key("", i.Spec.RegistrationRef.Name)]; !exists {
			problems = append(problems, "ControllerInstallation "+i.Name+" has lost its registration")
		}
		if i.Spec.SeedRef == nil {
			return
		}
		if _, exists := w.objects["Seed"][key("", i.Spec.SeedRef.Name)]; !exists {
			problems = append(problems, "ControllerInstallation "+i.Name+" has lost its seed")
		}
		pair := i.Spec.RegistrationRef.Name + " on " + i.Spec.SeedRef.Name
		if first, twice := seen[pair]; twice {
			problems = append(problems, fmt.Sprintf("%s is installed twice: %s, %s", pair, first, i.Name))
		}
		seen[pair] = i.Name
	})
	return problems
}

// checkOwners wants none of what a set has made to outlive it.
func checkOwners(w *world) []string {
	there := map[types.UID]bool{}
	each(w, "ManagedSeedSet", func(s *seedmanagementv1alpha1.ManagedSeedSet) { there[s.UID] = true })
	var problems []string
	for _, kind := range []string{"Shoot", "ManagedSeed"} {
		each(w, kind, func(o client.Object) {
			if owner := metav1.GetControllerOf(o); owner != nil && !there[owner.UID] {
				problems = append(problems, fmt.Sprintf("%s %s has lost its set %s", kind, key(o.GetNamespace(), o.GetName()), owner.Name))
			}
		})
	}
	return problems
}

// checkRoles wants the roles of the load's projects, and none of others.
func checkRoles(w *world, count int) []string {
	var problems []string
	for _, kind := range []string{"ClusterRole", "ClusterRoleBinding"} {
		found := map[string]int{}
		each(w, kind, func(o client.Object) {
			parts := strings.Split(o.GetName(), ":")
			if last := parts[len(parts)-1]; len(parts) == 4 && strings.HasPrefix(parts[2], "project") && strings.HasPrefix(last, "soak") {
				found[last]++
			}
		})
		if len(found) != count {
			problems = append(problems, fmt.Sprintf("%ss for the projects %v, want %d projects", kind, slices.Sorted(maps.Keys(found)), count))
		}
		for project, n := range found {
			// For its own content, its members, its viewers, its user managers.
			if n != 4 {
				problems = append(problems, fmt.Sprintf("%d %ss for project %s, want 4", n, kind, project))
			}
		}
	}
	return problems
}

// deleteAll deletes everything that the load made, again and again until it is
// gone: what is referred to is refused or waits.
func (l *load) deleteAll() {
	l.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Second) {
		left := l.mine(l.look())
		if len(left) == 0 {
			return
		}
		for _, object := range left {
			_ = l.client.Delete(l.Context(), object) // refused now, tried again
		}
	}
	// What is left now, settle says.
}

// mine are the objects of the load, and what was made for them.
func (l *load) mine(w *world) []client.Object {
	var left []client.Object
	for _, k := range append(slices.Clone(l.kinds), kind{name: "Project"}) {
		each(w, k.name, func(o client.Object) {
			own := k.name == "Project" && strings.HasPrefix(o.GetName(), "soak") || k.name != "Project" && strings.HasPrefix(o.GetName(), lower(k.name)) || k.name == "ShootState"
			if own && (k.namespaces == nil || slices.Contains(k.namespaces, o.GetNamespace())) {
				left = append(left, o)
			}
		})
	}
	return left
}

// checkGone wants nothing left of the load.
func (l *load) checkGone(w *world) []string {
	var problems []string
	for _, o := range l.mine(w) {
		problems = append(problems, fmt.Sprintf("%T %s is still there, kept by %q", o, key(o.GetNamespace(), o.GetName()), o.GetFinalizers()))
	}
	each(w, "Namespace", func(n *corev1.Namespace) {
		if strings.HasPrefix(n.Name, "garden-soak") || strings.HasPrefix(n.Name, "seed-seed") {
			problems = append(problems, "Namespace "+n.Name+" is still there")
		}
	})
	each(w, "ControllerInstallation", func(i *gardencorev1beta1.ControllerInstallation) {
		problems = append(problems, "ControllerInstallation "+i.Name+" is still there")
	})
	each(w, "RoleBinding", func(b *rbacv1.RoleBinding) {
		if strings.HasPrefix(b.Namespace, "garden-soak") {
			problems = append(problems, "RoleBinding "+key(b.Namespace, b.Name)+" is still there")
		}
	})
	problems = append(problems, checkOwners(w)...)
	return append(problems, checkRoles(w, 0)...)
}
