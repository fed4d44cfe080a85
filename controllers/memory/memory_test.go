package memory_test

import (
	"context"
	"net/http"
	"os"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/controllers/memory"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// counting counts what is asked of memory.
type counting struct {
	client.Reader
	asked int
}

func (c *counting) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	c.asked++
	return c.Reader.Get(ctx, key, object, opts...)
}

func (c *counting) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	c.asked++
	return c.Reader.List(ctx, list, opts...)
}

// TestNewClient wants metadata of Secrets from memory and their content from the
// API.
func TestNewClient(t *testing.T) {
	namespace := gardentest.Namespace(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "s"}, Data: map[string][]byte{"k": []byte("v")}}
	if err := gardentest.Client(t).Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	kept := &counting{Reader: gardentest.Client(t)}
	c, err := memory.NewClient(gardentest.Start(t).RESTConfig(), client.Options{
		Scheme: scheme.Client(), Cache: &client.CacheOptions{Reader: kept, DisableFor: memory.Uncached()},
	})
	if err != nil {
		t.Fatal(err)
	}
	key, kind := client.ObjectKeyFromObject(secret), corev1.SchemeGroupVersion.WithKind("Secret")
	whole := &corev1.Secret{}
	if err := c.Get(t.Context(), key, whole); err != nil || string(whole.Data["k"]) != "v" || kept.asked > 0 {
		t.Errorf("the content: %v, %q, memory was asked %d times", err, whole.Data, kept.asked)
	}
	if err := c.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace)); err != nil || kept.asked > 0 {
		t.Errorf("a list of contents: %v, memory was asked %d times", err, kept.asked)
	}
	partial, list := &metav1.PartialObjectMetadata{}, &metav1.PartialObjectMetadataList{}
	partial.SetGroupVersionKind(kind)
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := c.Get(t.Context(), key, partial); err != nil || partial.UID != whole.UID || kept.asked != 1 {
		t.Errorf("metadata: %v, %q, memory was asked %d times", err, partial.UID, kept.asked)
	}
	if err := c.List(t.Context(), list, client.InNamespace(namespace)); err != nil || len(list.Items) == 0 || kept.asked != 2 {
		t.Errorf("a list of metadata: %v, %d, memory was asked %d times", err, len(list.Items), kept.asked)
	}
}

// TestCompact wants the garden's own kinds as protobuf, those that have none as
// JSON, and what a configuration asks for itself.
func TestCompact(t *testing.T) {
	garden := gardentest.Start(t).RESTConfig()
	projects := &unstructured.UnstructuredList{}
	projects.SetGroupVersionKind(gardencorev1beta1.SchemeGroupVersion.WithKind("ProjectList"))
	asked := rest.CopyConfig(garden)
	asked.AcceptContentTypes = runtime.ContentTypeJSON
	for name, test := range map[string]struct {
		config *rest.Config
		list   client.ObjectList
		want   string
	}{
		"protobuf":             {garden, &gardencorev1beta1.ProjectList{}, runtime.ContentTypeProtobuf},
		"a kind without it":    {garden, &v1alpha1.MachineList{}, runtime.ContentTypeJSON},
		"no type to put it in": {garden, projects, runtime.ContentTypeJSON},
		"as configured":        {asked, &gardencorev1beta1.ProjectList{}, runtime.ContentTypeJSON},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			config := rest.CopyConfig(test.config)
			config.Wrap(func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					answer, err := next.RoundTrip(r)
					if err == nil {
						got = answer.Header.Get("Content-Type")
					}
					return answer, err
				})
			})
			c, err := client.New(memory.Compact(config), client.Options{Scheme: scheme.Client()})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.List(t.Context(), test.list); err != nil || got != test.want {
				t.Errorf("the answer was %q (%v), want %q", got, err, test.want)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
