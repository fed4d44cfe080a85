package backups_test

import (
	"testing"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/validation/backups"
)

// TestEntryMoves lets an entry follow its cluster to another seed and bucket,
// but not to another cluster.
func TestEntryMoves(t *testing.T) {
	entry := func(bucket string, seed *string, shoot *corev1.ObjectReference) *core.BackupEntry {
		return &core.BackupEntry{Spec: core.BackupEntrySpec{BucketName: bucket, SeedName: seed, ShootRef: shoot}}
	}
	shoot := func(name string) *corev1.ObjectReference { return &corev1.ObjectReference{Namespace: "n", Name: name} }
	for name, test := range map[string]struct {
		entry, old *core.BackupEntry
		want       string
	}{
		"to another seed":        {entry("b", ptr.To("two"), nil), entry("a", ptr.To("one"), nil), ""},
		"to no seed":             {entry("a", nil, nil), entry("a", ptr.To("one"), nil), ""},
		"to a seed with no name": {entry("a", ptr.To(""), nil), nil, "spec.seedName"},
		"to another cluster":     {entry("a", nil, shoot("y")), entry("a", nil, shoot("x")), "spec.shootRef"},
		"to no cluster":          {entry("a", nil, nil), entry("a", nil, shoot("x")), "spec.shootRef"},
	} {
		errs := backups.ValidateEntry(test.entry, test.old)
		if test.want == "" && len(errs) > 0 || test.want != "" && (len(errs) != 1 || errs[0].Field != test.want) {
			t.Errorf("%s: got %v, want %q", name, errs, test.want)
		}
	}
}
