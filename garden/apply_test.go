package garden_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// TestServerSideApply wants a repeated apply to write nothing, for every kind,
// and another manager's apply of an owned field to conflict.
func TestServerSideApply(t *testing.T) {
	namespace := gardentest.Namespace(t)
	for _, s := range samples() {
		t.Run(s.resource.Version+" "+s.kind, func(t *testing.T) {
			t.Parallel() // each waits for a second
			ctx, c, name := context.Background(), s.client(t, namespace), "apply-"+rand.String(5)
			apply := func(manager string) (string, error) {
				object := s.object(t, namespace, name)
				applied, err := c.Apply(ctx, name, object, metav1.ApplyOptions{FieldManager: manager})
				if err != nil {
					return "", err
				}
				return applied.GetResourceVersion(), nil
			}
			first, err := apply("one")
			if err != nil {
				t.Fatal(err)
			}
			// Managed fields have timestamps of a second.
			time.Sleep(time.Second)
			if again, err := apply("one"); err != nil || again != first {
				t.Errorf("a repeated apply wrote: %s, then %s, %v", first, again, err)
			}
		})
	}
	shoot := sampleOf(t, "Shoot").object(t, namespace, "conflict")
	c := sampleOf(t, "Shoot").client(t, namespace)
	if _, err := c.Apply(context.Background(), "conflict", shoot, metav1.ApplyOptions{FieldManager: "one"}); err != nil {
		t.Fatal(err)
	}
	worker := shoot.Object["spec"].(map[string]any)["provider"].(map[string]any)["workers"].([]any)[0].(map[string]any)
	worker["maximum"] = int64(7)
	if _, err := c.Apply(context.Background(), "conflict", shoot, metav1.ApplyOptions{FieldManager: "two"}); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `[name="worker"].maximum`) {
		t.Errorf("another's maximum: got %v, want a conflict by the worker's name", err)
	}
}

func TestUnknownFieldsAreRefused(t *testing.T) {
	object := sampleOf(t, "Shoot").object(t, gardentest.Namespace(t), "unknown")
	object.Object["spec"].(map[string]any)["purpos"] = "testing"
	_, err := sampleOf(t, "Shoot").client(t, object.GetNamespace()).Create(context.Background(), object, metav1.CreateOptions{FieldValidation: "Strict"})
	if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), `unknown field "spec.purpos"`) {
		t.Errorf("got %v", err)
	}
}

func get(tb testing.TB, path string, header http.Header) ([]byte, http.Header) {
	tb.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", gardentest.Start(tb).KubeconfigPath())
	if err != nil {
		tb.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		tb.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodGet, config.Host+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if header != nil {
		request.Header = header
	}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		tb.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		tb.Fatalf("%s: %d %.200s %v", path, answer.StatusCode, body, err)
	}
	return body, answer.Header
}

// TestExplain wants a description of everything that "kubectl explain" would
// show on the first level of every kind, of its spec and of its status, and for
// each definition the kind that it belongs to.
func TestExplain(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.resource.Version+" "+s.kind, func(t *testing.T) {
			body, _ := get(t, "/openapi/v3/apis/"+s.resource.Group+"/"+s.resource.Version, nil)
			var document struct {
				Components struct {
					Schemas map[string]struct {
						Description string
						Properties  map[string]struct{ Description string }
						Kinds       []schema.GroupVersionKind `json:"x-kubernetes-group-version-kind"`
					}
				}
			}
			unmarshal(t, body, &document)
			found := false
			for name, definition := range document.Components.Schemas {
				if len(definition.Kinds) != 1 || definition.Kinds[0] != s.resource.GroupVersion().WithKind(s.kind) {
					continue
				}
				found = true
				if definition.Description == "" {
					t.Errorf("%s has no description", name)
				}
				for _, part := range []string{"", "Spec", "Status"} {
					properties := document.Components.Schemas[name+part].Properties
					if part == "" && len(properties) < 4 {
						t.Errorf("%s has only %d properties: what it is about is not among them", name, len(properties))
					}
					if _, has := document.Components.Schemas[name].Properties[strings.ToLower(part)]; has && len(properties) == 0 {
						t.Errorf("%s%s has no properties", name, part)
					}
					for property, described := range properties {
						if described.Description == "" {
							t.Errorf("%s%s.%s has no description", name, part, property)
						}
					}
				}
			}
			if !found {
				t.Errorf("no definition belongs to %s", s.kind)
			}
		})
	}
}

func TestDiscovery(t *testing.T) {
	kube := kubernetes.NewForConfigOrDie(gardentest.Start(t).RESTConfig())
	groups, err := kube.Discovery().ServerGroups()
	if err != nil {
		t.Fatal(err)
	}
	preferred := map[string]string{}
	for _, group := range groups.Groups {
		preferred[group.Name] = group.PreferredVersion.Version
	}
	for group, version := range map[string]string{
		"core.gardener.cloud": "v1beta1", "seedmanagement.gardener.cloud": "v1alpha1", "operations.gardener.cloud": "v1alpha1",
		"security.gardener.cloud": "v1alpha1", "loam.dev": "v1alpha1", "apiextensions.k8s.io": "v1", "coordination.k8s.io": "v1",
	} {
		if preferred[group] != version {
			t.Errorf("group %s: preferred version %q, want %q", group, preferred[group], version)
		}
	}
	version, err := kube.Discovery().ServerVersion()
	if err != nil || !strings.HasPrefix(version.GitVersion, "v1.36.") {
		t.Errorf("version: %v, %v", version, err)
	}
}

func TestMetricsAndEncodings(t *testing.T) {
	metrics, _ := get(t, "/metrics", nil)
	for _, want := range []string{"apiserver_request_total", "process_resident_memory_bytes", `apiserver_storage_objects`} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("no %s", want)
		}
	}
	for accept, want := range map[string]string{
		"application/vnd.kubernetes.protobuf": "application/vnd.kubernetes.protobuf", "application/yaml": "application/yaml", "": "application/json",
	} {
		if _, header := get(t, "/apis/core.gardener.cloud/v1beta1/seeds", http.Header{"Accept": {accept}}); header.Get("Content-Type") != want {
			t.Errorf("asked for %q, got %q", accept, header.Get("Content-Type"))
		}
	}
	if _, header := get(t, "/apis/loam.dev/v1alpha1/machines", http.Header{"Accept": {"application/vnd.kubernetes.protobuf,application/json"}}); header.Get("Content-Type") != "application/json" {
		t.Errorf("machines came as %q", header.Get("Content-Type"))
	}
}

// TestCustomResources wants definitions of custom resources to work beside the
// garden's own groups.
func TestCustomResources(t *testing.T) {
	ctx := context.Background()
	kind := schema.GroupVersionResource{Group: "example.org", Version: "v1", Resource: "things"}
	definitions := apiextensionsclient.NewForConfigOrDie(gardentest.Start(t).RESTConfig()).ApiextensionsV1().CustomResourceDefinitions()
	keep := true
	_, err := definitions.Create(ctx, &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "things.example.org"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: kind.Group, Scope: apiextensionsv1.ClusterScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "things", Singular: "thing", Kind: "Thing", ListKind: "ThingList"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: kind.Version, Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &keep}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	thing := sample{resource: kind, kind: "Thing", body: map[string]any{"a": "b"}}
	eventually(t, "a thing to be created", func() error {
		_, err := thing.client(t, "").Create(ctx, thing.object(t, "", "one"), metav1.CreateOptions{})
		return err
	})
}
