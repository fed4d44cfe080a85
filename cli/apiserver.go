package cli

import (
	"cmp"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/aggregated"
)

func newAPIServer() *cobra.Command {
	var c aggregated.Config
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "apiserver",
		Short: "Serve the garden's API beside any Kubernetes",
		Long: `Serve the garden's groups as an aggregated API server: another Kubernetes
authenticates and authorizes, holds Secrets, and sends requests for these groups
here; an etcd cluster holds the objects. Any number of replicas may run.

The server makes its own serving certificate and registers its APIServices.
deploy/ has manifests: kubectl apply -k deploy.`,
		Example: `  loam apiserver --etcd-servers https://etcd:2379 --etcd-cafile ca.crt --etcd-certfile tls.crt --etcd-keyfile tls.key
  loam apiserver --kubeconfig admin.conf --namespace garden --etcd-servers http://127.0.0.1:2379`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if c.REST, err = clusterConfig(kubeconfig); err != nil {
				return err
			}
			c.Kubeconfig = cmp.Or(kubeconfig, os.Getenv(clientcmd.RecommendedConfigPathEnvVar))
			if err := c.Validate(); err != nil {
				return err
			}
			return app.APIServer(cmd.Context(), c, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	clusterKubeconfigFlag(f, &kubeconfig, "the cluster beside which the server runs")
	f.StringVar(&c.Listen, "listen", aggregated.DefaultListen, "address and port of the API")
	f.StringVar(&c.Namespace, "namespace", cmp.Or(os.Getenv("POD_NAMESPACE"), "loam-system"), "namespace of the server's Service and Secret (default $POD_NAMESPACE, else loam-system)")
	f.StringVar(&c.Service, "service", "loam-apiserver", "Service through which the cluster reaches the server")
	f.BoolVar(&c.TakeOver, "take-over", false, "replace APIServices that something else has registered for these groups")
	f.StringVar(&c.IdentityIssuer, "workload-identity-issuer", "", "URL in the tokens of workload identities (default that of the Service)")
	f.StringVar(&c.CertFile, "tls-cert-file", "", "serving certificate; without one the server makes its own")
	f.StringVar(&c.KeyFile, "tls-private-key-file", "", "key of the serving certificate")
	f.StringVar(&c.CAFile, "tls-ca-file", "", "authority that signed the serving certificate")
	f.StringVar(&c.EtcdSecret, "etcd-secret", "", "Secret for the certificates of an etcd behind a Service of that name; made and renewed by the server")
	etcdFlags(f, &c.Etcd)
	return cmd
}

// etcdFlags have the names that Kubernetes' API server gives them.
func etcdFlags(f *pflag.FlagSet, etcd *garden.ExternalEtcd) {
	f.StringSliceVar(&etcd.Servers, "etcd-servers", nil, "client URLs of an etcd cluster, https://host:2379")
	f.StringVar(&etcd.CAFile, "etcd-cafile", "", "authority that signed the etcd servers' certificates")
	f.StringVar(&etcd.CertFile, "etcd-certfile", "", "client certificate for etcd")
	f.StringVar(&etcd.KeyFile, "etcd-keyfile", "", "key of the client certificate for etcd")
	f.StringVar(&etcd.Prefix, "etcd-prefix", "", "begins every key in etcd (default /registry)")
}

func clusterKubeconfigFlag(f *pflag.FlagSet, kubeconfig *string, of string) {
	f.StringVar(kubeconfig, "kubeconfig", "", "kubeconfig of "+of+" (default $KUBECONFIG, else that of the pod's service account)")
}

// clusterConfig reads a kubeconfig, or inside a pod what Kubernetes put there.
func clusterConfig(kubeconfig string) (*rest.Config, error) {
	path := cmp.Or(kubeconfig, os.Getenv(clientcmd.RecommendedConfigPathEnvVar))
	if path == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fault.New(fault.Invalid, "no cluster is known: give --kubeconfig, or run in a pod: %w", err)
		}
		return config, nil
	}
	path = filepath.Clean(path)
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "reading kubeconfig %q: %w", path, err)
	}
	return config, nil
}
