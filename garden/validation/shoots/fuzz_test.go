package shoots_test

import (
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"github.com/loam-cloud/loam/garden/defaulting"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/garden/validation/shoots"
)

// words are values that rules look at, right and wrong.
func words() []string {
	return []string{
		"", "a", "pool", "linux", "small", "arm", "ssd", "north", "n1", "metal", "local", "control-plane", "1", "1.36", "1.36.3", "1.35.4", "v1.36.3", "1312.3.0", "99999999999999999999.0.0",
		"10.0.0.0/8", "10.250.0.0/16", "fd00::/48", "::ffff:10.0.0.0/104", "0.0.0.0/0", "5%", "101%", "-1%", "50Gi", "-1", "1e400", "NodeSwap", "PodNodeSelector", "Secret", "ConfigMap", "WorkloadIdentity",
		"0 6 * * *", "TZ=0 1 * * * *", "* * * * * *", "*/0 * * * *", "Europe/Berlin", "../etc/passwd", "220000+0100", "999999+9900", "aescbc", "IPv4", "IPv6", "AutoInPlaceUpdate", "ManualInPlaceUpdate",
		"random,random", "zone", "node", "rotate-ca-start;rotate-ca-complete", "rollout-workers=", "2026-12-03T12:00:00Z", "a.b", "A_", "\x00", "é",
	}
}

// filler makes random values from a fuzzer's bytes.
func filler(data []byte) *randfill.Filler {
	all := words()
	return randfill.NewFromGoFuzz(data).NilChance(0.4).NumElements(0, 3).MaxDepth(14).Funcs(
		func(s *string, c randfill.Continue) { *s = all[c.Intn(len(all))] },
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewQuantity(c.Int63()-1<<62, resource.BinarySI)
		},
		func(t *metav1.Time, c randfill.Continue) { *t = metav1.Unix(c.Int63n(1<<32), 0) },
		func(d *metav1.Duration, c randfill.Continue) { d.Duration = time.Duration(c.Int63()) - 1<<62 },
		func(r *runtime.RawExtension, c randfill.Continue) { r.Raw = []byte(`{"a":1}`) },
		func(i *intstr.IntOrString, c randfill.Continue) {
			*i = intstr.FromString(all[c.Intn(len(all))])
			if c.Bool() {
				*i = intstr.FromInt32(int32(c.Intn(7) - 2))
			}
		},
		func(i *int32, c randfill.Continue) {
			*i = []int32{-1 << 31, -1, 0, 1, 2, 24, 64, 110, 255, 1<<31 - 1}[c.Intn(10)]
		},
	)
}

// FuzzValidate fills in, checks, warns about and compares random Shoots. Nothing
// may panic; what is right must survive being stored.
func FuzzValidate(f *testing.F) {
	f.Add([]byte{}, byte(0))
	for i := range byte(12) {
		seed := make([]byte, 512)
		for j := range seed {
			seed[j] = byte(j)*31 ^ i*97
		}
		f.Add(seed, i)
	}
	types := scheme.Server()
	codec := serializer.NewCodecFactory(types).LegacyCodec(v1beta1.SchemeGroupVersion)
	f.Fuzz(func(t *testing.T, data []byte, part byte) {
		fill := filler(data)
		s, old, known := shoot(), shoot(), facts()
		switch part % 8 {
		case 0:
			fill.Fill(&s.Spec)
		case 1:
			fill.Fill(&s.Spec.Kubernetes)
		case 2:
			fill.Fill(&s.Spec.Provider.Workers)
		case 3:
			fill.Fill(&s.Spec.Networking)
			fill.Fill(&s.Spec.DNS)
		case 4:
			fill.Fill(&s.Spec.Maintenance)
			fill.Fill(&s.Spec.Hibernation)
			fill.Fill(&s.Annotations)
		case 5:
			fill.Fill(&s.Spec.Provider.Workers[0])
			fill.Fill(&known.Profile)
		case 6:
			fill.Fill(&s.Status)
			fill.Fill(&s.Annotations)
		case 7:
			fill.Fill(&old.Spec)
			fill.Fill(&known)
		}
		fresh := s.DeepCopy()
		defaulting.Canonicalize(fresh)
		defaulting.Create(fresh, defaulting.Facts{Profile: known.Profile, Seed: known.Seed, Project: known.Project, Now: now})
		defaulting.SyncDNS(fresh, nil)
		defaulting.Label(fresh)
		problems := shoots.Validate(fresh, nil, known)
		_ = shoots.Warnings(fresh, known)

		changed := s.DeepCopy()
		defaulting.Canonicalize(changed)
		defaulting.Update(changed, old, defaulting.Facts{Profile: known.Profile, Now: now})
		defaulting.SyncDNS(changed, old)
		defaulting.Label(changed)
		_ = shoots.Validate(changed, old, known)
		if len(problems) > 0 || len(fresh.Annotations) > 0 {
			return
		}
		stored, err := runtime.Encode(codec, fresh)
		if err != nil {
			t.Fatalf("accepted and cannot be stored: %v", err)
		}
		read, err := runtime.Decode(codec, stored)
		if err != nil {
			t.Fatalf("accepted and cannot be read back: %v", err)
		}
		again, err := runtime.Encode(codec, read)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := runtime.Decode(codec, again)
		if err != nil || !apiequality.Semantic.DeepEqual(read.(*core.Shoot).Spec, twice.(*core.Shoot).Spec) {
			t.Fatalf("a second reading differs: %v", err)
		}
	})
}
