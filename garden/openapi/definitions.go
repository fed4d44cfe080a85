// Package openapi describes every type that the garden serves itself, so that
// kubectl explain, apply and server-side apply work on it. The API server is
// its only caller. It must not know how anything is stored.
//
// generate.sh writes zz_generated.openapi.go.
package openapi

import (
	"strings"

	kubeopenapi "k8s.io/kubernetes/pkg/generated/openapi"

	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/util"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Definitions returns Kubernetes' own definitions and those of the garden's
// groups, under one naming scheme.
func Definitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	definitions := kubeopenapi.GetOpenAPIDefinitions(ref)
	friendlyRef := func(path string) spec.Ref { return ref(friendlyName(path)) }
	for name, definition := range GetOpenAPIDefinitions(friendlyRef) {
		for i, dependency := range definition.Dependencies {
			definition.Dependencies[i] = friendlyName(dependency)
		}
		definitions[name] = definition
	}
	return definitions
}

// friendlyName turns the Go path of one of Kubernetes' own types into the name
// under which Kubernetes' definitions have it. The generator knows the names of
// its inputs only, and writes paths for all others.
func friendlyName(name string) string {
	if strings.Contains(name, "/") {
		return util.ToRESTFriendlyName(name)
	}
	return name
}
