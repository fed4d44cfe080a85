#!/bin/sh
# Writes the generated code of api/v1alpha1 (deep copies) and garden/openapi
# (definitions of every served type). Running it again leaves no diff.
set -eu
cd "$(dirname "$0")/../.."

# deepcopy-gen: the release that belongs to the k8s.io modules in go.mod.
codegen=v0.36.3
# openapi-gen has to be of the very version that go.mod has of kube-openapi,
# because what it writes compiles against that.
kubeopenapi=$(go list -m -f '{{.Version}}' k8s.io/kube-openapi)
gardener=github.com/gardener/gardener/pkg/apis

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
header=$scratch/header
report=$scratch/report
: >"$header"

go run "k8s.io/code-generator/cmd/deepcopy-gen@$codegen" \
	--go-header-file "$header" --output-file zz_generated.deepcopy.go \
	./api/v1alpha1

# Names of our own types' definitions. In a run of its own: Gardener's packages
# bring theirs, and could not be written to.
go run "k8s.io/kube-openapi/cmd/openapi-gen@$kubeopenapi" \
	--go-header-file "$header" --report-filename "$report" \
	--output-dir "$scratch/openapi" --output-pkg scratch --output-file zz_generated.openapi.go \
	--output-model-name-file zz_generated.model_name.go \
	./api/v1alpha1

# API rule violations of types that are not ours go to a file that nobody keeps.
go run "k8s.io/kube-openapi/cmd/openapi-gen@$kubeopenapi" \
	--go-header-file "$header" --report-filename "$report" \
	--output-dir garden/openapi --output-pkg github.com/loam-cloud/loam/garden/openapi \
	--output-file zz_generated.openapi.go \
	$gardener/core/v1 $gardener/core/v1beta1 \
	$gardener/seedmanagement/v1alpha1 $gardener/operations/v1alpha1 $gardener/security/v1alpha1 $gardener/authentication/v1alpha1 \
	github.com/loam-cloud/loam/api/v1alpha1
