package wanted_test

import (
	"slices"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/wanted"
)

// offers makes a registration for each "Kind/Type", named like it.
func offers(names ...string) []gardencorev1beta1.ControllerRegistration {
	var all []gardencorev1beta1.ControllerRegistration
	for _, name := range names {
		kind, kindType, _ := strings.Cut(name, "/")
		all = append(all, gardencorev1beta1.ControllerRegistration{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       gardencorev1beta1.ControllerRegistrationSpec{Resources: []gardencorev1beta1.ControllerResource{{Kind: kind, Type: kindType}}},
		})
	}
	return all
}

// everything is offered that a test may want.
func everything() []gardencorev1beta1.ControllerRegistration {
	var names []string
	for _, kindType := range []string{"seed", "shoot", "backup", "bucket", "entry", "dns", "internal", "default", "own", "unmanaged", "os", "runtime", "net", "ext", "exposed"} {
		for _, kind := range []string{
			"BackupBucket", "BackupEntry", "ContainerRuntime", "ControlPlane", "DNSRecord", "Extension", "Infrastructure", "Network",
			"OperatingSystemConfig", "SelfHostedShootExposure", "Worker",
		} {
			names = append(names, kind+"/"+kindType)
		}
	}
	return offers(names...)
}

func seed() *gardencorev1beta1.Seed {
	return &gardencorev1beta1.Seed{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: gardencorev1beta1.SeedSpec{
		Provider: gardencorev1beta1.SeedProvider{Type: "seed"}, Backup: &gardencorev1beta1.Backup{Provider: "backup"},
	}}
}

func workerless() *gardencorev1beta1.Shoot {
	return &gardencorev1beta1.Shoot{Spec: gardencorev1beta1.ShootSpec{
		Provider:   gardencorev1beta1.Provider{Type: "shoot"},
		Networking: &gardencorev1beta1.Networking{Type: ptr.To("net")},
	}}
}

func worker() gardencorev1beta1.Worker {
	return gardencorev1beta1.Worker{
		Machine: gardencorev1beta1.Machine{Image: &gardencorev1beta1.ShootMachineImage{Name: "os"}},
		CRI:     &gardencorev1beta1.CRI{ContainerRuntimes: []gardencorev1beta1.ContainerRuntime{{Type: "runtime"}}},
	}
}

func hosted() *gardencorev1beta1.Shoot {
	shoot := workerless()
	shoot.Spec.Provider.Workers = []gardencorev1beta1.Worker{worker()}
	return shoot
}

func selfHosted() *gardencorev1beta1.Shoot {
	shoot := hosted()
	shoot.Spec.Provider.Workers[0].ControlPlane = &gardencorev1beta1.WorkerControlPlane{}
	return shoot
}

func domains() wanted.Domains {
	return wanted.Domains{
		Internal: &wanted.Domain{Name: "internal.example.org", Provider: "internal"},
		Defaults: []wanted.Domain{{Name: "default.example.org", Provider: "default"}},
	}
}

const (
	ofSeed     = "ControlPlane/seed Infrastructure/seed Worker/seed"
	ofPlane    = "BackupBucket/backup BackupEntry/backup ControlPlane/seed"
	ofProvider = "ControlPlane/shoot Infrastructure/shoot Network/net OperatingSystemConfig/os ContainerRuntime/runtime Worker/shoot"
	internal   = "DNSRecord/internal"
)

// TestSeedWants has everything that a Seed may need.
func TestSeedWants(t *testing.T) {
	with := func(change func(*gardencorev1beta1.Shoot), shoot *gardencorev1beta1.Shoot) []*gardencorev1beta1.Shoot {
		change(shoot)
		return []*gardencorev1beta1.Shoot{shoot}
	}
	primary := func(kindType string) gardencorev1beta1.DNSProvider {
		return gardencorev1beta1.DNSProvider{Type: &kindType, Primary: ptr.To(true)}
	}
	for name, test := range map[string]struct {
		change  func(*gardencorev1beta1.Seed)
		shoots  []*gardencorev1beta1.Shoot
		backups wanted.Backups
		want    string
	}{
		"itself":      {nil, nil, wanted.Backups{}, ofSeed},
		"in deletion": {func(s *gardencorev1beta1.Seed) { s.DeletionTimestamp = &metav1.Time{} }, nil, wanted.Backups{}, ""},
		"DNS provider": {func(s *gardencorev1beta1.Seed) { s.Spec.DNS.Provider = &gardencorev1beta1.SeedDNSProvider{Type: "dns"} }, nil, wanted.Backups{},
			ofSeed + " DNSRecord/dns"},
		"extension": {func(s *gardencorev1beta1.Seed) { s.Spec.Extensions = []gardencorev1beta1.Extension{{Type: "ext"}} }, nil, wanted.Backups{},
			ofSeed + " Extension/ext"},
		"buckets and entries": {nil, nil, wanted.Backups{
			Buckets:    []gardencorev1beta1.BackupBucket{{Spec: gardencorev1beta1.BackupBucketSpec{Provider: gardencorev1beta1.BackupBucketProvider{Type: "bucket"}}}},
			EntryTypes: []string{"entry"},
		}, ofSeed + " BackupBucket/bucket BackupEntry/entry"},
		"buckets of one in deletion": {func(s *gardencorev1beta1.Seed) { s.DeletionTimestamp = &metav1.Time{} }, nil, wanted.Backups{EntryTypes: []string{"entry"}}, "BackupEntry/entry"},
		"shoot":                      {nil, with(func(*gardencorev1beta1.Shoot) {}, hosted()), wanted.Backups{}, ofSeed + " " + ofPlane + " " + internal + " " + ofProvider},
		"workerless shoot":           {nil, with(func(*gardencorev1beta1.Shoot) {}, workerless()), wanted.Backups{}, ofSeed + " " + ofPlane + " " + internal},
		"shoot on a seed in deletion": {func(s *gardencorev1beta1.Seed) { s.DeletionTimestamp = &metav1.Time{} }, with(func(*gardencorev1beta1.Shoot) {}, workerless()), wanted.Backups{},
			ofPlane + " " + internal},
		"shoot without backups": {func(s *gardencorev1beta1.Seed) { s.Spec.Backup = nil }, with(func(*gardencorev1beta1.Shoot) {}, workerless()), wanted.Backups{},
			ofSeed + " " + internal},
		"exposure": {nil, with(func(s *gardencorev1beta1.Shoot) {
			s.Spec.Provider.Workers[0].ControlPlane.Exposure = &gardencorev1beta1.Exposure{Extension: &gardencorev1beta1.ExtensionExposure{Type: ptr.To("exposed")}}
		}, selfHosted()), wanted.Backups{}, ofSeed + " " + ofPlane + " " + internal + " " + ofProvider + " SelfHostedShootExposure/exposed"},
		"exposure of the provider": {nil, with(func(s *gardencorev1beta1.Shoot) {
			s.Spec.Provider.Workers[0].ControlPlane.Exposure = &gardencorev1beta1.Exposure{Extension: &gardencorev1beta1.ExtensionExposure{}}
		}, selfHosted()), wanted.Backups{}, ofSeed + " " + ofPlane + " " + internal + " " + ofProvider + " SelfHostedShootExposure/shoot"},
		"primary DNS provider": {nil, with(func(s *gardencorev1beta1.Shoot) {
			s.Spec.DNS = &gardencorev1beta1.DNS{Domain: ptr.To("x.default.example.org"), Providers: []gardencorev1beta1.DNSProvider{primary("own"), {Type: ptr.To("dns")}}}
		}, workerless()), wanted.Backups{}, ofSeed + " " + ofPlane + " " + internal + " DNSRecord/own"},
		"unmanaged DNS": {nil, with(func(s *gardencorev1beta1.Shoot) {
			s.Spec.DNS = &gardencorev1beta1.DNS{Providers: []gardencorev1beta1.DNSProvider{primary("unmanaged")}}
		}, workerless()), wanted.Backups{}, ofSeed + " " + ofPlane + " " + internal},
		"default domain": {nil, with(func(s *gardencorev1beta1.Shoot) {
			s.Spec.DNS = &gardencorev1beta1.DNS{Domain: ptr.To("x.default.example.org")}
		}, workerless()), wanted.Backups{}, ofSeed + " " + ofPlane + " " + internal + " DNSRecord/default"},
		"domain of nobody": {nil, with(func(s *gardencorev1beta1.Shoot) {
			s.Spec.DNS = &gardencorev1beta1.DNS{Domain: ptr.To("notdefault.example.org")}
		}, workerless()), wanted.Backups{}, ofSeed + " " + ofPlane + " " + internal},
	} {
		t.Run(name, func(t *testing.T) {
			s := seed()
			if test.change != nil {
				test.change(s)
			}
			got := wanted.ForSeed(wanted.SeedFacts{Seed: s, Shoots: test.shoots, Backups: test.backups, Domains: domains(), Registrations: everything()})
			wantNames(t, got, test.want)
		})
	}
}

func wantNames(t *testing.T, got wanted.Choice, want string) {
	t.Helper()
	if wanted := sets.New(strings.Fields(want)...); !got.Registrations.Equal(wanted) {
		t.Errorf("got %v, want %v", sets.List(got.Registrations), sets.List(wanted))
	}
	if len(got.Missing) > 0 || len(got.Problems) > 0 {
		t.Errorf("missing are %v, problems are %v", got.Missing, got.Problems)
	}
}

// TestAutoEnable has extensions that come by themselves, and those that are
// refused.
func TestAutoEnable(t *testing.T) {
	resource := func(auto gardencorev1beta1.ClusterType, workerless bool) gardencorev1beta1.ControllerResource {
		return gardencorev1beta1.ControllerResource{Kind: "Extension", Type: "auto", AutoEnable: []gardencorev1beta1.ClusterType{auto}, WorkerlessSupported: &workerless}
	}
	refused := []gardencorev1beta1.Extension{{Type: "auto", Disabled: ptr.To(true)}}
	asked := []gardencorev1beta1.Extension{{Type: "auto"}}
	for name, test := range map[string]struct {
		resource gardencorev1beta1.ControllerResource
		shoot    *gardencorev1beta1.Shoot
		ofShoot  []gardencorev1beta1.Extension
		ofSeed   []gardencorev1beta1.Extension
		want     bool
	}{
		"for seeds":                           {resource("seed", false), nil, nil, nil, true},
		"for seeds, refused":                  {resource("seed", false), nil, nil, refused, false},
		"for shoots, without any":             {resource("shoot", false), nil, nil, nil, false},
		"for shoots":                          {resource("shoot", false), hosted(), nil, nil, true},
		"for shoots, refused":                 {resource("shoot", false), hosted(), refused, nil, false},
		"for shoots, refused by the seed":     {resource("shoot", false), hosted(), nil, refused, true},
		"for shoots, without workers":         {resource("shoot", false), workerless(), nil, nil, false},
		"for shoots, without workers as well": {resource("shoot", true), workerless(), nil, nil, true},
		"asked for without workers":           {resource("seed", false), workerless(), asked, refused, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := seed()
			s.Spec.Extensions = test.ofSeed
			facts := wanted.SeedFacts{Seed: s, Domains: domains(), Registrations: []gardencorev1beta1.ControllerRegistration{{
				ObjectMeta: metav1.ObjectMeta{Name: "auto"}, Spec: gardencorev1beta1.ControllerRegistrationSpec{Resources: []gardencorev1beta1.ControllerResource{test.resource}},
			}}}
			if test.shoot != nil {
				test.shoot.Spec.Extensions = test.ofShoot
				facts.Shoots = append(facts.Shoots, test.shoot)
			}
			if got := wanted.ForSeed(facts).Registrations.Has("auto"); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// TestShootWants has everything that a Shoot may need that looks after itself.
func TestShootWants(t *testing.T) {
	for name, test := range map[string]struct {
		shoot  *gardencorev1beta1.Shoot
		change func(*gardencorev1beta1.Shoot)
		want   string
	}{
		"itself":      {selfHosted(), nil, ofProvider + " " + internal + " BackupEntry/entry"},
		"hosted":      {hosted(), nil, ""},
		"workerless":  {workerless(), nil, ""},
		"in deletion": {selfHosted(), func(s *gardencorev1beta1.Shoot) { s.DeletionTimestamp = &metav1.Time{} }, ""},
		"backup": {selfHosted(), func(s *gardencorev1beta1.Shoot) {
			s.Spec.Provider.Workers[0].ControlPlane.Backup = &gardencorev1beta1.Backup{Provider: "bucket"}
		}, ofProvider + " " + internal + " BackupEntry/entry BackupBucket/bucket BackupEntry/bucket"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.change != nil {
				test.change(test.shoot)
			}
			wantNames(t, wanted.ForShoot(wanted.ShootFacts{
				Shoot: test.shoot, Domains: domains(), Registrations: everything(), Backups: wanted.Backups{EntryTypes: []string{"entry"}},
			}), test.want)
		})
	}
}

// TestMissing wants one unknown type to keep nothing else from being installed.
func TestMissing(t *testing.T) {
	got := wanted.ForSeed(wanted.SeedFacts{
		Seed: seed(), Shoots: []*gardencorev1beta1.Shoot{workerless()}, Domains: domains(),
		Registrations: offers("ControlPlane/seed", "Worker/seed", "BackupBucket/backup", "DNSRecord/internal"),
	})
	if want := sets.New("ControlPlane/seed", "Worker/seed", "BackupBucket/backup", "DNSRecord/internal"); !got.Registrations.Equal(want) {
		t.Errorf("got %v, want %v", sets.List(got.Registrations), sets.List(want))
	}
	var missing []string
	for _, e := range got.Missing {
		missing = append(missing, e.String())
	}
	if !slices.Equal(missing, []string{"BackupEntry/backup", "Infrastructure/seed"}) {
		t.Errorf("missing are %v", missing)
	}
	// A garden that does without extensions lacks none.
	if got := wanted.ForSeed(wanted.SeedFacts{Seed: seed(), Shoots: []*gardencorev1beta1.Shoot{workerless()}}); len(got.Missing)+len(got.Problems) > 0 {
		t.Errorf("got %+v", got)
	}
}

// TestWithoutInternalDomain wants its absence to be told where clusters need it.
func TestWithoutInternalDomain(t *testing.T) {
	facts := wanted.SeedFacts{Seed: seed(), Registrations: everything()}
	if got := wanted.ForSeed(facts); len(got.Problems) > 0 {
		t.Errorf("without clusters: %v", got.Problems)
	}
	facts.Shoots = []*gardencorev1beta1.Shoot{workerless()}
	got := wanted.ForSeed(facts)
	if len(got.Problems) != 1 || !strings.Contains(got.Problems[0], "internal domain") || !got.Registrations.Has("ControlPlane/seed") {
		t.Errorf("got %v, %v", got.Problems, sets.List(got.Registrations))
	}
}
