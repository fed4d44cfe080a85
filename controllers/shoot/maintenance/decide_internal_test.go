package maintenance

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/releases"
)

func today() time.Time { return time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC) }

// given are facts with versions "1.36.3" or "1.35.4=expired".
func given(kubernetes ...string) facts {
	f := facts{profile: &core.CloudProfileSpec{}, now: today()}
	for _, text := range kubernetes {
		version, class, found := strings.Cut(text, "=")
		if !found {
			class = "supported"
		}
		f.profile.Kubernetes.Versions = append(f.profile.Kubernetes.Versions, core.ExpirableVersion{Version: version, Lifecycle: []core.LifecycleStage{{Classification: core.VersionClassification(class)}}})
	}
	return f
}

// shootAt is a Shoot a year old whose last operation succeeded.
func shootAt(version string, change func(*gardencorev1beta1.Shoot)) *gardencorev1beta1.Shoot {
	s := &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-p", Name: "s", CreationTimestamp: metav1.NewTime(today().AddDate(-1, 0, 0))}}
	s.Spec.Kubernetes.Version = version
	s.Status.LastOperation = &gardencorev1beta1.LastOperation{Type: gardencorev1beta1.LastOperationTypeReconcile, State: gardencorev1beta1.LastOperationStateSucceeded}
	if change != nil {
		change(s)
	}
	return s
}

func planOf(t *testing.T, shoot *gardencorev1beta1.Shoot, f facts) (*plan, string) {
	t.Helper()
	before := shoot.DeepCopy()
	p, err := decide(shoot, f)
	if err != nil {
		t.Fatal(err)
	}
	if !equality.Semantic.DeepEqual(before, shoot) {
		t.Error("the observed shoot was changed")
	}
	description, failure := describe(p.results)
	return p, description + " | " + failure
}

// TestStepsInOrder has something to do for every step.
func TestStepsInOrder(t *testing.T) {
	f := given("1.34.1=expired", "1.35.4")
	f.profile.MachineImages = []core.MachineImage{{Name: "linux", Versions: []core.MachineImageVersion{
		{ExpirableVersion: core.ExpirableVersion{Version: "1.0.0"}, Architectures: []string{"amd64"}}, {ExpirableVersion: core.ExpirableVersion{Version: "1.1.0"}, Architectures: []string{"amd64"}},
	}}}
	shoot := shootAt("1.34.1", func(s *gardencorev1beta1.Shoot) {
		s.Spec.Provider.Workers = []gardencorev1beta1.Worker{{
			Name: "w", Machine: gardencorev1beta1.Machine{Image: &gardencorev1beta1.ShootMachineImage{Name: "linux", Version: ptr.To("1.0.0")}},
			Kubernetes: &gardencorev1beta1.WorkerKubernetes{Version: ptr.To("1.34.1")},
		}}
		s.Spec.Maintenance = &gardencorev1beta1.Maintenance{AutoRotation: &gardencorev1beta1.MaintenanceAutoRotation{Credentials: &gardencorev1beta1.MaintenanceCredentialsAutoRotation{
			SSHKeypair: &gardencorev1beta1.MaintenanceRotationConfig{RotationPeriod: &metav1.Duration{Duration: time.Hour}},
		}}}
		s.Spec.Kubernetes.KubeScheduler = &gardencorev1beta1.KubeSchedulerConfig{KubeMaxPDVols: ptr.To("1")}
		s.Spec.Kubernetes.KubeAPIServer = &gardencorev1beta1.KubeAPIServerConfig{
			KubernetesConfig: gardencorev1beta1.KubernetesConfig{FeatureGates: map[string]bool{"Teleportation": true}},
			AdmissionPlugins: []gardencorev1beta1.AdmissionPlugin{{Name: "Bouncer"}, {Name: "PodNodeSelector"}},
		}
	})
	p, text := planOf(t, shoot, f)
	at := -1
	for _, want := range []string{
		`Worker pool "w": Updated machine image "linux" from "1.0.0" to "1.1.0"`,
		`Control Plane: Updated Kubernetes version from "1.34.1" to "1.35.4". Reason: the version has expired`,
		"Control Plane: Began to rotate the SSH key pair",
		"Control Plane: Removed spec.kubernetes.kubeScheduler.kubeMaxPDVols",
		`Worker pool "w": Updated Kubernetes version from "1.34.1" to "1.35.4"`,
		`Control Plane: Removed feature gates from "kube-apiserver": Teleportation. Reason: Kubernetes 1.35.4 does not know them`,
		`Control Plane: Removed admission plugins from "kube-apiserver": Bouncer. Reason: Kubernetes 1.35.4 does not know them`,
	} {
		i := strings.Index(text, want)
		if i <= at {
			t.Errorf("%q is at %d, after %d: %s", want, i, at, text)
		}
		at = i
	}
	if !strings.HasPrefix(text, "All maintenance operations successful. ") {
		t.Errorf("%s", text)
	}
	if got := p.shoot.Annotations[v1beta1constants.GardenerOperation]; got != "reconcile;rotate-ssh-keypair" {
		t.Errorf("operation %q", got)
	}
	p.shoot.Spec.Maintenance.AutoRotation = nil // that it was done is in the status
	if again, text := planOf(t, p.shoot, f); len(again.results) > 0 {
		t.Errorf("planned again: %s", text)
	}
}

// TestRemovedFields sets every field that went, and wants each gone from the
// version on in which it went, and kept before.
func TestRemovedFields(t *testing.T) {
	all := func(s *gardencorev1beta1.Shoot) {
		s.Spec.Kubernetes.KubeControllerManager = &gardencorev1beta1.KubeControllerManagerConfig{PodEvictionTimeout: &metav1.Duration{}}
		s.Spec.Kubernetes.ClusterAutoscaler = &gardencorev1beta1.ClusterAutoscaler{MaxEmptyBulkDelete: ptr.To(int32(1))}
		s.Spec.SecretBindingName = ptr.To("b")
		s.Spec.Kubernetes.KubeAPIServer = &gardencorev1beta1.KubeAPIServerConfig{EnableAnonymousAuthentication: ptr.To(false), WatchCacheSizes: &gardencorev1beta1.WatchCacheSizes{Default: ptr.To(int32(1))}}
		s.Spec.Kubernetes.KubeScheduler = &gardencorev1beta1.KubeSchedulerConfig{KubeMaxPDVols: ptr.To("1")}
		s.Spec.Addons = &gardencorev1beta1.Addons{KubernetesDashboard: &gardencorev1beta1.KubernetesDashboard{}, NginxIngress: &gardencorev1beta1.NginxIngress{}}
		s.Spec.Addons.KubernetesDashboard.Enabled, s.Spec.Addons.NginxIngress.Enabled = true, true
		s.Spec.DNS = &gardencorev1beta1.DNS{Providers: []gardencorev1beta1.DNSProvider{{SecretName: ptr.To("dns")}}}
	}
	for _, version := range []string{"1.32.1", "1.33.1", "1.34.1", "1.35.1", "1.36.1"} {
		f := given(version)
		f.secretBinding = &gardencorev1beta1.SecretBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-p", Name: "b"}, SecretRef: corev1.SecretReference{Namespace: "garden-p", Name: "s"}}
		_, text := planOf(t, shootAt(version, all), f)
		for _, field := range releases.Fields() {
			if said := strings.Contains(text, field.Path); said != field.Gone(version) {
				t.Errorf("%s: %s removed: %t", version, field.Path, said)
			}
		}
		p, _ := planOf(t, shootAt(version, all), f)
		if again, text := planOf(t, p.shoot, f); len(again.results) > 0 {
			t.Errorf("%s: something is left: %s", version, text)
		}
		if dns := p.shoot.Spec.DNS.Providers[0]; version > "1.35" && (dns.SecretName != nil || dns.CredentialsRef == nil || dns.CredentialsRef.Name != "dns") {
			t.Errorf("%s: the DNS provider lost its credentials: %+v", version, dns)
		}
	}
}

// TestNginxGate switches the addon off where the operator wants that, after all
// other steps, keeps its settings, and leaves it alone elsewhere.
func TestNginxGate(t *testing.T) {
	nginx := func(enabled bool) func(*gardencorev1beta1.Shoot) {
		return func(s *gardencorev1beta1.Shoot) {
			s.Spec.Addons = &gardencorev1beta1.Addons{NginxIngress: &gardencorev1beta1.NginxIngress{LoadBalancerSourceRanges: []string{"10.0.0.0/8"}}}
			s.Spec.Addons.NginxIngress.Enabled = enabled
			s.Spec.Kubernetes.KubeScheduler = &gardencorev1beta1.KubeSchedulerConfig{KubernetesConfig: gardencorev1beta1.KubernetesConfig{FeatureGates: map[string]bool{"Teleportation": true}}}
		}
	}
	for name, row := range map[string]struct {
		version              string
		enabled, gate, wants bool
		said                 bool
	}{
		"on":             {"1.34.1", true, true, false, true},
		"off":            {"1.34.1", true, false, true, false},
		"not in use":     {"1.34.1", false, true, false, false},
		"gone by itself": {"1.35.1", true, true, false, false},
	} {
		f := given(row.version)
		f.disableNginx = row.gate
		p, text := planOf(t, shootAt(row.version, nginx(row.enabled)), f)
		addon := p.shoot.Spec.Addons.NginxIngress
		if addon != nil && (addon.Enabled != row.wants || len(addon.LoadBalancerSourceRanges) != 1) || (addon == nil) != (name == "gone by itself") {
			t.Errorf("%s: %+v", name, addon)
		}
		const said = "Control Plane: Disabled spec.addons.nginxIngress. Reason: the feature gate DisableNginxIngressInShoot is on"
		if strings.Contains(text, said) != row.said || row.said && strings.Index(text, "Teleportation") > strings.Index(text, said) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// TestBindings replaces a secret binding: by the one that was made for it before,
// else by the first by name that says the same, else by a new one.
func TestBindings(t *testing.T) {
	quotas := []corev1.ObjectReference{{Namespace: "garden", Name: "q"}}
	binding := func(name, provider, secret string, quotas []corev1.ObjectReference) securityv1alpha1.CredentialsBinding {
		return securityv1alpha1.CredentialsBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "garden-p", Name: name}, Provider: securityv1alpha1.CredentialsBindingProvider{Type: provider}, Quotas: quotas,
			CredentialsRef: corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: "garden-p", Name: secret},
		}
	}
	for name, row := range map[string]struct {
		existing []securityv1alpha1.CredentialsBinding
		gone     bool
		want     string
		created  bool
	}{
		"made before":      {existing: []securityv1alpha1.CredentialsBinding{binding("a", "local", "s", quotas), binding("force-migrated-b", "local", "s", quotas)}, want: "force-migrated-b"},
		"first by name":    {existing: []securityv1alpha1.CredentialsBinding{binding("z", "local", "s", quotas), binding("y", "local", "s", quotas)}, want: "y"},
		"other secret":     {existing: []securityv1alpha1.CredentialsBinding{binding("a", "local", "t", quotas)}, want: "force-migrated-b", created: true},
		"other provider":   {existing: []securityv1alpha1.CredentialsBinding{binding("a", "aws", "s", quotas)}, want: "force-migrated-b", created: true},
		"other quotas":     {existing: []securityv1alpha1.CredentialsBinding{binding("a", "local", "s", nil)}, want: "force-migrated-b", created: true},
		"none":             {want: "force-migrated-b", created: true},
		"nothing to go by": {gone: true},
	} {
		f := given("1.34.1")
		f.credentialsBindings = row.existing
		if !row.gone {
			f.secretBinding = &gardencorev1beta1.SecretBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: "garden-p", Name: "b"}, SecretRef: corev1.SecretReference{Name: "s"}, Quotas: quotas,
				Provider: &gardencorev1beta1.SecretBindingProvider{Type: "local"},
			}
		}
		p, text := planOf(t, shootAt("1.34.1", func(s *gardencorev1beta1.Shoot) { s.Spec.SecretBindingName = ptr.To("b") }), f)
		if row.gone {
			if p.shoot.Spec.SecretBindingName == nil || !strings.Contains(text, `(0/1) maintenance operations successful`) || !strings.Contains(text, `there is no secret binding "b"`) {
				t.Errorf("%s: %s", name, text)
			}
			continue
		}
		if p.shoot.Spec.SecretBindingName != nil || ptr.Deref(p.shoot.Spec.CredentialsBindingName, "") != row.want || (p.binding != nil) != row.created {
			t.Errorf("%s: %v, created %v: %s", name, p.shoot.Spec.CredentialsBindingName, p.binding, text)
		}
		if row.created && (p.binding.Labels["credentialsbinding.gardener.cloud/status"] != "force-migrated" || p.binding.Provider.Type != "local" || len(p.binding.Quotas) != 1 || p.binding.CredentialsRef.Namespace != "garden-p") {
			t.Errorf("%s: %+v", name, p.binding)
		}
	}
}

// TestWorkersStayBelow wants no pool above the control plane, which was updated
// just before.
func TestWorkersStayBelow(t *testing.T) {
	shoot := shootAt("1.35.4", func(s *gardencorev1beta1.Shoot) {
		s.Spec.Maintenance = &gardencorev1beta1.Maintenance{AutoUpdate: &gardencorev1beta1.MaintenanceAutoUpdate{}}
		for name, version := range map[string]string{"old": "1.34.1", "same": "1.35.4"} {
			s.Spec.Provider.Workers = append(s.Spec.Provider.Workers, gardencorev1beta1.Worker{Name: name, Kubernetes: &gardencorev1beta1.WorkerKubernetes{Version: &version}})
		}
		s.Spec.Provider.Workers = append(s.Spec.Provider.Workers, gardencorev1beta1.Worker{Name: "follows"})
	})
	p, text := planOf(t, shoot, given("1.34.1=expired", "1.35.4", "1.35.9", "1.36.1"))
	for _, worker := range p.shoot.Spec.Provider.Workers {
		if v := workerVersion(p.shoot, &worker); v != "1.35.4" {
			t.Errorf("pool %s has %s: %s", worker.Name, v, text)
		}
	}
	if len(p.results) != 1 || p.shoot.Spec.Provider.Workers[2].Kubernetes != nil {
		t.Errorf("%s", text)
	}
}

// TestGates takes out what the new versions do not have or do not let choose, of
// each component, and of pools by their own version.
func TestGates(t *testing.T) {
	gates := func() gardencorev1beta1.KubernetesConfig {
		return gardencorev1beta1.KubernetesConfig{FeatureGates: map[string]bool{"NodeSwap": false, "RequestWatchProgress": true, "GracefulNodeShutdown": true}}
	}
	shoot := shootAt("1.36.3", func(s *gardencorev1beta1.Shoot) {
		k := &s.Spec.Kubernetes
		k.KubeAPIServer, k.KubeControllerManager = &gardencorev1beta1.KubeAPIServerConfig{KubernetesConfig: gates()}, &gardencorev1beta1.KubeControllerManagerConfig{KubernetesConfig: gates()}
		k.KubeScheduler, k.KubeProxy, k.Kubelet = &gardencorev1beta1.KubeSchedulerConfig{KubernetesConfig: gates()}, &gardencorev1beta1.KubeProxyConfig{KubernetesConfig: gates()}, &gardencorev1beta1.KubeletConfig{KubernetesConfig: gates()}
		s.Spec.Provider.Workers = []gardencorev1beta1.Worker{{Name: "w", Kubernetes: &gardencorev1beta1.WorkerKubernetes{Version: ptr.To("1.33.1"), Kubelet: &gardencorev1beta1.KubeletConfig{KubernetesConfig: gates()}}}}
	})
	p, text := planOf(t, shoot, given("1.33.1", "1.36.3"))
	for _, component := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"} {
		if !strings.Contains(text, `Control Plane: Removed feature gates from "`+component+`": NodeSwap, RequestWatchProgress. Reason: Kubernetes 1.36.3 does not know them`) {
			t.Errorf("%s: %s", component, text)
		}
	}
	if !strings.Contains(text, `Worker pool "w": Removed feature gates from "kubelet": RequestWatchProgress. Reason: Kubernetes 1.33.1 does not know them`) {
		t.Errorf("%s", text)
	}
	if left := p.shoot.Spec.Kubernetes.KubeProxy.FeatureGates; len(left) != 1 || !left["GracefulNodeShutdown"] {
		t.Errorf("left %v", left)
	}
}

// TestRotations wants credentials rotated when they are old enough and can be.
func TestRotations(t *testing.T) {
	week := &gardencorev1beta1.MaintenanceRotationConfig{RotationPeriod: &metav1.Duration{Duration: 7 * 24 * time.Hour}}
	ago := func(days int) *metav1.Time { return &metav1.Time{Time: today().AddDate(0, 0, -days)} }
	status := func(days int) func(*gardencorev1beta1.Shoot) {
		return func(s *gardencorev1beta1.Shoot) {
			s.Status.Credentials = &gardencorev1beta1.ShootCredentials{Rotation: &gardencorev1beta1.ShootCredentialsRotation{
				SSHKeypair:        &gardencorev1beta1.ShootSSHKeypairRotation{LastCompletionTime: ago(days), LastInitiationTime: ago(days)},
				Observability:     &gardencorev1beta1.ObservabilityRotation{LastCompletionTime: ago(days)},
				ETCDEncryptionKey: &gardencorev1beta1.ETCDEncryptionKeyRotation{LastCompletionTime: ago(days)},
			}}
		}
	}
	for name, row := range map[string]struct {
		change func(*gardencorev1beta1.Shoot)
		want   string
	}{
		"never rotated":      {want: "reconcile;rotate-ssh-keypair;rotate-observability-credentials;rotate-etcd-encryption-key"},
		"rotated lately":     {change: status(6), want: "reconcile"},
		"rotated a week ago": {change: status(7), want: "reconcile;rotate-ssh-keypair;rotate-observability-credentials;rotate-etcd-encryption-key"},
		"turned off": {change: func(s *gardencorev1beta1.Shoot) {
			s.Spec.Maintenance.AutoRotation.Credentials = &gardencorev1beta1.MaintenanceCredentialsAutoRotation{SSHKeypair: &gardencorev1beta1.MaintenanceRotationConfig{RotationPeriod: &metav1.Duration{}}}
		}, want: "reconcile"},
		"young cluster": {change: func(s *gardencorev1beta1.Shoot) { s.CreationTimestamp = *ago(1) }, want: "reconcile"},
		"no machines":   {change: func(s *gardencorev1beta1.Shoot) { s.Spec.Provider.Workers = nil }, want: "reconcile;rotate-observability-credentials;rotate-etcd-encryption-key"},
		"hibernated":    {change: func(s *gardencorev1beta1.Shoot) { s.Status.IsHibernated = true }, want: "reconcile;rotate-ssh-keypair;rotate-observability-credentials"},
		"constraint": {change: func(s *gardencorev1beta1.Shoot) {
			s.Status.Constraints = []gardencorev1beta1.Condition{{Type: gardencorev1beta1.ShootAutomaticCredentialsRotationPossible, Status: gardencorev1beta1.ConditionFalse}}
		}, want: "reconcile;rotate-ssh-keypair;rotate-observability-credentials"},
		"failed": {change: func(s *gardencorev1beta1.Shoot) {
			s.Status.LastOperation.State = gardencorev1beta1.LastOperationStateFailed
		}, want: ""},
	} {
		shoot := shootAt("1.36.3", func(s *gardencorev1beta1.Shoot) {
			s.Spec.Provider.Workers = []gardencorev1beta1.Worker{{Name: "w"}}
			s.Spec.Maintenance = &gardencorev1beta1.Maintenance{AutoRotation: &gardencorev1beta1.MaintenanceAutoRotation{Credentials: &gardencorev1beta1.MaintenanceCredentialsAutoRotation{SSHKeypair: week, Observability: week, ETCDEncryptionKey: week}}}
			if row.change != nil {
				row.change(s)
			}
		})
		if p, _ := planOf(t, shoot, given("1.36.3")); p.shoot.Annotations[v1beta1constants.GardenerOperation] != row.want {
			t.Errorf("%s: %q, want %q", name, p.shoot.Annotations[v1beta1constants.GardenerOperation], row.want)
		}
	}
}

// TestOperations is about the annotations that ask the agent to work.
func TestOperations(t *testing.T) {
	for name, row := range map[string]struct {
		annotations map[string]string
		failed      bool
		restart     bool
		want        map[string]string
		problem     string
	}{
		"reconcile": {want: map[string]string{"gardener.cloud/operation": "reconcile"}},
		"with what was put off": {annotations: map[string]string{"gardener.cloud/operation": "maintain", "maintenance.gardener.cloud/operation": "rotate-ca-start;rotate-ssh-keypair"},
			want: map[string]string{"gardener.cloud/operation": "rotate-ca-start;rotate-ssh-keypair;reconcile"}},
		"once each": {annotations: map[string]string{"maintenance.gardener.cloud/operation": "reconcile"}, want: map[string]string{"gardener.cloud/operation": "reconcile"}},
		"out of order": {annotations: map[string]string{"maintenance.gardener.cloud/operation": "rotate-ca-complete"},
			want: map[string]string{"gardener.cloud/operation": "reconcile"}, problem: "can be completed in phase Prepared only"},
		"failed": {annotations: map[string]string{"gardener.cloud/operation": "maintain", "maintenance.gardener.cloud/operation": "rotate-ca-start"}, failed: true,
			want: map[string]string{"maintenance.gardener.cloud/operation": "rotate-ca-start"}},
		"failed, to be retried": {annotations: map[string]string{"gardener.cloud/operation": "maintain", v1beta1constants.FailedShootNeedsRetryOperation: "true"}, failed: true,
			want: map[string]string{"gardener.cloud/operation": "retry"}},
		"retry is for those that failed": {annotations: map[string]string{v1beta1constants.FailedShootNeedsRetryOperation: "true"},
			want: map[string]string{"gardener.cloud/operation": "reconcile", v1beta1constants.FailedShootNeedsRetryOperation: "true"}},
		"restarts": {restart: true, annotations: map[string]string{v1beta1constants.ShootTasks: "mine,deployInfrastructure"}, want: map[string]string{
			"gardener.cloud/operation": "reconcile", v1beta1constants.ShootTasks: "mine,deployInfrastructure,deployDNSRecordInternal,deployDNSRecordExternal,deployDNSRecordIngress,restartControlPlanePods,restartCoreAddons"}},
	} {
		f := given("1.36.3")
		f.restartControlPlane, f.restartAddons = row.restart, row.restart
		shoot := shootAt("1.36.3", func(s *gardencorev1beta1.Shoot) {
			s.Annotations = row.annotations
			if row.failed {
				s.Status.LastOperation.State = gardencorev1beta1.LastOperationStateFailed
			}
		})
		p, text := planOf(t, shoot, f)
		if row.want[v1beta1constants.ShootTasks] == "" {
			row.want[v1beta1constants.ShootTasks] = "deployInfrastructure,deployDNSRecordInternal,deployDNSRecordExternal,deployDNSRecordIngress"
		}
		if !equality.Semantic.DeepEqual(p.shoot.Annotations, row.want) || !strings.Contains(text, row.problem) {
			t.Errorf("%s: %v, want %v; %s", name, p.shoot.Annotations, row.want, text)
		}
	}
}

func TestQuotasWithoutOrder(t *testing.T) {
	a := []corev1.ObjectReference{{Namespace: "n", Name: "a"}, {Namespace: "n", Name: "b"}}
	b := slices.Clone(a)
	slices.Reverse(b)
	if !sameObjects(a, b) || sameObjects(a, a[:1]) {
		t.Error("quotas in another order are other ones")
	}
}
