package state_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/state"
)

// fixed answers lists with what it holds.
type fixed struct {
	client.Reader
	shoots   []gardencorev1beta1.Shoot
	seeds    []gardencorev1beta1.Seed
	projects []gardencorev1beta1.Project
	err      error
}

func (f fixed) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch l := list.(type) {
	case *gardencorev1beta1.ShootList:
		l.Items = f.shoots
	case *gardencorev1beta1.SeedList:
		l.Items = f.seeds
	case *gardencorev1beta1.ProjectList:
		l.Items = f.projects
	}
	return f.err
}

func shoot(status string) gardencorev1beta1.Shoot {
	return gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"shoot.gardener.cloud/status": status}}}
}

func TestCollector(t *testing.T) {
	ready := gardencorev1beta1.Condition{Type: gardencorev1beta1.GardenletReady, Status: gardencorev1beta1.ConditionTrue}
	lost := gardencorev1beta1.Condition{Type: gardencorev1beta1.GardenletReady, Status: gardencorev1beta1.ConditionUnknown}
	seed := func(conditions ...gardencorev1beta1.Condition) gardencorev1beta1.Seed {
		return gardencorev1beta1.Seed{Status: gardencorev1beta1.SeedStatus{Conditions: conditions}}
	}
	c := state.NewCollector(fixed{
		shoots: []gardencorev1beta1.Shoot{shoot("healthy"), shoot("healthy"), shoot("unhealthy"), shoot("")},
		seeds:  []gardencorev1beta1.Seed{seed(ready), seed(lost), seed(lost), seed()},
		projects: []gardencorev1beta1.Project{
			{Status: gardencorev1beta1.ProjectStatus{Phase: gardencorev1beta1.ProjectReady}},
			{Status: gardencorev1beta1.ProjectStatus{Phase: gardencorev1beta1.ProjectReady, StaleSinceTimestamp: ptr.To(metav1.Now())}},
			{},
		},
	})
	want := `# HELP loam_projects Projects by phase.
# TYPE loam_projects gauge
loam_projects{phase="Ready"} 2
loam_projects{phase="unknown"} 1
# HELP loam_projects_stale Projects that nobody has used for longer than allowed.
# TYPE loam_projects_stale gauge
loam_projects_stale 1
# HELP loam_seed_conditions Seeds by condition and its status.
# TYPE loam_seed_conditions gauge
loam_seed_conditions{condition="GardenletReady",status="True"} 1
loam_seed_conditions{condition="GardenletReady",status="Unknown"} 2
# HELP loam_shoots Clusters by the status label that their conditions and last operation give.
# TYPE loam_shoots gauge
loam_shoots{status="healthy"} 2
loam_shoots{status="unhealthy"} 1
loam_shoots{status="unknown"} 1
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// TestCollectorLeavesOutWhatItCannotRead wants neither an empty fleet where a
// cache is not there, nor a scrape without all other metrics.
func TestCollectorLeavesOutWhatItCannotRead(t *testing.T) {
	lost := fixed{err: errors.New("the cache is not filled yet")}
	if count, err := testutil.GatherAndCount(registry(t, lost)); err != nil || count != 0 {
		t.Errorf("%d metrics and %v, want none of either", count, err)
	}
}

func registry(t *testing.T, reader client.Reader) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(state.NewCollector(reader)); err != nil {
		t.Fatal(err)
	}
	return r
}
