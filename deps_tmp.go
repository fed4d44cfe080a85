package loam

import (
	_ "github.com/gardener/gardener/pkg/apis/core/install"
	_ "github.com/gardener/gardener/pkg/apis/seedmanagement/install"
	_ "github.com/gardener/gardener/pkg/apis/operations/install"
	_ "github.com/gardener/gardener/pkg/apis/security/install"
	_ "github.com/moby/moby/client"
	_ "github.com/spf13/cobra"
	_ "go.etcd.io/etcd/server/v3/embed"
	_ "k8s.io/kubernetes/pkg/controlplane/apiserver"
	_ "k8s.io/kubernetes/pkg/controlplane/apiserver/samples/generic/server"
	_ "k8s.io/kubernetes/pkg/controller/namespace"
	_ "k8s.io/kubernetes/pkg/controller/garbagecollector"
	_ "k8s.io/kubernetes/pkg/controller/certificates/signer"
	_ "sigs.k8s.io/controller-runtime"
	_ "sigs.k8s.io/yaml"
	_ "k8s.io/kube-aggregator/pkg/apiserver"
	_ "k8s.io/kube-openapi/cmd/openapi-gen/args"
	_ "github.com/gofrs/flock"
	_ "github.com/google/go-containerregistry/pkg/v1/tarball"
	_ "golang.org/x/term"
	_ "k8s.io/client-go/tools/clientcmd"
)
