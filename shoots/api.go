package shoots

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"text/template"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
	"github.com/loam-cloud/loam/shoots/manifest"
)

// administrator is the flow's own identity in clusters. Its certificate is made
// for one run and kept nowhere. The group needs no binding, so that it works
// from the API server's first answer on.
var administrator = Identity{User: "loam:flow", Groups: []string{"system:masters"}, Lifetime: 2 * time.Hour}

// fieldOwner names the flow as the manager of what it applies to clusters.
const fieldOwner = "loam-shoots"

// Connection is a client of a cluster with full rights. Whoever asked for it
// closes it.
type Connection struct {
	client.Client
	config *rest.Config
	close  func()
}

// Close ends the network connections that are open and not in use.
func (c *Connection) Close() { c.close() }

func connect(config *rest.Config) (*Connection, error) {
	plain, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: clientgoscheme.Scheme, HTTPClient: plain})
	if err != nil {
		return nil, err
	}
	// The certificate is new each time, and with it the transport: what stays
	// open serves nobody else.
	return &Connection{Client: c, config: config, close: func() { utilnet.CloseIdleConnectionsFor(plain.Transport) }}, nil
}

// Connection makes a client for a cluster, which need not answer yet.
func (f *Flow) Connection(ctx context.Context, c Cluster, a Authorities) (*Connection, error) {
	server, err := f.Endpoint(ctx, c)
	if err != nil {
		return nil, err
	}
	config, err := a.Client(server, administrator, f.Clock.Now())
	if err != nil {
		return nil, err
	}
	config.Timeout = 10 * time.Second
	config.QPS, config.Burst = 200, 400
	if f.Connect == nil {
		return connect(config)
	}
	made, err := f.Connect(config)
	if err != nil {
		return nil, err
	}
	return &Connection{Client: made, config: config, close: func() {}}, nil
}

// reachAPI waits until the API server answers and knows the namespaces that
// objects are to be put into.
func (r *run) reachAPI(ctx context.Context) error {
	api, err := r.Connection(ctx, r.cluster, r.authorities)
	if err != nil {
		return err
	}
	r.api = api
	return poll(ctx, r.Clock, func(ctx context.Context) error {
		if err := api.Get(ctx, client.ObjectKey{Name: "kube-system"}, &corev1.Namespace{}); err != nil {
			return fmt.Errorf("the API server is not ready: %w", err)
		}
		return nil
	})
}

// readyScript asks the API server of a machine, past the load balancer.
//
//	$1 URL of the server
const readyScript = `kubectl --kubeconfig=/etc/kubernetes/admin.conf --server="$1" --request-timeout=10s get --raw /readyz >/dev/null`

// awaitServers waits until each API server is ready: a cluster that has several is
// whole only when it may lose one. What the cluster says of their pods is from before
// their machines were cut off until the kubelets have looked again.
func (r *run) awaitServers(ctx context.Context) error {
	return each(ctx, r.controlPlanes, func(ctx context.Context, m controlPlane) error {
		return poll(ctx, r.Clock, func(ctx context.Context) error {
			_, err := r.script(ctx, m.Machine, readyScript, "https://"+r.endpoint(m.Machine))
			return err
		})
	})
}

// Manifests of a node image, where kind's layout has them.
const (
	networkManifest = "/kind/manifests/default-cni.yaml"
	storageManifest = "/kind/manifests/default-storage.yaml"
)

func (r *run) installNetwork(ctx context.Context) error {
	return r.install(ctx, networkManifest)
}

func (r *run) installStorage(ctx context.Context) error {
	return r.install(ctx, storageManifest)
}

// addonsScript prints what kubeadm would install beside the control plane. Between
// that kubeadm says what it does, and it begins documents on the line that parts
// them.
//
//	$1... addons
const addonsScript = `
for addon; do
  kubeadm init phase addon "$addon" --print-manifest --config=` + nodeconfig.KubeadmConfigPath + ` | sed -e '/^\[/d' -e 's/^---/---\n/'
done
`

// renderAddons has kubeadm say what it would install.
func (r *run) renderAddons(ctx context.Context, m machines.Machine) error {
	addons := []string{"coredns", "kube-proxy"}
	if r.cluster.KubeProxyMode == "none" {
		addons = addons[:1]
	}
	text, err := r.script(ctx, m, addonsScript, addons...)
	if err != nil {
		return err
	}
	r.addons, err = manifest.Decode(strings.NewReader(text))
	if err != nil {
		return fault.New(fault.Internal, "what kubeadm installs: %w", err)
	}
	return nil
}

// installAddons brings names and services to a new cluster. In one that exists
// they are its users' to change, and none were rendered.
func (r *run) installAddons(ctx context.Context) error {
	return r.apply(ctx, r.addons)
}

// install applies a manifest of the node image. The network's is a template
// that asks for the pods' range.
func (r *run) install(ctx context.Context, path string) error {
	text, err := r.script(ctx, r.controlPlanes[0].Machine, `cat "$1"`, path)
	if err != nil {
		return err
	}
	parsed, err := template.New(path).Option("missingkey=error").Parse(text)
	if err != nil {
		return fault.New(fault.Invalid, "manifest %s of image %q: %w", path, r.cluster.Image, err)
	}
	var rendered bytes.Buffer
	if err := parsed.Execute(&rendered, map[string]string{"PodSubnet": r.cluster.PodCIDR}); err != nil {
		return fault.New(fault.Invalid, "manifest %s of image %q: %w", path, r.cluster.Image, err)
	}
	objects, err := manifest.Decode(&rendered)
	if err != nil {
		return fault.New(fault.Invalid, "manifest %s of image %q: %w", path, r.cluster.Image, err)
	}
	return r.apply(ctx, objects)
}

func (r *run) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, o := range objects {
		err := poll(ctx, r.Clock, func(ctx context.Context) error {
			return classify(r.api.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(fieldOwner), client.ForceOwnership))
		})
		if err != nil {
			return fmt.Errorf("applying %s %q: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// classify tells what an API server's answer means: only an object that is
// wrong in itself does not pass by waiting.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsMethodNotSupported(err):
		return fault.Wrap(fault.Invalid, err)
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		// A namespace or a resource that is still to come.
		return fault.Wrap(fault.Waiting, err)
	case strings.Contains(err.Error(), "connection refused"), apierrors.IsForbidden(err):
		// Roles appear some time after the first answer.
		return fault.Wrap(fault.Waiting, err)
	default:
		return fault.Wrap(fault.Transient, err)
	}
}
