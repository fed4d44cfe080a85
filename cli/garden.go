package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/scheme"
)

// kubeconfigPath is where the garden writes its administrator's kubeconfig.
func kubeconfigPath(dataDir string) string { return filepath.Join(dataDir, "kubeconfig") }

// restConfig reads the garden's kubeconfig.
func restConfig(dataDir string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfigPath(dataDir))
	if err != nil {
		return nil, fault.New(fault.Invalid, "reading the garden's kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 100, 200
	return config, nil
}

// running returns the data folder of the garden that runs on this host.
func (o *options) running() (string, error) {
	dir, err := o.data()
	if err != nil {
		return "", err
	}
	if _, running, err := garden.ReadLock(dir); err != nil {
		return "", err
	} else if !running {
		return "", fault.New(fault.Invalid, "no garden runs on %q: start one with \"loam up --detach\"", dir)
	}
	return dir, nil
}

// administrator is how an administrator reaches the garden that runs on this host.
func (o *options) administrator() (*rest.Config, error) {
	dir, err := o.running()
	if err != nil {
		return nil, err
	}
	return restConfig(dir)
}

// connect makes a client for the garden that runs on this host.
func (o *options) connect() (client.WithWatch, error) {
	config, err := o.administrator()
	if err != nil {
		return nil, err
	}
	return client.NewWithWatch(config, client.Options{Scheme: scheme.Client()})
}

// connectOrStart is connect, and starts a garden in the background where none runs.
func (o *options) connectOrStart(ctx context.Context, say func(string, ...any)) (client.WithWatch, error) {
	dir, err := o.data()
	if err != nil {
		return nil, err
	}
	_, running, err := garden.ReadLock(dir)
	if err != nil {
		return nil, err
	}
	if !running {
		say("No garden runs yet: starting one on %s", dir)
		if err := detach(ctx, dir, nil); err != nil {
			return nil, err
		}
	}
	return o.connect()
}

// ready asks whether the garden answers its readiness check.
func ready(ctx context.Context, dataDir string) error {
	if _, err := os.Stat(kubeconfigPath(dataDir)); err != nil {
		return err
	}
	config, err := restConfig(dataDir)
	if err != nil {
		return err
	}
	config.Timeout = 2 * time.Second
	asker, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	return asker.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// defaultProject is the project that the garden makes at its first start.
const defaultProject = bootstrap.Name

// project is the flag of the commands that work in one project.
type project struct{ name string }

// namespace is the project's namespace, by Gardener's rule: garden-<project>.
func (p *project) namespace() string { return "garden-" + p.name }

// adopt takes over the project of a file; the empty namespace says nothing. A
// project that was given on the command line must be the same.
func (p *project) adopt(namespace string, given bool) error {
	if namespace == "" || namespace == p.namespace() {
		return nil
	}
	name, found := strings.CutPrefix(namespace, "garden-")
	if !found {
		return fault.New(fault.Invalid, "metadata.namespace: %q is no project's: that of project %q is %q", namespace, p.name, p.namespace())
	}
	if given {
		return fault.New(fault.Invalid, "--project: %q contradicts metadata.namespace %q of the file", p.name, namespace)
	}
	p.name = name
	return nil
}

// contextName is what a cluster is called in a kubeconfig.
func (p *project) contextName(cluster string) string {
	if p.name == defaultProject {
		return "loam-" + cluster
	}
	// No name of a project or cluster has two dashes in it.
	return "loam-" + p.name + "--" + cluster
}

func (p *project) describe(name string) string {
	return fmt.Sprintf("cluster %q of project %q", name, p.name)
}
