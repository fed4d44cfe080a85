// Package manifest reads streams of Kubernetes objects: the manifests of node
// images, and files that users name on the command line.
//
// It must not know what the objects are.
package manifest

import (
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// Decode reads a stream of YAML or JSON documents. Empty documents are passed
// over; one that is not an object with apiVersion, kind and name is an error
// that counts it from 1.
func Decode(stream io.Reader) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(stream, 4096)
	for n := 1; ; n++ {
		o := &unstructured.Unstructured{}
		switch err := decoder.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("document %d: %w", n, err)
		case len(o.Object) == 0:
			continue
		case o.GetKind() == "" || o.GetAPIVersion() == "" || o.GetName() == "":
			return nil, fmt.Errorf("document %d: apiVersion, kind and metadata.name must be set", n)
		}
		objects = append(objects, o)
	}
}
