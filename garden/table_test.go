package garden_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/gardentest"
)

func getTable(t *testing.T, s sample, namespace, name string) *metav1.Table {
	t.Helper()
	config := gardentest.Start(t).RESTConfig()
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

func TestShootTable(t *testing.T) {
	namespace := gardentest.Namespace(t)
	shoot := create(t, newShoot(namespace, "columns"))
	shoot.Labels = map[string]string{"shoot.gardener.cloud/status": "healthy"}
	update(t, shoot)
	before := shoot.DeepCopy()
	shoot.Status.LastOperation = &v1beta1.LastOperation{Type: v1beta1.LastOperationTypeCreate, State: v1beta1.LastOperationStateProcessing, Progress: 40, LastUpdateTime: metav1.NewTime(time.Now())}
	if err := gardentest.Client(t).Status().Patch(context.Background(), shoot, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}

	table := getTable(t, samples()[0], namespace, "columns")
	got := map[string]string{}
	for i, column := range table.ColumnDefinitions {
		if column.Priority == 0 {
			got[column.Name] = fmt.Sprint(table.Rows[0].Cells[i])
		}
	}
	delete(got, "Age")
	want := map[string]string{
		"Name": "columns", "CloudProfile": "local", "Provider": "local", "Region": "local", "K8S Version": "1.36.3",
		"Hibernation": "Awake", "Last Operation": "Create Processing (40%)", "Status": "healthy",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
