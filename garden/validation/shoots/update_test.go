package shoots_test

import (
	"testing"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/garden/validation/shoots"
)

// TestChanges has a row per rule about updates. A row with before changes the
// Shoot that is replaced and the one that replaces it.
func TestChanges(t *testing.T) {
	inPlace := func(s *core.Shoot) {
		w := worker(s)
		w.UpdateStrategy, w.Machine.Image.Version = new(core.AutoInPlaceUpdate), "1400.0.0"
	}
	for name, r := range map[string]struct {
		row
		before func(*core.Shoot)
	}{
		"provider type":     {row: row{change: func(s *core.Shoot) { s.Spec.Provider.Type = "cloud" }, want: []string{`spec.provider.type: it is "metal"`}}},
		"region":            {row: row{change: func(s *core.Shoot) { s.Spec.Region, worker(s).Zones = "south", nil }, want: []string{`spec.region: it is "north"`}}},
		"scheduler":         {row: row{change: func(s *core.Shoot) { s.Spec.SchedulerName = new("other") }, want: []string{"spec.schedulerName: it is"}}},
		"exposure class":    {row: row{change: func(s *core.Shoot) { s.Spec.ExposureClassName = new("public") }, facts: func(f *shoots.Facts) { f.ExposureClass = true }, want: []string{"spec.exposureClassName: cannot be changed"}}},
		"networking type":   {row: row{change: func(s *core.Shoot) { s.Spec.Networking.Type = new("cilium") }, want: []string{`spec.networking.type: it is "calico"`}}},
		"networking ranges": {row: row{change: func(s *core.Shoot) { s.Spec.Networking.Pods, s.Spec.Networking.Services = new("10.16.0.0/12"), nil }, want: []string{"spec.networking.pods: cannot be changed", "spec.networking.services: cannot be changed"}}},
		"nodes may change":  {row: row{change: func(s *core.Shoot) { s.Spec.Networking.Nodes = new("10.251.0.0/16") }}},
		"a second family": {row: row{change: func(s *core.Shoot) {
			s.Spec.Networking.IPFamilies = []core.IPFamily{core.IPFamilyIPv4, core.IPFamilyIPv6}
		}}},
		"another family":           {row: row{change: func(s *core.Shoot) { s.Spec.Networking.IPFamilies = []core.IPFamily{core.IPFamilyIPv6} }, want: []string{"spec.networking.ipFamilies: cannot be changed", "spec.networking.pods: is IPv4", "spec.networking.services: is IPv4", "spec.networking.nodes: is IPv4"}}},
		"mask size":                {row: row{change: func(s *core.Shoot) { s.Spec.Kubernetes.KubeControllerManager.NodeCIDRMaskSize = new(int32(25)) }, want: []string{"spec.kubernetes.kubeControllerManager.nodeCIDRMaskSize: it is 24"}}},
		"domain":                   {before: func(s *core.Shoot) { s.Spec.DNS = &core.DNS{Domain: new("a.org")} }, row: row{change: func(s *core.Shoot) { s.Spec.DNS = &core.DNS{Domain: new("b.org")} }, want: []string{`spec.dns.domain: it is "a.org"`}}},
		"domain taken out":         {before: func(s *core.Shoot) { s.Spec.DNS = &core.DNS{Domain: new("a.org")} }, row: row{change: func(s *core.Shoot) { s.Spec.DNS = nil }, want: []string{"spec.dns.domain: cannot be changed"}}},
		"credentials binding":      {row: row{change: func(s *core.Shoot) { s.Spec.CredentialsBindingName = new("other") }, want: []string{`spec.credentialsBindingName: it is "cloud"`}}},
		"credentials binding gone": {row: row{change: func(s *core.Shoot) { s.Spec.CredentialsBindingName = nil }, want: []string{"spec.credentialsBindingName: cannot be changed"}}},
		"control plane zones": {before: func(s *core.Shoot) { s.Spec.ControlPlane = &core.ControlPlane{Zones: []string{"a"}} },
			row: row{change: func(s *core.Shoot) { s.Spec.ControlPlane.Zones = []string{"b"} }, want: []string{"spec.controlPlane.zones: cannot be changed"}}},
		"failure tolerance lowered": {before: func(s *core.Shoot) { tolerate(s, core.FailureToleranceTypeZone) },
			row: row{change: func(s *core.Shoot) { tolerate(s, core.FailureToleranceTypeNode) }, want: []string{"spec.controlPlane.highAvailability.failureTolerance.type: cannot be lowered"}}},
		"failure tolerance raised": {row: row{change: func(s *core.Shoot) { tolerate(s, core.FailureToleranceTypeNode) }}},

		"secret binding to credentials binding": {before: func(s *core.Shoot) {
			s.Spec.Kubernetes.Version = "1.33.9"
			s.Spec.SecretBindingName, s.Spec.CredentialsBindingName = new("old"), nil
		}, row: row{
			change: func(s *core.Shoot) { s.Spec.SecretBindingName, s.Spec.CredentialsBindingName = nil, new("cloud") },
			facts:  func(f *shoots.Facts) { f.OldBinding = &shoots.Binding{Credentials: "Secret garden-dev/cloud"} },
		}},
		"secret binding to other credentials": {before: func(s *core.Shoot) {
			s.Spec.Kubernetes.Version = "1.33.9"
			s.Spec.SecretBindingName, s.Spec.CredentialsBindingName = new("old"), nil
		}, row: row{
			change: func(s *core.Shoot) { s.Spec.SecretBindingName, s.Spec.CredentialsBindingName = nil, new("cloud") },
			facts:  func(f *shoots.Facts) { f.OldBinding = &shoots.Binding{Credentials: "Secret garden-dev/other"} },
			want:   []string{"spec.credentialsBindingName: must lead to the same credentials"},
		}},

		"downgrade":            {row: row{change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.36.1" }, want: []string{"spec.kubernetes.version: cannot be lowered from 1.36.3 to 1.36.1"}}},
		"one minor at a time":  {before: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.34.2" }, row: row{change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.35.4" }}},
		"two minors at a time": {before: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.34.2" }, row: row{change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.36.3" }, want: []string{"spec.kubernetes.version: from 1.34.2 to 1.35 first"}}},
		"workers lowered":      {row: row{change: func(s *core.Shoot) { worker(s).Kubernetes = &core.WorkerKubernetes{Version: new("1.35.4")} }, want: []string{pool + ".kubernetes.version: cannot be lowered from 1.36.3 to 1.35.4"}}},
		"workers stay behind": {before: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.35.4" }, row: row{change: func(s *core.Shoot) {
			s.Spec.Kubernetes.Version = "1.36.3"
			worker(s).Kubernetes = &core.WorkerKubernetes{Version: new("1.35.4")}
		}}},
		"image lowered":       {before: func(s *core.Shoot) { worker(s).Machine.Image.Version = "1400.0.0" }, row: row{change: func(s *core.Shoot) { worker(s).Machine.Image.Version = "1312.3.0" }, want: []string{pool + ".machine.image.version: cannot be lowered"}}},
		"image raised":        {row: row{change: func(s *core.Shoot) { worker(s).Machine.Image.Version = "1400.0.0" }}},
		"image for a kubelet": {before: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.35.4" }, row: row{change: func(s *core.Shoot) { worker(s).Machine.Image.Version = "1443.10.0" }, want: []string{pool + ".machine.image.version: takes kubelets >= 1.36 only"}}},

		"strategy":             {before: inPlace, row: row{change: func(s *core.Shoot) { worker(s).UpdateStrategy = new(core.AutoRollingUpdate) }, want: []string{pool + ".updateStrategy: add another pool"}}},
		"in place, other type": {before: inPlace, row: row{change: func(s *core.Shoot) { worker(s).Volume.VolumeSize = "60Gi" }, want: []string{pool + ".volume: updated in place"}}},
		"in place, too far":    {before: inPlace, row: row{change: func(s *core.Shoot) { worker(s).Machine.Image.Version = "1592.1.0" }, want: []string{pool + ".machine.image.version: from 1500.0.0 on"}}},
		"in place, under way":  {before: func(s *core.Shoot) { inPlace(s); s.Spec.Kubernetes.Version = "1.35.4"; pendingUpdate(s) }, row: row{change: func(s *core.Shoot) { worker(s).Kubernetes = &core.WorkerKubernetes{Version: new("1.35.4")} }, want: []string{pool + ": force-in-place-update"}}},
		"in place, forced": {before: func(s *core.Shoot) { inPlace(s); s.Spec.Kubernetes.Version = "1.35.4"; pendingUpdate(s) }, row: row{change: func(s *core.Shoot) {
			worker(s).Kubernetes = &core.WorkerKubernetes{Version: new("1.35.4")}
			s.Annotations = map[string]string{"gardener.cloud/operation": "force-in-place-update"}
		}}},
		"control plane moves":   {before: func(s *core.Shoot) { hold(worker(s)) }, row: row{change: func(s *core.Shoot) { worker(s).Name = "other" }, want: []string{pool + `.controlPlane: a control plane stays in its pool, which is "pool"`}}},
		"control plane goes":    {before: func(s *core.Shoot) { hold(worker(s)) }, row: row{change: func(s *core.Shoot) { worker(s).ControlPlane = nil }, want: []string{`spec.provider.workers: pool "pool" holds the control plane`}}},
		"control plane appears": {row: row{change: func(s *core.Shoot) { hold(worker(s)) }, want: []string{pool + ".controlPlane: stays in its pool"}}},
		"control plane is told": {row: row{change: func(s *core.Shoot) {
			w := *worker(s).DeepCopy()
			w.Name = "control-plane"
			hold(&w)
			s.Spec.Provider.Workers = append(s.Spec.Provider.Workers, w)
		}}},

		"encryption while rotating": {before: func(s *core.Shoot) {
			s.Status.Credentials = &core.ShootCredentials{Rotation: &core.ShootCredentialsRotation{ETCDEncryptionKey: &core.ETCDEncryptionKeyRotation{Phase: core.RotationPreparing}}}
		},
			row: row{change: func(s *core.Shoot) {
				s.Spec.Kubernetes.KubeAPIServer.EncryptionConfig = &core.EncryptionConfig{Resources: []string{"configmaps"}}
			}, want: []string{"spec.kubernetes.kubeAPIServer.encryptionConfig: is in phase Preparing"}}},
		"seed by an update": {row: row{change: func(s *core.Shoot) { s.Spec.SeedName = new("other") }, want: []string{"spec.seedName: subresource shoots/binding only"}}},
		"selector that still fits": {row: row{change: func(s *core.Shoot) {
			s.Spec.SeedSelector = &core.SeedSelector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"stage": "dev"}}}
		}}},
		"selector that fits no more": {row: row{change: func(s *core.Shoot) { s.Spec.SeedSelector = &core.SeedSelector{ProviderTypes: []string{"cloud"}} }, want: []string{"spec.seedSelector.providerTypes: does not contain"}}},
		"a seed falls asleep":        {row: row{change: sleepNow, facts: func(f *shoots.Facts) { f.ManagedSeed = "plant" }, want: []string{"spec.hibernation.enabled: the cluster is seed plant"}}},
		"quota, not growing":         {row: row{change: func(s *core.Shoot) { s.Spec.Purpose = nil }, facts: shared("cpu", "1")}},
		"quota, growing":             {row: row{change: func(s *core.Shoot) { worker(s).Maximum = 4 }, facts: shared("cpu", "13"), want: []string{"spec.provider.workers: this cluster may take 8"}}},

		"version gone from the profile": {before: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.36.0" }, row: row{change: sleepNow}},
		"type gone from the profile":    {before: func(s *core.Shoot) { worker(s).Machine.Type, worker(s).Volume.Type = "former", new("former") }, row: row{change: sleepNow}},
		"image gone from the profile":   {before: func(s *core.Shoot) { worker(s).Machine.Image.Version = "1.0.0" }, row: row{change: func(s *core.Shoot) { worker(s).Labels = map[string]string{"a": "b"} }}},
		"image expired, new kubelet":    {before: func(s *core.Shoot) { worker(s).Machine.Image.Version, s.Spec.Kubernetes.Version = "1300.0.0", "1.35.4" }, row: row{change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.36.3" }}},
		"profile gone":                  {row: row{change: sleepNow, facts: func(f *shoots.Facts) { f.Profile = nil }}},
		"profile gone, new version":     {before: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.36.1" }, row: row{change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.36.3" }, facts: func(f *shoots.Facts) { f.Profile = nil }, want: []string{"spec.cloudProfile.name: Not found"}}},
		"project, seed, binding gone":   {row: row{change: sleepNow, facts: func(f *shoots.Facts) { f.Project, f.Seed, f.Binding = nil, nil, nil }}},
		"seed tainted since":            {row: row{change: sleepNow, facts: func(f *shoots.Facts) { f.Seed.Spec.Taints = []core.SeedTaint{{Key: "busy"}} }}},
		"deletion, metadata":            {before: dying, row: row{change: func(s *core.Shoot) { s.Finalizers = nil }, facts: func(f *shoots.Facts) { *f = shoots.Facts{Now: now} }}},
		"deletion, spec":                {before: dying, row: row{change: sleepNow, want: []string{"spec: cannot be changed while the cluster is being deleted"}}},
	} {
		t.Run("garden-api: Validation/update/"+name, func(t *testing.T) {
			s, old, f := shoot(), shoot(), facts()
			for _, one := range []*core.Shoot{s, old} {
				if r.before != nil {
					r.before(one)
				}
			}
			r.change(s)
			if r.facts != nil {
				r.facts(&f)
			}
			r.check(t, s, old, f)
		})
	}
}

func sleepNow(s *core.Shoot) { s.Spec.Hibernation = &core.Hibernation{Enabled: new(true)} }

func dying(s *core.Shoot) {
	s.DeletionTimestamp, s.Finalizers = &metav1.Time{Time: now}, []string{"loam.dev/shoot"}
}

func tolerate(s *core.Shoot, failure core.FailureToleranceType) {
	s.Spec.ControlPlane = &core.ControlPlane{HighAvailability: &core.HighAvailability{FailureTolerance: core.FailureTolerance{Type: failure}}}
}

func hold(w *core.Worker) {
	w.ControlPlane, w.Minimum, w.Maximum = &core.WorkerControlPlane{}, 1, 1
}

func pendingUpdate(s *core.Shoot) {
	s.Status.InPlaceUpdates = &core.InPlaceUpdatesStatus{PendingWorkerUpdates: &core.PendingWorkerUpdates{AutoInPlaceUpdate: []string{"pool"}}}
}

// TestBinding has a row per rule about the subresource.
func TestBinding(t *testing.T) {
	backed := func(s *core.Seed) {
		s.Spec.Backup = &core.Backup{Provider: "metal", CredentialsRef: &corev1.ObjectReference{}}
	}
	for name, r := range map[string]struct {
		before *string
		now    *string
		facts  func(*shoots.Facts)
		want   []string
	}{
		"first seed":            {nil, new("seed"), nil, nil},
		"first seed, not there": {nil, new("seed"), func(f *shoots.Facts) { f.Seed = nil }, []string{"spec.seedName: Not found"}},
		"first seed, tainted":   {nil, new("seed"), func(f *shoots.Facts) { f.Seed.Spec.Taints = []core.SeedTaint{{Key: "busy"}} }, []string{"spec.seedName: does not tolerate"}},
		"taken back":            {new("seed"), nil, nil, []string{"spec.seedName: cannot be taken back"}},
		"moved without backups": {new("old"), new("seed"), nil, []string{`spec.seedName: seed "seed" has none (spec.backup)`, `spec.seedName: seed "former" has none`}},
		"moved with backups":    {new("old"), new("seed"), func(f *shoots.Facts) { backed(f.Seed); backed(f.OldSeed) }, nil},
		"overlapping networks":  {nil, new("seed"), func(f *shoots.Facts) { f.Seed.Spec.Networks.Pods = "100.100.0.0/16" }, []string{"spec.networking.pods: overlaps 100.100.0.0/16"}},
	} {
		t.Run("garden-api: shoots/binding/"+name, func(t *testing.T) {
			s, old, f := shoot(), shoot(), facts()
			s.Spec.SeedName, old.Spec.SeedName, f.Binds = r.now, r.before, true
			f.OldSeed.Name = "former"
			if r.facts != nil {
				r.facts(&f)
			}
			row{want: r.want}.check(t, s, old, f)
		})
	}
}
