package shoots_test

import (
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/loam-cloud/loam/garden/validation/shoots"
	"github.com/loam-cloud/loam/garden/validation/shoots/quotas"
)

const pool = "spec.provider.workers[0]"

// TestNewShoots has a row per rule of "Validation: what a wrong object gets", for
// Shoots that are new.
func TestNewShoots(t *testing.T) {
	for name, r := range map[string]row{
		"names and lengths/project": {change: func(s *core.Shoot) { s.Name = "a-name-that-is-far-too-long-to-fit-into-the-technical-id" }, want: []string{"metadata.name: at most 51 characters"}},
		"names and lengths/node":    {change: func(s *core.Shoot) { worker(s).Name = "a-pool-whose-name-leaves-no-room-for-the-names-of-its-nodes" }, want: []string{pool + ".name: has to fit into 63"}},
		"no project":                {facts: func(f *shoots.Facts) { f.Project = nil }, want: []string{"metadata.namespace: belongs to no project"}},
		"project in deletion":       {facts: func(f *shoots.Facts) { f.Project.DeletionTimestamp = &metav1.Time{Time: now} }, want: []string{"metadata.namespace: is being deleted"}},

		"version not offered":       {change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.36.7" }, want: []string{`spec.kubernetes.version: offers 1.37.0, 1.36.3, 1.36.1, 1.35.4, 1.34.2, 1.33.9`}},
		"version expired":           {change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.32.1" }, want: []string{"spec.kubernetes.version: offers"}},
		"version not yet available": {change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.36.9" }, want: []string{"spec.kubernetes.version: offers"}},
		"version without node image": {
			change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.36.7" },
			facts:  func(f *shoots.Facts) { f.Profile.Type = "local" },
			want:   []string{"spec.provider.type: must be", `spec.kubernetes.version: "loam image build --help" lists those that one can be built of`},
		},
		"version in preview":   {change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.37.0" }},
		"version deprecated":   {change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.36.1" }},
		"version that is none": {change: func(s *core.Shoot) { s.Spec.Kubernetes.Version = "new" }, want: []string{"spec.kubernetes.version: must be a full version", "spec.kubernetes.version: offers"}},

		"workers not newer":          {change: func(s *core.Shoot) { worker(s).Kubernetes = &core.WorkerKubernetes{Version: new("1.37.0")} }, want: []string{pool + ".kubernetes.version: must not be newer than the control plane"}},
		"workers within skew":        {change: func(s *core.Shoot) { worker(s).Kubernetes = &core.WorkerKubernetes{Version: new("1.33.9")} }},
		"workers not within skew":    {change: func(s *core.Shoot) { worker(s).Kubernetes = &core.WorkerKubernetes{Version: new("1.32.1")} }, want: []string{pool + ".kubernetes.version: at most 3 minor versions behind", pool + ".kubernetes.version: the cloud profile offers"}},
		"worker version not offered": {change: func(s *core.Shoot) { worker(s).Kubernetes = &core.WorkerKubernetes{Version: new("1.36.0")} }, want: []string{pool + ".kubernetes.version: the cloud profile offers"}},
		"image does not take kubelet": {change: func(s *core.Shoot) {
			worker(s).Machine.Image.Version = "1443.10.0"
			worker(s).Kubernetes = &core.WorkerKubernetes{Version: new("1.35.4")}
		}, want: []string{pool + ".machine.image.version: takes kubelets >= 1.36 only"}},
		"machine type not offered": {change: func(s *core.Shoot) { worker(s).Machine = core.Machine{Type: "huge"} }, want: []string{pool + `.machine.type: supported values: "small", "arm"`}},
		"machine type out of use":  {change: func(s *core.Shoot) { worker(s).Machine.Type = "old" }, want: []string{pool + `.machine.type: Unsupported value: "old"`}},
		"machine type not in zone": {change: func(s *core.Shoot) {
			worker(s).Machine.Type, worker(s).Machine.Architecture, worker(s).Zones, worker(s).Volume = "arm", new("arm64"), []string{"n1", "n2"}, nil
		}, want: []string{pool + ".machine.type: is not there in zone n2"}},
		"architecture of another type": {change: func(s *core.Shoot) { worker(s).Machine.Architecture = new("arm64") }, want: []string{pool + `.machine.architecture: must be amd64, as machine type "small" is`}},
		"architecture unknown":         {change: func(s *core.Shoot) { worker(s).Machine.Architecture = new("mips") }, want: []string{pool + ".machine.architecture: Unsupported", pool + ".machine.image.version: is not made for architecture mips"}},
		"image not offered":            {change: func(s *core.Shoot) { worker(s).Machine.Image.Name = "windows" }, want: []string{pool + `.machine.image.name: supported values: "linux"`}},
		"image version not offered":    {change: func(s *core.Shoot) { worker(s).Machine.Image.Version = "7.0.0" }, want: []string{pool + ".machine.image.version: that fit the pool are 1312.3.0"}},
		"image version expired":        {change: func(s *core.Shoot) { worker(s).Machine.Image.Version = "1300.0.0" }, want: []string{pool + ".machine.image.version: that fit the pool are 1312.3.0"}},
		"image of other architecture": {change: func(s *core.Shoot) {
			worker(s).Machine = core.Machine{Type: "arm", Architecture: new("arm64"), Image: &core.ShootMachineImage{Name: "linux", Version: "1400.0.0"}}
		}, want: []string{pool + ".machine.image.version: is not made for architecture arm64"}},
		"image not in place":           {change: func(s *core.Shoot) { worker(s).UpdateStrategy = new(core.AutoInPlaceUpdate) }, want: []string{pool + ".machine.image.version: does not support updates in place"}},
		"container runtime unknown":    {change: func(s *core.Shoot) { worker(s).CRI.ContainerRuntimes = []core.ContainerRuntime{{Type: "gvisor"}} }, want: []string{pool + ".machine.image.version: does not support the container runtimes"}},
		"volume type not offered":      {change: func(s *core.Shoot) { worker(s).Volume.Type = new("floppy") }, want: []string{pool + `.volume.type: supported values: "ssd"`}},
		"volume type out of use":       {change: func(s *core.Shoot) { worker(s).Volume.Type = new("tape") }, want: []string{pool + ".volume.type: Unsupported"}},
		"volume type not in zone":      {change: func(s *core.Shoot) { worker(s).Zones = []string{"n2"} }, want: []string{pool + ".volume.type: is not there in zone n2"}},
		"volume too small for machine": {change: func(s *core.Shoot) { worker(s).Volume.VolumeSize = "15Gi" }, want: []string{pool + ".volume.size: must be at least 20Gi"}},
		"data volume too small": {change: func(s *core.Shoot) {
			worker(s).DataVolumes = []core.DataVolume{{Name: "d", Type: new("ssd"), VolumeSize: "1Gi"}}
		}, want: []string{pool + ".dataVolumes[0].size: must be at least 10Gi"}},
		"volume size that is none": {change: func(s *core.Shoot) { worker(s).Volume.VolumeSize = "much" }, want: []string{pool + ".volume.size: must be a size"}},
		"kubelet volume unknown":   {change: func(s *core.Shoot) { worker(s).KubeletDataVolumeName = new("d") }, want: []string{pool + ".kubeletDataVolumeName: one of dataVolumes"}},
		"zone not offered":         {change: func(s *core.Shoot) { worker(s).Zones = []string{"n1", "s1", "n1"} }, want: []string{pool + `.zones[1]: supported values: "n1", "n2"`, pool + ".zones[2]: Duplicate"}},
		"region not offered":       {change: func(s *core.Shoot) { s.Spec.Region = "west" }, want: []string{`spec.region: supported values: "north", "south"`}},
		"restriction not offered": {change: func(s *core.Shoot) {
			s.Spec.AccessRestrictions = []core.AccessRestrictionWithOptions{{AccessRestriction: core.AccessRestriction{Name: "us-only"}}}
		}, want: []string{"spec.accessRestrictions[0].name: Unsupported", `spec.seedName: does not support access restriction "us-only"`}},
		"profile not there":               {facts: func(f *shoots.Facts) { f.Profile = nil }, want: []string{"spec.cloudProfile.name: Not found"}},
		"profile without its parent's":    {facts: func(f *shoots.Facts) { f.Profile = &core.CloudProfileSpec{} }, want: []string{"spec.cloudProfile.name: offers nothing yet"}},
		"volume type where there is none": {facts: func(f *shoots.Facts) { f.Profile.VolumeTypes = nil }, want: []string{pool + ".volume.type: the cloud profile offers none"}},
		"profile of another provider":     {facts: func(f *shoots.Facts) { f.Profile.Type = "cloud" }, want: []string{`spec.provider.type: must be "cloud"`}},
		"profile named twice":             {change: func(s *core.Shoot) { s.Spec.CloudProfileName = new("other") }, want: []string{"spec.cloudProfileName: contradicts"}},
		"nodes over the limit": {change: func(s *core.Shoot) { worker(s).Minimum, worker(s).Maximum = 6, 6 }, facts: func(f *shoots.Facts) { f.Profile.Limits = &core.Limits{MaxNodesTotal: new(int32(5))} },
			want: []string{pool + ".maximum: must be at most 5", "spec.provider.workers: are 6 nodes"}},

		"minimum over maximum":   {change: func(s *core.Shoot) { worker(s).Minimum, worker(s).Maximum = 4, 3 }, want: []string{pool + ".maximum: must be at least minimum, which is 4"}},
		"negative sizes":         {change: func(s *core.Shoot) { worker(s).Minimum, worker(s).Maximum = -1, -1 }, want: []string{pool + ".minimum: 0 or more", pool + ".maximum: 0 or more"}},
		"neither surge nor gap":  {change: func(s *core.Shoot) { worker(s).MaxSurge = new(intstr.FromString("0%")) }, want: []string{pool + ".maxUnavailable: must not be 0 while maxSurge is 0"}},
		"surge that is none":     {change: func(s *core.Shoot) { worker(s).MaxSurge = new(intstr.FromString("some")) }, want: []string{pool + ".maxSurge: must be a number, or a percentage"}},
		"more than all gone":     {change: func(s *core.Shoot) { worker(s).MaxUnavailable = new(intstr.FromString("101%")) }, want: []string{pool + ".maxUnavailable: at most 100%"}},
		"duplicate worker names": {change: func(s *core.Shoot) { s.Spec.Provider.Workers = append(s.Spec.Provider.Workers, *worker(s).DeepCopy()) }, want: []string{"spec.provider.workers[1].name: Duplicate"}},
		"no system components":   {change: func(s *core.Shoot) { worker(s).SystemComponents.Allow = false }, want: []string{"spec.provider.workers: allow system components"}},
		"even control plane": {change: func(s *core.Shoot) {
			worker(s).ControlPlane, worker(s).Minimum, worker(s).Maximum = &core.WorkerControlPlane{}, 2, 2
		}, want: []string{pool + ".minimum: an odd number of machines"}},
		"control plane that grows": {change: func(s *core.Shoot) { worker(s).ControlPlane = &core.WorkerControlPlane{} }, want: []string{pool + ".maximum: does not grow by itself"}},

		"taint": {change: func(s *core.Shoot) { worker(s).Taints = []corev1.Taint{{Key: "a b", Value: "?", Effect: "Never"}, {}} }, want: []string{pool + ".taints[0].key: name part", pool + ".taints[0].value: a valid label", pool + ".taints[0].effect: Unsupported", pool + ".taints[1].key: Required", pool + ".taints[1].effect: Unsupported"}},
		"taint twice": {change: func(s *core.Shoot) {
			worker(s).Taints = []corev1.Taint{{Key: "a", Effect: "NoSchedule"}, {Key: "a", Value: "b", Effect: "NoSchedule"}}
		}, want: []string{pool + ".taints[1]: Duplicate"}},
		"label":             {change: func(s *core.Shoot) { worker(s).Labels = map[string]string{"a": "b c"} }, want: []string{pool + ".labels: a valid label"}},
		"label of others":   {change: func(s *core.Shoot) { worker(s).Labels = map[string]string{"node-role.kubernetes.io/x": ""} }, want: []string{pool + ".labels[node-role.kubernetes.io/x]: a kubelet may not give"}},
		"annotation":        {change: func(s *core.Shoot) { worker(s).Annotations = map[string]string{"a b": ""} }, want: []string{pool + ".annotations: name part"}},
		"sysctl":            {change: func(s *core.Shoot) { worker(s).Sysctls = map[string]string{"swap": "1", "vm.swappiness": ""} }, want: []string{pool + ".sysctls[swap]: must be a kernel setting", pool + ".sysctls[vm.swappiness]: must be a value"}},
		"certificates":      {change: func(s *core.Shoot) { worker(s).CABundle = new("none") }, want: []string{pool + ".caBundle: certificates in PEM"}},
		"container runtime": {change: func(s *core.Shoot) { worker(s).CRI.Name = "docker" }, want: []string{pool + `.cri.name: supported values: "containerd"`, pool + ".machine.image.version: container runtimes"}},

		"resource references unique": {change: func(s *core.Shoot) {
			ref := core.NamedResourceReference{Name: "a", ResourceRef: autoscalingv1.CrossVersionObjectReference{APIVersion: "v1", Kind: "Secret", Name: "s"}}
			s.Spec.Resources = []core.NamedResourceReference{ref, ref, {Name: "b", ResourceRef: autoscalingv1.CrossVersionObjectReference{APIVersion: "v1", Kind: "Pod", Name: "p"}}}
		}, want: []string{"spec.resources[1].name: Duplicate", "spec.resources[2].resourceRef.kind: must be Secret or ConfigMap"}},
		"tolerations unique": {change: func(s *core.Shoot) { s.Spec.Tolerations = []core.Toleration{{Key: "a"}, {Key: "a"}} }, facts: func(f *shoots.Facts) {
			f.Project.Spec.Tolerations = &core.ProjectTolerations{Whitelist: []core.Toleration{{Key: "a"}}}
		}, want: []string{"spec.tolerations[1].key: Duplicate"}},
		"toleration forbidden": {change: func(s *core.Shoot) { s.Spec.Tolerations = []core.Toleration{{Key: core.SeedTaintProtected}} }, want: []string{`spec.tolerations[0]: project "dev" does not allow`}},
		"extensions":           {change: func(s *core.Shoot) { s.Spec.Extensions = []core.Extension{{Type: "dns"}, {Type: "dns"}, {}} }, want: []string{"spec.extensions[1].type: Duplicate", "spec.extensions[2].type: Required"}},
		"purpose":              {change: func(s *core.Shoot) { s.Spec.Purpose = new(core.ShootPurposeInfrastructure) }, want: []string{"spec.purpose: Unsupported"}},
		"purpose in garden":    {change: func(s *core.Shoot) { s.Namespace, s.Spec.Purpose = "garden", new(core.ShootPurposeInfrastructure) }},
		"alerting": {change: func(s *core.Shoot) {
			s.Spec.Monitoring = &core.Monitoring{Alerting: &core.Alerting{EmailReceivers: []string{"team"}}}
		}, want: []string{"spec.monitoring.alerting.emailReceivers[0]: must be an address"}},
		"high availability": {change: func(s *core.Shoot) {
			s.Spec.ControlPlane = &core.ControlPlane{HighAvailability: &core.HighAvailability{FailureTolerance: core.FailureTolerance{Type: "planet"}}}
		}, want: []string{"spec.controlPlane.highAvailability.failureTolerance.type: Unsupported"}},
		"addons after 1.34": {change: func(s *core.Shoot) {
			s.Spec.Addons = &core.Addons{NginxIngress: &core.NginxIngress{Addon: core.Addon{Enabled: true}}}
		}, want: []string{"spec.addons.nginxIngress.enabled: from Kubernetes 1.35 on"}},
		"system components": {change: func(s *core.Shoot) {
			s.Spec.SystemComponents = &core.SystemComponents{CoreDNS: &core.CoreDNS{Autoscaling: &core.CoreDNSAutoscaling{Mode: "vertical"}, Rewriting: &core.CoreDNSRewriting{CommonSuffixes: []string{".org", ".example.org"}}}}
		}, want: []string{"spec.systemComponents.coreDNS.autoscaling.mode: Unsupported", "spec.systemComponents.coreDNS.rewriting.commonSuffixes[0]: a dot in it"}},
		"zones without pinning": {change: func(s *core.Shoot) { s.Spec.ControlPlane = &core.ControlPlane{Zones: []string{"a"}} }, want: []string{"spec.controlPlane.zones: allowZonePinning"}},

		"both bindings":             {change: func(s *core.Shoot) { s.Spec.SecretBindingName, s.Spec.Kubernetes.Version = new("s"), "1.33.9" }, want: []string{"spec.secretBindingName: only one of"}},
		"secret binding from 1.34":  {change: func(s *core.Shoot) { s.Spec.SecretBindingName, s.Spec.CredentialsBindingName = new("s"), nil }, want: []string{"spec.secretBindingName: from Kubernetes 1.34 on"}},
		"binding not there":         {facts: func(f *shoots.Facts) { f.Binding = nil }, want: []string{"spec.credentialsBindingName: Not found"}},
		"binding of other provider": {facts: func(f *shoots.Facts) { f.Binding.ProviderTypes = []string{"cloud"} }, want: []string{`spec.credentialsBindingName: is for provider "cloud"`}},
		"exposure class not there":  {change: func(s *core.Shoot) { s.Spec.ExposureClassName = new("public") }, want: []string{"spec.exposureClassName: Not found"}},
		"exposure class":            {change: func(s *core.Shoot) { s.Spec.ExposureClassName = new("public") }, facts: func(f *shoots.Facts) { f.ExposureClass = true }},
		"seed not there":            {facts: func(f *shoots.Facts) { f.Seed = nil }, want: []string{"spec.seedName: Not found"}},
		"seed in deletion":          {facts: func(f *shoots.Facts) { f.Seed.DeletionTimestamp = &metav1.Time{Time: now} }, want: []string{"spec.seedName: is being deleted"}},
		"seed protected":            {facts: func(f *shoots.Facts) { f.Seed.Spec.Taints = []core.SeedTaint{{Key: core.SeedTaintProtected}} }, want: []string{"spec.seedName: which spec.tolerations does not tolerate"}},
		"seed of another selector": {change: func(s *core.Shoot) {
			s.Spec.SeedSelector = &core.SeedSelector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"stage": "live"}}}
		}, want: []string{"spec.seedSelector: does not match the labels"}},
		"seed not of the profile": {facts: func(f *shoots.Facts) {
			f.Profile.SeedSelector = &core.SeedSelector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"stage": "live"}}}
		}, want: []string{"spec.seedName: cloud profile's seedSelector"}},
		"zone tolerance of the seed": {change: func(s *core.Shoot) {
			s.Spec.ControlPlane = &core.ControlPlane{HighAvailability: &core.HighAvailability{FailureTolerance: core.FailureTolerance{Type: core.FailureToleranceTypeZone}}}
		}, facts: func(f *shoots.Facts) { f.Seed.Spec.Provider.Zones = []string{"a"} }, want: []string{"spec.controlPlane.highAvailability.failureTolerance.type: takes a seed with 3 zones"}},
		"no seed": {change: func(s *core.Shoot) { s.Spec.SeedName = nil }, facts: func(f *shoots.Facts) { f.Seed = nil }},

		"lifetime extended": {change: func(s *core.Shoot) {
			s.Annotations = map[string]string{"shoot.gardener.cloud/expiration-timestamp": "2026-12-03T12:00:00Z"}
		}, facts: lifetime},
		"lifetime too long": {change: func(s *core.Shoot) {
			s.Annotations = map[string]string{"shoot.gardener.cloud/expiration-timestamp": "2026-12-03T12:00:01Z"}
		}, facts: lifetime, want: []string{"metadata.annotations[shoot.gardener.cloud/expiration-timestamp]: must not be after 2026-12-03T12:00:00Z"}},
		"lifetime that is none": {change: func(s *core.Shoot) {
			s.Annotations = map[string]string{"shoot.gardener.cloud/expiration-timestamp": "soon"}
		}, want: []string{"metadata.annotations[shoot.gardener.cloud/expiration-timestamp]: must be a time"}},
		"quota exceeded":     {facts: shared("cpu", "11"), want: []string{"spec.provider.workers: allows 11 of cpu, of which others have 6: this cluster may take 6"}},
		"quota just enough":  {facts: shared("cpu", "12")},
		"quota of storage":   {facts: shared("storage.premium", "200Gi"), want: []string{"spec.provider.workers: of storage.premium"}},
		"quota of balancers": {facts: shared("loadbalancer", "1"), want: []string{"spec.provider.workers: of loadbalancer"}},
	} {
		t.Run("garden-api: Validation/"+name, func(t *testing.T) {
			s, f := r.apply()
			r.check(t, s, nil, f)
		})
	}
}

func lifetime(f *shoots.Facts) {
	f.Quotas = []quotas.Quota{{Namespace: "garden", Name: "trial", Spec: core.QuotaSpec{ClusterLifetimeDays: new(int32(7))}}}
}

// shared is a quota that another cluster like this one shares.
func shared(metric corev1.ResourceName, limit string) func(*shoots.Facts) {
	return func(f *shoots.Facts) {
		f.Quotas = []quotas.Quota{{
			Namespace: "garden", Name: "team", Spec: core.QuotaSpec{Metrics: corev1.ResourceList{metric: q(limit)}},
			Others: []quotas.Consumer{{Shoot: shoot(), Profile: profile()}, {Shoot: &core.Shoot{}}},
		}}
	}
}

// TestSettings has a row per rule about maintenance, hibernation, networks and
// names in DNS.
func TestSettings(t *testing.T) {
	sleep := func(schedules ...core.HibernationSchedule) func(*core.Shoot) {
		return func(s *core.Shoot) { s.Spec.Hibernation = &core.Hibernation{Schedules: schedules} }
	}
	window := func(begin, end string) func(*core.Shoot) {
		return func(s *core.Shoot) {
			s.Spec.Maintenance.TimeWindow = &core.MaintenanceTimeWindow{Begin: begin, End: end}
		}
	}
	rotate := func(period time.Duration) func(*core.Shoot) {
		return func(s *core.Shoot) {
			s.Spec.Maintenance.AutoRotation = &core.MaintenanceAutoRotation{Credentials: &core.MaintenanceCredentialsAutoRotation{SSHKeypair: &core.MaintenanceRotationConfig{RotationPeriod: span(period)}}}
		}
	}
	network := func(change func(*core.Networking)) func(*core.Shoot) {
		return func(s *core.Shoot) { change(s.Spec.Networking) }
	}
	dns := func(d core.DNS) func(*core.Shoot) { return func(s *core.Shoot) { s.Spec.DNS = &d } }
	const schedule, net = "spec.hibernation.schedules[0]", "spec.networking"
	for name, r := range map[string]row{
		"window too short":         {change: window("220000+0100", "222959+0100"), want: []string{"spec.maintenance.timeWindow: between 30m0s and 6h0m0s long"}},
		"window of half an hour":   {change: window("220000+0100", "223000+0100")},
		"window over midnight":     {change: window("230000+0100", "050000+0100")},
		"window too long":          {change: window("230000+0100", "050001+0100"), want: []string{"spec.maintenance.timeWindow: it is 6h0m1s"}},
		"window without zone":      {change: window("220000", "2300"), want: []string{"spec.maintenance.timeWindow.begin: 220000+0100", "spec.maintenance.timeWindow.end: 220000+0100"}},
		"rotation off":             {change: rotate(0)},
		"rotation too often":       {change: rotate(time.Minute), want: []string{"spec.maintenance.autoRotation.credentials.sshKeypair.rotationPeriod: between 30m0s"}},
		"rotation too seldom":      {change: rotate(91 * 24 * time.Hour), want: []string{"spec.maintenance.autoRotation.credentials.sshKeypair.rotationPeriod: 2160h0m0s"}},
		"sleep":                    {change: sleep(core.HibernationSchedule{Start: new("00 20 * * 1-5"), End: new("0 6 * * *"), Location: new("Europe/Berlin")})},
		"sleep that never comes":   {change: sleep(core.HibernationSchedule{}), want: []string{schedule + ": at least one of start and end"}},
		"sleep without minutes":    {change: sleep(core.HibernationSchedule{Start: new("20 * * *")}), want: []string{schedule + ".start: five fields of cron"}},
		"sleep by name":            {change: sleep(core.HibernationSchedule{Start: new("@daily")}), want: []string{schedule + ".start: five fields of cron"}},
		"sleep with a zone inside": {change: sleep(core.HibernationSchedule{End: new("TZ=0 0 6 * * *")}), want: []string{schedule + ".end: the zone goes into location"}},
		"sleep in no time zone":    {change: sleep(core.HibernationSchedule{End: new("0 6 * * *"), Location: new("Mars/Base")}), want: []string{schedule + ".location: must be a time zone"}},
		"sleep where it is read":   {change: sleep(core.HibernationSchedule{End: new("0 6 * * *"), Location: new("Local")}), want: []string{schedule + ".location: must be a time zone"}},
		"sleep and wake at once":   {change: sleep(core.HibernationSchedule{Start: new("0 6 * * *"), End: new("0 6 * * *")}), want: []string{schedule + ".end: must differ from start"}},
		"hibernation without workers": {change: func(s *core.Shoot) {
			s.Spec.Provider.Workers, s.Spec.Hibernation = nil, &core.Hibernation{Enabled: new(true)}
		}, want: []string{"spec.hibernation: a cluster without workers"}},

		"pods overlap services":     {change: network(func(n *core.Networking) { n.Services = new("100.100.0.0/16") }), want: []string{net + ".services: overlaps spec.networking.pods"}},
		"nodes overlap the seed":    {change: network(func(n *core.Networking) { n.Nodes = new("10.0.0.0/13") }), want: []string{net + ".nodes: 10.3.0.0/16", net + ".nodes: 10.4.0.0/16", net + ".nodes: 10.5.0.0/16"}},
		"services overlap the seed": {change: network(func(n *core.Networking) { n.Services = new("10.4.128.0/17") }), want: []string{net + ".services: overlaps 10.4.0.0/16"}},
		"nodes overlap pods":        {change: network(func(n *core.Networking) { n.Nodes = new("100.100.0.0/16") }), want: []string{net + ".nodes: overlaps spec.networking.pods"}},
		"nodes overlap services":    {change: network(func(n *core.Networking) { n.Nodes = new("100.64.0.0/16") }), want: []string{net + ".nodes: overlaps spec.networking.services"}},
		"range that is none":        {change: network(func(n *core.Networking) { n.Nodes = new("all") }), want: []string{net + ".nodes: must be a network"}},
		"range with a host":         {change: network(func(n *core.Networking) { n.Nodes = new("10.250.0.1/16") }), want: []string{net + ".nodes: 10.250.0.0/16"}},
		"range of another family":   {change: network(func(n *core.Networking) { n.Nodes = new("fd00::/64") }), want: []string{net + ".nodes: is IPv6"}},
		"range that is kept":        {change: network(func(n *core.Networking) { n.Nodes = new("241.1.0.0/16") }), want: []string{net + ".nodes: 241.0.0.0/8"}},
		"families in order":         {change: network(func(n *core.Networking) { n.IPFamilies = []core.IPFamily{core.IPFamilyIPv4, core.IPFamilyIPv6} })},
		"families out of order":     {change: network(func(n *core.Networking) { n.IPFamilies = []core.IPFamily{core.IPFamilyIPv6, core.IPFamilyIPv4} }), want: []string{net + ".ipFamilies: the first must be IPv4"}},
		"families twice":            {change: network(func(n *core.Networking) { n.IPFamilies = []core.IPFamily{core.IPFamilyIPv4, core.IPFamilyIPv4} }), want: []string{net + ".ipFamilies[1]: Duplicate"}},
		"family unknown":            {change: network(func(n *core.Networking) { n.IPFamilies = []core.IPFamily{core.IPFamilyIPv4, "IPX"} }), want: []string{net + ".ipFamilies[1]: Unsupported"}},
		"no network type":           {change: network(func(n *core.Networking) { n.Type = nil }), want: []string{net + ".type: Required"}},
		"pods too few for a node":   {change: network(func(n *core.Networking) { n.Pods = new("10.20.0.0/25") }), want: []string{net + ".pods: each node gets a range of /24"}},
		"pods too few for nodes": {change: func(s *core.Shoot) {
			s.Spec.Networking.Pods = new("10.20.0.0/23")
			worker(s).Minimum, worker(s).Maximum = 3, 3
		}, want: []string{net + ".pods: for 2 nodes"}},
		"addresses for a kubelet": {change: func(s *core.Shoot) { s.Spec.Kubernetes.Kubelet.MaxPods = new(int32(300)) }, want: []string{"spec.kubernetes.kubeControllerManager.nodeCIDRMaskSize: leaves a node 256 addresses"}},
		"mask of another family":  {change: func(s *core.Shoot) { s.Spec.Kubernetes.KubeControllerManager.NodeCIDRMaskSize = new(int32(64)) }, want: []string{"spec.kubernetes.kubeControllerManager.nodeCIDRMaskSize: must be at most 32"}},

		"domain that is none":         {change: dns(core.DNS{Domain: new("-")}), want: []string{"spec.dns.domain: RFC 1123"}},
		"provider without domain":     {change: dns(core.DNS{Providers: []core.DNSProvider{{Type: new("route53")}}}), want: []string{"spec.dns.domain: Required"}},
		"provider without type":       {change: dns(core.DNS{Domain: new("a.org"), Providers: []core.DNSProvider{{}}}), want: []string{"spec.dns.providers[0].type: Required"}},
		"two primary providers":       {change: dns(core.DNS{Domain: new("a.org"), Providers: []core.DNSProvider{{Type: new("a"), Primary: new(true)}, {Type: new("b"), Primary: new(true)}}}), want: []string{"spec.dns.providers[1].primary: only one"}},
		"provider twice":              {change: dns(core.DNS{Domain: new("a.org"), Providers: []core.DNSProvider{{Type: new("a")}, {Type: new("a")}}}), want: []string{"spec.dns.providers[1]: Duplicate"}},
		"unmanaged with credentials":  {change: dns(core.DNS{Providers: []core.DNSProvider{{Type: new("unmanaged"), SecretName: new("s")}}}), want: []string{"spec.dns.providers[0].secretName: has no credentials"}},
		"secret name from 1.35":       {change: dns(core.DNS{Domain: new("a.org"), Providers: []core.DNSProvider{{Type: new("a"), SecretName: new("s")}}}), want: []string{"spec.dns.providers[0].secretName: from Kubernetes 1.35 on"}},
		"credentials of a wrong kind": {change: dns(core.DNS{Domain: new("a.org"), Providers: []core.DNSProvider{{Type: new("a"), CredentialsRef: &autoscalingv1.CrossVersionObjectReference{Kind: "ConfigMap", Name: "c"}}}}), want: []string{"spec.dns.providers[0].credentialsRef.kind: must be Secret or WorkloadIdentity"}},
	} {
		t.Run("garden-api: Validation/"+name, func(t *testing.T) {
			s, f := r.apply()
			r.check(t, s, nil, f)
		})
	}
}
