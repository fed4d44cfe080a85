package garden_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"

	"github.com/loam-cloud/loam/garden/scheme"
)

// TestEncodings writes every kind in each form that a request's body can have,
// and reads each back in each form that an answer's can have: all are equal.
func TestEncodings(t *testing.T) {
	var server server
	namespace, codecs := server.namespace(t), serializer.NewCodecFactory(scheme.Client())
	for _, s := range server.samples() {
		forms := []string{runtime.ContentTypeJSON, runtime.ContentTypeYAML, runtime.ContentTypeProtobuf}
		if s.resource.Group == "loam.dev" {
			forms = forms[:2]
		}
		t.Run("garden-api: Served semantics/on the wire/"+s.resource.Version+" "+s.kind, func(t *testing.T) {
			wire := wire{t, s, codecs, s.path(namespace)}
			name := "wire-" + rand.String(5)
			sent := typed(t, s, s.object(t, namespace, name).Object)
			var first map[string]any
			for _, form := range forms {
				created := wire.do(http.MethodPost, "", form, form, sent, http.StatusCreated)
				for _, answer := range forms {
					got := wire.do(http.MethodGet, name, "", answer, nil, http.StatusOK)
					if difference := diff.Diff(created, got); difference != "" {
						t.Errorf("created as %s, read as %s (+ is what is read):\n%s", form, answer, difference)
					}
				}
				// Their histories differ.
				delete(created, "status")
				delete(created, "metadata")
				if first == nil {
					first = created
				}
				if difference := diff.Diff(first, created); difference != "" {
					t.Errorf("created as %s, which is +, and as %s:\n%s", form, forms[0], difference)
				}
				wire.do(http.MethodDelete, name, "", runtime.ContentTypeJSON, nil, http.StatusOK)
			}
			if len(forms) < 3 {
				wire.do(http.MethodPost, "", runtime.ContentTypeProtobuf, runtime.ContentTypeJSON, nil, http.StatusUnsupportedMediaType)
			}
		})
	}
}

// path is the collection of a kind.
func (s sample) path(namespace string) string {
	path := "/apis/" + s.resource.GroupVersion().String()
	if s.namespaced {
		path += "/namespaces/" + s.namespace(namespace)
	}
	return path + "/" + s.resource.Resource
}

// typed is what a client sends that knows the type.
func typed(t *testing.T, s sample, content map[string]any) runtime.Object {
	t.Helper()
	object, err := scheme.Client().New(s.resource.GroupVersion().WithKind(s.kind))
	if err != nil {
		t.Fatal(err)
	}
	if s.kind == "Shoot" { // which would get another window each time
		content["spec"].(map[string]any)["maintenance"] = map[string]any{"timeWindow": map[string]any{"begin": "220000+0100", "end": "230000+0100"}}
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, object); err != nil {
		t.Fatal(err)
	}
	return object
}

// wire sends bodies as they are.
type wire struct {
	*testing.T
	sample sample
	codecs serializer.CodecFactory
	path   string
}

// do sends an object, if there is one, and returns the one that comes back as its
// fields: how a text in it is laid out does not count.
func (w wire) do(method, name, form, accept string, object runtime.Object, want int) map[string]any {
	w.Helper()
	config := w.sample.server.rest(w)
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		w.Fatal(err)
	}
	body := []byte{}
	if object != nil {
		info, _ := runtime.SerializerInfoForMediaType(w.codecs.SupportedMediaTypes(), form)
		if body, err = runtime.Encode(w.codecs.EncoderForVersion(info.Serializer, w.sample.resource.GroupVersion()), object); err != nil {
			w.Fatal(err)
		}
	}
	url := config.Host + w.path
	if name != "" {
		url += "/" + name
	}
	request, err := http.NewRequestWithContext(w.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	if form != "" {
		request.Header.Set("Content-Type", form)
	}
	request.Header.Set("Accept", accept)
	answer, err := c.Do(request)
	if err != nil {
		w.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != want || answer.Header.Get("Content-Type") != accept {
		w.Fatalf("%s %s as %s: %d as %q, want %d as %q: %.300s %v", method, url, form, answer.StatusCode, answer.Header.Get("Content-Type"), want, accept, text, err)
	}
	if method == http.MethodDelete || want >= http.StatusBadRequest {
		return nil
	}
	decoded, _, err := w.codecs.UniversalDeserializer().Decode(text, nil, nil)
	if err != nil {
		w.Fatal(err)
	}
	decoded.GetObjectKind().SetGroupVersionKind(w.sample.resource.GroupVersion().WithKind(w.sample.kind))
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(decoded)
	if err != nil {
		w.Fatal(err)
	}
	return fields
}
