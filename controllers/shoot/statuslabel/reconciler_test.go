package statuslabel_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/shoot/statuslabel"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// TestLabel wants the label to follow the status, to be in the column of the
// table that kubectl shows, and no write at a second start.
func TestLabel(t *testing.T) {
	c, writes := controllertest.Client(t)
	shoot := controllertest.Shoot(gardentest.Namespace(t), "demo")
	end := controllertest.Run(t, &statuslabel.Reconciler{Client: c})
	controllertest.Create(t, c, shoot)
	labelled := func(want string) {
		t.Helper()
		controllertest.Eventually(t, func() error {
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(shoot), shoot); err != nil {
				return err
			}
			if got := shoot.Labels[v1beta1constants.ShootStatus]; got != want {
				return fmt.Errorf("the label is %q, want %q", got, want)
			}
			return nil
		})
	}
	labelled("healthy")
	controllertest.SetStatus(t, c, shoot, func(s *gardencorev1beta1.ShootStatus) {
		s.LastOperation = controllertest.LastOperation(gardencorev1beta1.LastOperationTypeReconcile, gardencorev1beta1.LastOperationStateFailed, time.Now())
	})
	labelled("unhealthy")
	controllertest.Change(t, c, shoot, func(s *gardencorev1beta1.Shoot) { delete(s.Labels, v1beta1constants.ShootStatus) })
	labelled("unhealthy")

	if got := column(t, shoot.Namespace, "Status"); got != "unhealthy" {
		t.Errorf("the table shows %q", got)
	}
	end()
	writes.Fail(0)
	end = controllertest.Run(t, &statuslabel.Reconciler{Client: c})
	end()
	if n := writes.Count(); n != 0 {
		t.Errorf("%d writes at a start with nothing to do", n)
	}
}

// column is what a table of the Shoots of a namespace has in one column of its
// only row.
func column(t *testing.T, namespace, name string) any {
	t.Helper()
	clients, err := kubernetes.NewForConfig(gardentest.Start(t).RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	body, err := clients.RESTClient().Get().AbsPath("/apis/core.gardener.cloud/v1beta1/namespaces", namespace, "shoots").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(body, &table); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(table.ColumnDefinitions, func(c metav1.TableColumnDefinition) bool { return c.Name == name })
	if i < 0 || len(table.Rows) != 1 {
		t.Fatalf("no column %q or %d rows in %s", name, len(table.Rows), body)
	}
	return table.Rows[0].Cells[i]
}
