package cli

import (
	"io"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/scheme"
)

func referenceTo(s *gardencorev1beta1.Shoot) corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "Shoot", Namespace: s.Namespace, Name: s.Name, UID: s.UID}
}

func shootNamed(name string, change func(*gardencorev1beta1.Shoot)) gardencorev1beta1.Shoot {
	s := gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: name}}
	s.Spec.Kubernetes.Version = "1.36.3"
	s.Spec.SeedName = ptr.To("local")
	s.Status.TechnicalID = "shoot--local--" + name
	s.Status.LastOperation = &gardencorev1beta1.LastOperation{Type: gardencorev1beta1.LastOperationTypeCreate, State: succeeded, Progress: 100, Description: "The cluster is ready."}
	if change != nil {
		change(&s)
	}
	return s
}

func workers(pools ...int32) func(*gardencorev1beta1.Shoot) {
	return func(s *gardencorev1beta1.Shoot) {
		for _, n := range pools {
			s.Spec.Provider.Workers = append(s.Spec.Provider.Workers, gardencorev1beta1.Worker{Minimum: n})
		}
	}
}

func TestPrintShoots(t *testing.T) {
	now := metav1.Now()
	shoots := []gardencorev1beta1.Shoot{
		shootNamed("plain", func(s *gardencorev1beta1.Shoot) {
			workers(2, 3)(s)
			s.Status.Conditions = []gardencorev1beta1.Condition{{Type: "APIServerAvailable", Status: "True"}, {Type: "ControlPlaneHealthy", Status: "Progressing"}}
		}),
		shootNamed("own-pool", func(s *gardencorev1beta1.Shoot) {
			workers(1, 2)(s)
			s.Spec.Provider.Workers[0].ControlPlane = &gardencorev1beta1.WorkerControlPlane{}
		}),
		shootNamed("asleep", func(s *gardencorev1beta1.Shoot) { s.Status.IsHibernated = true }),
		shootNamed("ill", func(s *gardencorev1beta1.Shoot) {
			s.Status.Conditions = []gardencorev1beta1.Condition{{Type: "APIServerAvailable", Status: "True"}, {Type: "EveryNodeReady", Status: "Unknown"}}
		}),
		shootNamed("new", func(s *gardencorev1beta1.Shoot) {
			s.Status, s.Spec.SeedName = gardencorev1beta1.ShootStatus{}, nil
			s.Namespace = "garden-dev"
		}),
		shootNamed("growing", func(s *gardencorev1beta1.Shoot) {
			s.Status.LastOperation = &gardencorev1beta1.LastOperation{Type: "Create", State: processing, Progress: 40, Description: "joining workers\nsecond line"}
		}),
		shootNamed("doomed", func(s *gardencorev1beta1.Shoot) { s.DeletionTimestamp = &now }),
		shootNamed("going", func(s *gardencorev1beta1.Shoot) {
			s.DeletionTimestamp = &now
			s.Status.LastOperation = &gardencorev1beta1.LastOperation{Type: "Delete", State: processing, Progress: 0, Description: "removing machines"}
		}),
	}
	shoots[0].CreationTimestamp = metav1.NewTime(time.Now().Add(-3 * time.Hour))
	for format, want := range map[string]string{
		"": `NAME       PROJECT   VERSION   NODES   STATE                                  AGE
plain      local     1.36.3    6       Ready                                  3h
own-pool   local     1.36.3    3       Ready                                  ?
asleep     local     1.36.3    1       Hibernated                             ?
ill        local     1.36.3    1       Unhealthy: EveryNodeReady is Unknown   ?
new        dev       1.36.3    1       Pending                                ?
growing    local     1.36.3    1       Create Processing (40%)                ?
doomed     local     1.36.3    1       Deleting                               ?
going      local     1.36.3    1       Delete Processing (0%)                 ?
`,
		"wide": `NAME       PROJECT   VERSION   NODES   STATE                                  AGE   SEED    TECHNICAL ID             DESCRIPTION
plain      local     1.36.3    6       Ready                                  3h    local   shoot--local--plain      Create Succeeded (100%): The cluster is ready.
own-pool   local     1.36.3    3       Ready                                  ?     local   shoot--local--own-pool   Create Succeeded (100%): The cluster is ready.
asleep     local     1.36.3    1       Hibernated                             ?     local   shoot--local--asleep     Create Succeeded (100%): The cluster is ready.
ill        local     1.36.3    1       Unhealthy: EveryNodeReady is Unknown   ?     local   shoot--local--ill        Create Succeeded (100%): The cluster is ready.
new        dev       1.36.3    1       Pending                                ?                                      not started yet; does an agent run for its seed?
growing    local     1.36.3    1       Create Processing (40%)                ?     local   shoot--local--growing    Create Processing (40%): joining workers
doomed     local     1.36.3    1       Deleting                               ?     local   shoot--local--doomed     Create Succeeded (100%): The cluster is ready.
going      local     1.36.3    1       Delete Processing (0%)                 ?     local   shoot--local--going      Delete Processing (0%): removing machines
`,
	} {
		t.Run("format "+format, func(t *testing.T) {
			var out strings.Builder
			list := &gardencorev1beta1.ShootList{Items: shoots}
			must(t, show(&out, format, list, func(w io.Writer, wide bool) { printShoots(w, list.Items, wide) }))
			if out.String() != want {
				t.Errorf("got\n%s\nwant\n%s", out.String(), want)
			}
		})
	}
}

func TestGetShootHelpsWithNames(t *testing.T) {
	a, b := shootNamed("a", nil), shootNamed("b", func(s *gardencorev1beta1.Shoot) { s.Namespace = "garden-dev" })
	api := clientfake.NewClientBuilder().WithScheme(scheme.Client()).WithObjects(&a, &b).Build()
	for name, tc := range map[string]struct {
		project, cluster string
		want             string
	}{
		"there":                {"local", "a", ""},
		"in another project":   {"local", "b", `cluster "b" of project "local" does not exist; there are: a`},
		"in an empty project":  {"none", "a", "does not exist, and no other either"},
		"there, of two of one": {"dev", "b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := getShoot(t.Context(), api, &project{name: tc.project}, tc.cluster)
			switch {
			case tc.want == "":
				if err != nil || got.Name != tc.cluster {
					t.Errorf("got %v, %v", got, err)
				}
			case fault.KindOf(err) != fault.Missing || !strings.Contains(err.Error(), tc.want):
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestClusterKubeconfig(t *testing.T) {
	with, without := shootNamed("with", nil), shootNamed("without", nil)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: "with.kubeconfig"}, Data: map[string][]byte{"kubeconfig": []byte("text")}}
	api := clientfake.NewClientBuilder().WithScheme(scheme.Client()).WithObjects(&with, &without, secret).Build()
	for cluster, want := range map[string]fault.Kind{"with": "", "without": fault.Waiting, "none": fault.Missing} {
		text, err := clusterKubeconfig(t.Context(), api, &project{name: "local"}, cluster)
		if fault.KindOf(err) != want || (err == nil) != (string(text) == "text") {
			t.Errorf("of cluster %q: %q, %v, want %q", cluster, text, err, want)
		}
	}
}
