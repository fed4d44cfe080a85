package garden_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// shown is what the table of a kind has to show between the name and the age of
// its sample, after what is done to the sample here.
type shown struct {
	// spec is added to the content, labels and status are set afterwards.
	spec, labels, status map[string]any
	// columns are titles and cells in their order; wide are those that only
	// "-o wide" shows.
	columns, wide [][2]string
	// numbers are the titles of columns that hold integers.
	numbers []string
}

func condition(kind, status string) map[string]any {
	return map[string]any{
		"type": kind, "status": status, "reason": "r", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z",
	}
}

func conditions(all ...any) map[string]any { return map[string]any{"conditions": all} }

// with adds fields to a status.
func with(status map[string]any, fields map[string]any) map[string]any {
	for name, value := range fields {
		status[name] = value
	}
	return status
}

// wantShown has a row for every kind, by version and kind.
func wantShown() map[string]shown {
	processing := map[string]any{"lastOperation": map[string]any{
		"type": "Create", "state": "Processing", "progress": int64(40), "description": "d", "lastUpdateTime": "2026-01-01T00:00:00Z",
	}}
	ready := conditions(condition("Good", "True"))
	return map[string]shown{
		"v1beta1 Shoot": {
			spec: map[string]any{"seedName": "local"}, labels: map[string]any{"shoot.gardener.cloud/status": "healthy"},
			status: with(conditions(condition("APIServerAvailable", "True"), condition("ControlPlaneHealthy", "Progressing"), condition("EveryNodeReady", "False"), condition("SystemComponentsHealthy", "Unknown")), processing),
			columns: [][2]string{
				{"CloudProfile", "local"}, {"Provider", "local"}, {"Region", "local"}, {"K8S Version", "1.36.3"}, {"Hibernation", "Awake"},
				{"Last Operation", "Create Processing (40%)"}, {"Status", "healthy"},
			},
			wide: [][2]string{{"Purpose", "evaluation"}, {"Seed", "local"}, {"APIServer", "True"}, {"Control", "Progressing"}, {"Nodes", "False"}, {"System", "Unknown"}},
		},
		"v1beta1 Seed": {
			status:  with(conditions(condition("GardenletReady", "True"), condition("ExtensionsReady", "False")), with(map[string]any{"gardener": map[string]any{"id": "i", "name": "n", "version": "v1.150.0"}, "kubernetesVersion": "v1.36.3"}, processing)),
			columns: [][2]string{{"Status", "NotReady"}, {"Last Operation", "Create Processing (40%)"}, {"Provider", "local"}, {"Region", "local"}, {"Version", "v1.150.0"}, {"K8S Version", "v1.36.3"}},
		},
		"v1beta1 Project": {
			spec: map[string]any{"owner": map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ada"}}, status: map[string]any{"phase": "Ready"},
			columns: [][2]string{{"Namespace", ""}, {"Status", "Ready"}, {"Owner", "ada"}}, wide: [][2]string{{"Creator", "*"}},
		},
		"v1beta1 CloudProfile": {
			spec:    map[string]any{"kubernetes": map[string]any{"versions": []any{map[string]any{"version": "1.35.4"}, map[string]any{"version": "1.36.3"}}}},
			columns: [][2]string{{"Type", "local"}}, wide: [][2]string{{"Kubernetes", "1.35.4, 1.36.3"}},
		},
		"v1beta1 NamespacedCloudProfile": {
			status: map[string]any{"cloudProfileSpec": map[string]any{
				"type": "local", "kubernetes": map[string]any{}, "machineImages": []any{}, "machineTypes": []any{}, "regions": []any{},
			}},
			columns: [][2]string{{"Parent", "local"}, {"Type", "local"}},
		},
		"v1beta1 BackupBucket": {status: processing, columns: [][2]string{{"Status", "Create Processing (40%)"}, {"Provider", "local"}, {"Region", "local"}, {"Seed", "local"}}},
		"v1beta1 BackupEntry": {
			spec: map[string]any{"seedName": "local"}, status: processing, columns: [][2]string{{"Status", "Create Processing (40%)"}, {"Bucket", "sample"}, {"Seed", "local"}},
		},
		"v1beta1 ControllerRegistration": {
			spec:    map[string]any{"resources": []any{map[string]any{"kind": "Worker", "type": "a", "primary": false}, map[string]any{"kind": "Network", "type": "b", "primary": false}}},
			columns: [][2]string{{"Resources", "Worker/a, Network/b"}},
		},
		"v1beta1 ControllerDeployment": {columns: [][2]string{{"Type", "custom"}}},
		"v1 ControllerDeployment":      {columns: [][2]string{{"Type", "helm"}}},
		"v1beta1 ControllerInstallation": {
			status:  conditions(condition("Valid", "True"), condition("Installed", "False"), condition("Healthy", "Unknown"), condition("Progressing", "Progressing")),
			columns: [][2]string{{"Registration", "sample"}, {"Seed", "local"}, {"Valid", "True"}, {"Installed", "False"}, {"Healthy", "Unknown"}, {"Progressing", "Progressing"}},
		},
		"v1beta1 ExposureClass":  {columns: [][2]string{{"Handler", "h"}}},
		"v1beta1 Quota":          {spec: map[string]any{"clusterLifetimeDays": int64(7)}, columns: [][2]string{{"Scope", "Project"}, {"Lifetime", "7d"}}},
		"v1beta1 SecretBinding":  {columns: [][2]string{{"Provider", "local"}, {"Secret", "garden-local/sample"}}},
		"v1beta1 InternalSecret": {columns: [][2]string{{"Type", "Opaque"}, {"Data", "1"}}, numbers: []string{"Data"}},
		"v1beta1 ShootState": {
			spec:    map[string]any{"extensions": []any{map[string]any{"kind": "Worker", "name": "w"}}, "resources": []any{}},
			columns: [][2]string{{"Extensions", "1"}, {"Resources", "0"}}, numbers: []string{"Extensions", "Resources"},
		},
		"v1alpha1 ManagedSeed": {status: ready, columns: [][2]string{{"Shoot", "of-*"}, {"Status", "Ready"}}},
		"v1alpha1 ManagedSeedSet": {
			status: map[string]any{"readyReplicas": int64(2), "replicas": int64(3)}, columns: [][2]string{{"Replicas", "1"}, {"Ready", "2"}}, numbers: []string{"Replicas", "Ready"},
		},
		"v1alpha1 Gardenlet": {status: conditions(condition("Good", "Progressing")), columns: [][2]string{{"Status", "Progressing"}}},
		"v1alpha1 Bastion": {
			status:  with(map[string]any{"ingress": map[string]any{"ip": "10.1.2.3"}}, ready),
			columns: [][2]string{{"Shoot", "of-*"}, {"Seed", "local"}, {"Address", "10.1.2.3"}, {"Status", "Ready"}},
		},
		"v1alpha1 CredentialsBinding": {columns: [][2]string{{"Provider", "local"}, {"Credentials", "Secret garden-local/sample"}}},
		"v1alpha1 WorkloadIdentity":   {columns: [][2]string{{"Type", "local"}}, wide: [][2]string{{"Subject", "gardener.cloud:workloadidentity:*"}}},
		"v1alpha1 Machine": {
			spec: map[string]any{"image": "debian"}, status: map[string]any{"state": "Running", "nodeName": "node-1", "addresses": []any{"10.0.0.7", "fd00::7"}},
			columns: [][2]string{{"Shoot", "demo"}, {"Pool", "worker"}, {"Role", "Worker"}, {"State", "Running"}, {"Node", "node-1"}, {"Address", "10.0.0.7"}},
			wide:    [][2]string{{"Provider", "local"}, {"Image", "debian"}},
		},
	}
}

// TestTables wants the table of every kind to have exactly its columns, in their
// order, with what the object says in their cells.
func TestTables(t *testing.T) { tables(t, server{}) }

func tables(t *testing.T, server server) {
	namespace, wanted := server.namespace(t), wantShown()
	for _, s := range server.samples() {
		kind := s.resource.Version + " " + s.kind
		t.Run("garden-api: Served semantics/table/"+kind, func(t *testing.T) {
			want, found := wanted[kind]
			if !found {
				t.Fatal("nobody has said what its table shows")
			}
			ctx, c, name := context.Background(), s.client(t, namespace), "table-"+rand.String(5)
			object := s.object(t, namespace, name)
			for field, value := range want.spec {
				object.Object["spec"].(map[string]any)[field] = value
			}
			if _, err := c.Create(ctx, object, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			if want.labels != nil {
				if _, err := c.Patch(ctx, name, types.MergePatchType, marshal(t, map[string]any{"metadata": map[string]any{"labels": want.labels}}), metav1.PatchOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if want.status != nil {
				if _, err := c.Patch(ctx, name, types.MergePatchType, marshal(t, map[string]any{"status": want.status}), metav1.PatchOptions{}, "status"); err != nil {
					t.Fatal(err)
				}
			}
			wantTable(t, getTable(t, s, namespace, name), name, want)
		})
	}
}

// wantTable compares a table of one object with what it is to show.
func wantTable(t *testing.T, table *metav1.Table, name string, want shown) {
	t.Helper()
	if len(table.Rows) != 1 || len(table.Rows[0].Cells) != len(table.ColumnDefinitions) {
		t.Fatalf("rows do not fit %d columns: %v", len(table.ColumnDefinitions), table.Rows)
	}
	all := slices.Concat([][2]string{{"Name", name}}, want.columns, want.wide, [][2]string{{"Age", "*"}})
	var titles []string
	for i, column := range table.ColumnDefinitions {
		titles = append(titles, column.Name)
		if i >= len(all) || column.Name != all[i][0] {
			continue // told below
		}
		if cell := fmt.Sprint(table.Rows[0].Cells[i]); !matches(cell, all[i][1]) {
			t.Errorf("%s: got %q, want %q", column.Name, cell, all[i][1])
		}
		wide := i > len(want.columns) && i < len(all)-1
		if (column.Priority > 0) != wide {
			t.Errorf("%s: priority %d, want that only a wide table shows it is %v", column.Name, column.Priority, wide)
		}
		kind := "string"
		if slices.Contains(want.numbers, column.Name) {
			kind = "integer"
		}
		if column.Type != kind || column.Description == "" {
			t.Errorf("%s: type %q, description %q, want a description of type %q", column.Name, column.Type, column.Description, kind)
		}
	}
	var wanted []string
	for _, column := range all {
		wanted = append(wanted, column[0])
	}
	if !slices.Equal(titles, wanted) {
		t.Errorf("columns: got %q, want %q", titles, wanted)
	}
}

// matches compares a cell with a text that may end with an asterisk, for what
// only the server knows.
func matches(cell, want string) bool {
	if before, open := strings.CutSuffix(want, "*"); open {
		return strings.HasPrefix(cell, before) && len(cell) > len(before) && cell != "<unknown>"
	}
	return cell == want
}

func getTable(t *testing.T, s sample, namespace, name string) *metav1.Table {
	t.Helper()
	config := s.server.rest(t)
	config.GroupVersion = ptr.To(s.resource.GroupVersion())
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	c, err := rest.RESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	request := c.Get().Resource(s.resource.Resource).Param("fieldSelector", "metadata.name="+name).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	if s.namespaced {
		request = request.Namespace(s.namespace(namespace))
	}
	raw, err := request.Do(context.Background()).Raw()
	if err != nil {
		t.Fatal(err)
	}
	table := &metav1.Table{}
	unmarshal(t, raw, table)
	return table
}

// TestHibernationColumn follows a cluster through a night: what is wanted and
// what is are two things.
func TestHibernationColumn(t *testing.T) {
	namespace := gardentest.Namespace(t)
	shoot := create(t, newShoot(namespace, "asleep"))
	for _, step := range []struct {
		wanted, is bool
		cell       string
	}{{false, false, "Awake"}, {true, false, "Hibernating"}, {true, true, "Hibernated"}, {false, true, "Waking Up"}} {
		patch(t, shoot, fmt.Sprintf(`{"spec":{"hibernation":{"enabled":%v}}}`, step.wanted))
		report(t, shoot, fmt.Sprintf(`{"hibernated":%v}`, step.is))
		table := getTable(t, sampleOf(t, "Shoot"), namespace, shoot.Name)
		i := slices.IndexFunc(table.ColumnDefinitions, func(c metav1.TableColumnDefinition) bool { return c.Name == "Hibernation" })
		if cell := table.Rows[0].Cells[i]; cell != step.cell {
			t.Errorf("wanted %v, is %v: got %v, want %s", step.wanted, step.is, cell, step.cell)
		}
	}
}
