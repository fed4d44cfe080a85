package resourcequota

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestDecide reads limits and annotations before and after.
func TestDecide(t *testing.T) {
	const secrets, configMaps = "quota.gardener.cloud/secrets-per-shoot", "quota.gardener.cloud/configmaps-per-shoot"
	type limits map[corev1.ResourceName]int64
	type notes map[string]string
	for _, test := range []struct {
		name      string
		have      limits
		noted     notes
		exist     int64
		want      limits
		wantNoted notes
	}{
		{"nothing set", limits{}, nil, 5, limits{}, notes{}},
		{"only Shoots set", limits{shootLimit: 5}, nil, 0, limits{shootLimit: 5}, notes{}},
		{"too low for the allowed Shoots", limits{shootLimit: 10, "count/secrets": 15, "count/configmaps": 5}, nil, 3,
			limits{shootLimit: 10, "count/secrets": 40, "count/configmaps": 20}, notes{secrets: "4", configMaps: "2"}},
		{"too low for the Shoots there are", limits{"count/secrets": 10}, nil, 3, limits{"count/secrets": 12}, notes{secrets: "4"}},
		{"high enough", limits{shootLimit: 10, "count/secrets": 40, "count/configmaps": 21}, nil, 0,
			limits{shootLimit: 10, "count/secrets": 40, "count/configmaps": 21}, notes{secrets: "4", configMaps: "2"}},
		{"raised before for fewer", limits{shootLimit: 10, "count/secrets": 7, "count/configmaps": 100}, notes{secrets: "3", configMaps: "1"}, 0,
			limits{shootLimit: 10, "count/secrets": 17, "count/configmaps": 110}, notes{secrets: "4", configMaps: "2"}},
		{"raised before for as many", limits{shootLimit: 10, "count/secrets": 7}, notes{secrets: "4"}, 0, limits{shootLimit: 10, "count/secrets": 7}, notes{secrets: "4"}},
		{"raised before for more", limits{shootLimit: 10, "count/secrets": 70}, notes{secrets: "9"}, 0, limits{shootLimit: 10, "count/secrets": 70}, notes{secrets: "4"}},
		{"an annotation that is no number", limits{shootLimit: 10, "count/secrets": 7}, notes{secrets: "many"}, 0, limits{shootLimit: 10, "count/secrets": 40}, notes{secrets: "4"}},
		{"by the short name", limits{shootLimit: 10, "secrets": 7}, nil, 0, limits{shootLimit: 10, "secrets": 40}, notes{secrets: "4"}},
		{"others stay", limits{shootLimit: 10, "count/pods": 7}, notes{"x": "y"}, 0, limits{shootLimit: 10, "count/pods": 7}, notes{"x": "y"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			quota := &corev1.ResourceQuota{}
			quota.Annotations = test.noted
			quota.Spec.Hard = corev1.ResourceList{}
			for name, limit := range test.have {
				quota.Spec.Hard[name] = *resource.NewQuantity(limit, resource.DecimalSI)
			}
			decide(quota, test.exist)
			got := limits{}
			for name, limit := range quota.Spec.Hard {
				got[name] = limit.Value()
			}
			if a, b := fmt.Sprint(got, notes(quota.Annotations)), fmt.Sprint(test.want, test.wantNoted); a != b {
				t.Errorf("got %s, want %s", a, b)
			}
		})
	}
}

// TestNeeds is the table as users may read it elsewhere.
func TestNeeds(t *testing.T) {
	if got := fmt.Sprint(needs()); got != "[{[count/secrets secrets] quota.gardener.cloud/secrets-per-shoot 4} {[count/configmaps configmaps] quota.gardener.cloud/configmaps-per-shoot 2}]" {
		t.Error(got)
	}
}
