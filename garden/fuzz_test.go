package garden_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// FuzzCreate sends foreign bodies to every kind's collection, as a dry run. The
// server has to answer each, and never with an error of its own: a panic inside
// it is answered with 500.
func FuzzCreate(f *testing.F) {
	all := samples()
	for i, s := range all {
		f.Add(i, marshal(f, s.object(f, "garden-local", "fuzz")))
		f.Add(i, marshal(f, map[string]any{"metadata": map[string]any{"name": "fuzz"}}))
		f.Add(i, marshal(f, map[string]any{"metadata": map[string]any{"name": "fuzz"}, "spec": nil, "status": map[string]any{}}))
		f.Add(i, marshal(f, map[string]any{"metadata": nil, "spec": map[string]any{
			"provider": map[string]any{"workers": []any{map[string]any{}}}, "maintenance": map[string]any{}, "kubernetes": map[string]any{}, "gardenlet": nil,
			"cloudProfile": map[string]any{}, "hibernation": nil, "config": nil, "ingress": []any{nil}, "resources": []any{map[string]any{}}, "template": map[string]any{},
		}}))
	}
	f.Add(0, []byte(`[]`))
	f.Add(0, []byte(`{"spec":`))
	f.Add(0, []byte("k8s\x00\x0a\x00"))
	config := gardentest.Start(f).RESTConfig()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, index int, body []byte) {
		if index < 0 || index >= len(all) {
			t.Skip()
		}
		s := all[index]
		path := "/apis/" + s.resource.GroupVersion().String()
		if s.namespaced {
			path += "/namespaces/garden-local"
		}
		for _, contentType := range []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"} {
			answer, err := client.Post(config.Host+path+"/"+s.resource.Resource+"?dryRun=All", contentType, bytes.NewReader(body))
			if err != nil {
				t.Fatalf("%s as %s: no answer: %v", s.kind, contentType, err)
			}
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if answer.StatusCode >= http.StatusInternalServerError {
				t.Errorf("%s as %s: %d %s", s.kind, contentType, answer.StatusCode, text)
			}
		}
	})
}
