// Package v1alpha1 holds Loam's own resource types, group loam.dev: what
// Gardener's API has no word for. The garden serves them, controllers and the
// command line use them. It must not import anything heavier than
// apimachinery.
//
// +k8s:deepcopy-gen=package
// +k8s:openapi-gen=true
// +k8s:openapi-model-package=dev.loam.v1alpha1
// +groupName=loam.dev
package v1alpha1
