// Package ports keeps ports of this host open for the clusters of a seed: it
// runs a follower for each that is awake, writes what it says into the ConfigMap
// <shoot>.ports, and lets it go with the cluster. It is part of the seed's agent;
// app adds it.
//
// It must not know what is listened on: that is decided in shoots/ports.
package ports

import (
	"context"
	"net/netip"
	"strings"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/controllers/shoot/internal/target"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots"
	"github.com/loam-cloud/loam/shoots/follow"
	"github.com/loam-cloud/loam/shoots/forward"
	"github.com/loam-cloud/loam/shoots/ports"
)

// Name is the controller's name.
const Name = "shoot.ports"

// Reconciler runs a follower for each cluster of one seed. It reads Shoots and
// InternalSecrets, and writes the ConfigMap <shoot>.ports; in clusters the role
// of its followers, and through them the status of services of type LoadBalancer.
type Reconciler struct {
	Client   client.Client
	Clock    clock.WithTicker
	Config   Config
	Machines machines.Driver
	// Connect and Clientset make clients for a cluster; nil means real ones.
	Connect   func(*rest.Config) (client.Client, error)
	Clientset func(*rest.Config) (kubernetes.Interface, error)
	// Forward listens for all clusters. It is closed with the manager.
	Forward *forward.Forwarder

	running running
}

// Config is what the controller is told once.
type Config struct {
	// SeedName is the seed whose Shoots are served.
	SeedName string
	// Listen is the address that ports of services are opened on, Advertise the one
	// that services of type LoadBalancer are told.
	Listen, Advertise netip.Addr
	// ConcurrentSyncs is how many clusters are begun with at once; zero means 5.
	ConcurrentSyncs int
}

// follower is the identity of followers in clusters.
var follower = shoots.Identity{User: "loam:ports", Groups: []string{follow.Group}, Lifetime: 24 * time.Hour}

// renewal is how old a follower's certificate gets.
const renewal = 12 * time.Hour

// Reconcile begins or ends to follow one cluster.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	shoot := &gardencorev1beta1.Shoot{}
	err := client.IgnoreNotFound(r.Client.Get(ctx, request.NamespacedName, shoot))
	if err != nil {
		return reconcile.Result{}, err
	}
	if shoot.Name == "" || shoot.DeletionTimestamp != nil || shoot.Spec.SeedName == nil || *shoot.Spec.SeedName != r.Config.SeedName {
		r.stop(request.NamespacedName)
		return reconcile.Result{}, nil
	}
	if asleep(shoot) {
		r.stop(request.NamespacedName)
		return policy.Result(r.sayAsleep(ctx, shoot))
	}
	if shoot.Status.TechnicalID == "" || len(shoot.Status.AdvertisedAddresses) == 0 {
		return reconcile.Result{}, nil // its first address is an update, too
	}
	if err := r.follow(ctx, shoot); err != nil {
		return policy.Result(err)
	}
	return reconcile.Result{RequeueAfter: renewal}, nil
}

func asleep(shoot *gardencorev1beta1.Shoot) bool {
	return shoot.Status.IsHibernated || target.Hibernated(shoot)
}

// follow begins to follow a cluster, or tells who does what has changed.
func (r *Reconciler) follow(ctx context.Context, shoot *gardencorev1beta1.Shoot) error {
	cluster, err := target.Cluster(shoot)
	if err != nil {
		return nil //nolint:nilerr // the last operation says so already
	}
	authorities, err := target.Authorities(ctx, r.Client, shoot)
	if err != nil {
		return err
	}
	flow := shoots.Flow{Machines: r.Machines, Clock: r.Clock, Connect: r.Connect}
	server, err := flow.Endpoint(ctx, cluster)
	if err != nil {
		return err
	}
	key := client.ObjectKeyFromObject(shoot)
	// A cluster that was deleted and made anew under its name has other keys.
	identity := server + string(authorities["ca.crt"])
	if f := r.running.current(key, identity, r.Clock.Now()); f != nil {
		f.SetMappings(target.Mappings(shoot))
		return nil
	}
	if err := grant(ctx, &flow, cluster, authorities); err != nil {
		return err
	}
	config, err := authorities.Client(server, follower, r.Clock.Now())
	if err != nil {
		return err
	}
	clientset, err := r.clientset(config)
	if err != nil {
		return fault.Wrap(fault.Internal, err)
	}
	before, err := r.read(ctx, shoot)
	if err != nil {
		return err
	}
	kept := map[string]netip.AddrPort{}
	for _, l := range before {
		kept[l.ID] = l.Address
	}
	logger := log.FromContext(ctx).WithValues("cluster", title(key))
	f := follow.New(follow.Config{
		ID: cluster.ID, Title: title(key), Machines: r.Machines, Forward: r.Forward, Clock: r.Clock,
		Listen: r.Config.Listen, Advertise: r.Config.Advertise, Kept: kept,
		Logger: logger,
		Report: func(ctx context.Context, lines []ports.Line) error { return r.write(ctx, shoot, lines) },
	})
	f.SetMappings(target.Mappings(shoot))
	r.running.begin(key, &run{
		id: cluster.ID, identity: identity, began: r.Clock.Now(), follower: f, logger: logger,
	}, clientset)
	return nil
}

func (r *Reconciler) clientset(config *rest.Config) (kubernetes.Interface, error) {
	if r.Clientset != nil {
		return r.Clientset(config)
	}
	return kubernetes.NewForConfig(config)
}

// stop ends following a cluster, and closes its ports.
func (r *Reconciler) stop(key types.NamespacedName) {
	if id := r.running.end(key); id != "" {
		r.Forward.Drop(id)
	}
}

// grant lets followers see what they need in a cluster.
func grant(ctx context.Context, flow *shoots.Flow, cluster shoots.Cluster, authorities shoots.Authorities) error {
	api, err := flow.Connection(ctx, cluster, authorities)
	if err != nil {
		return err
	}
	defer api.Close()
	if err := follow.Grant(ctx, api); err != nil {
		return fault.Wrap(fault.Transient, err)
	}
	return nil
}

// title is what users call a cluster.
func title(key types.NamespacedName) string {
	if project := strings.TrimPrefix(key.Namespace, "garden-"); project != "local" {
		return project + "/" + key.Name
	}
	return key.Name
}

func record(shoot *gardencorev1beta1.Shoot) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: shoot.Namespace, Name: ports.RecordName(shoot.Name)}}
}

// read is what was said of a cluster last.
func (r *Reconciler) read(ctx context.Context, shoot *gardencorev1beta1.Shoot) ([]ports.Line, error) {
	said := record(shoot)
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(said), said); err != nil {
		return nil, fault.Wrap(fault.Transient, client.IgnoreNotFound(err))
	}
	lines, err := ports.Read(said.Data)
	if err != nil {
		return nil, nil //nolint:nilerr // somebody wrote into it: it is said anew
	}
	return lines, nil
}

func (r *Reconciler) write(ctx context.Context, shoot *gardencorev1beta1.Shoot, lines []ports.Line) error {
	data, err := ports.Write(lines)
	if err != nil {
		return fault.Wrap(fault.Internal, err)
	}
	said := record(shoot)
	_, err = controllerutil.CreateOrPatch(ctx, r.Client, said, func() error {
		said.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(shoot, gardencorev1beta1.SchemeGroupVersion.WithKind("Shoot"))}
		said.Data = data
		return nil
	})
	return fault.Wrap(fault.Transient, err)
}

// sayAsleep keeps the addresses of a cluster that sleeps for its waking up.
func (r *Reconciler) sayAsleep(ctx context.Context, shoot *gardencorev1beta1.Shoot) error {
	lines, err := r.read(ctx, shoot)
	if err != nil || len(lines) == 0 {
		return err
	}
	changed := false
	for i := range lines {
		if lines[i].Note != sleeping || lines[i].Reachable {
			lines[i].Reachable, lines[i].Note, changed = false, sleeping, true
		}
	}
	if !changed {
		return nil
	}
	return r.write(ctx, shoot, lines)
}

const sleeping = "the cluster is hibernated"

// Start implements manager.Runnable: it ends everything when the manager does.
func (r *Reconciler) Start(ctx context.Context) error {
	<-ctx.Done()
	r.running.close()
	r.Forward.Close()
	return nil
}
