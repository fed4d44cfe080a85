package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/controllers/shoot/internal/target"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/shoots"
)

// publishMachines shows the cluster's machines as Machine objects.
func (o *operationRun) publishMachines(ctx context.Context, flow *shoots.Flow, cluster shoots.Cluster) error {
	reported, err := flow.Report(ctx, cluster)
	if err != nil {
		return err
	}
	existing := map[string]bool{}
	var problems []error
	for _, m := range reported {
		existing[m.Name] = true
		problems = append(problems, o.publishMachine(ctx, m))
	}
	var all v1alpha1.MachineList
	if err := o.Live.List(ctx, &all, client.InNamespace(o.shoot.Namespace), ofShoot(o.shoot.Name)); err != nil {
		return fault.Wrap(fault.Transient, err)
	}
	for i := range all.Items {
		if m := &all.Items[i]; !existing[m.Name] {
			problems = append(problems, client.IgnoreNotFound(o.Client.Delete(ctx, m)))
		}
	}
	return fault.Wrap(fault.Transient, errors.Join(problems...))
}

// ofShoot selects the machines of one Shoot.
func ofShoot(name string) client.MatchingFields {
	return client.MatchingFields{scheme.MachineShootName: name}
}

func (o *operationRun) publishMachine(ctx context.Context, m v1alpha1.Machine) error {
	have := &v1alpha1.Machine{ObjectMeta: o.owned(m.Name)}
	if _, err := controllerutil.CreateOrPatch(ctx, o.Client, have, func() error {
		have.OwnerReferences = o.owned(m.Name).OwnerReferences
		have.Spec = m.Spec
		have.Spec.ProviderType = o.shoot.Spec.Provider.Type
		return nil
	}); err != nil {
		return fmt.Errorf("publishing machine %q: %w", m.Name, err)
	}
	if equality.Semantic.DeepEqual(have.Status, m.Status) {
		return nil
	}
	base := have.DeepCopy()
	have.Status = m.Status
	return o.Client.Status().Patch(ctx, have, client.MergeFrom(base))
}

// kubeconfigLifetime bounds the certificate in the kubeconfig Secret;
// kubeconfigRenewal is what must be left of it, else it is made anew.
const (
	kubeconfigLifetime = 365 * 24 * time.Hour
	kubeconfigRenewal  = 90 * 24 * time.Hour
)

// accessInterval is how often the kubeconfig of a cluster to which nothing else
// is to be done is looked at.
const accessInterval = 24 * time.Hour

// renewAnnotation tells when a kubeconfig is to be made anew.
const renewAnnotation = "loam.dev/renew-after"

// renewal is when a kubeconfig is to be made anew: long ago when that is not known.
func renewal(secret *corev1.Secret) time.Time {
	at, err := time.Parse(time.RFC3339, secret.Annotations[renewAnnotation])
	if err != nil {
		return time.Time{}
	}
	return at
}

// publishKubeconfig keeps an administrator's kubeconfig in Secret
// <shoot>.kubeconfig.
func (o *operationRun) publishKubeconfig(ctx context.Context, flow *shoots.Flow, cluster shoots.Cluster, authorities shoots.Authorities) error {
	server, err := flow.Endpoint(ctx, cluster)
	if errors.Is(err, fault.Missing) {
		return nil // nothing to reach yet
	}
	if err != nil {
		return err
	}
	now := o.Clock.Now()
	secret := o.kubeconfigSecret()
	_, err = controllerutil.CreateOrPatch(ctx, o.Client, secret, func() error {
		same := bytes.Equal(secret.Data["ca.crt"], authorities["ca.crt"]) && bytes.Contains(secret.Data["kubeconfig"], []byte(server+"\n"))
		if same && now.Before(renewal(secret)) {
			return nil
		}
		file, err := authorities.Kubeconfig("loam-"+o.shoot.Name, server, shoots.Identity{
			User: "loam:admin", Groups: []string{"kubeadm:cluster-admins"}, Lifetime: kubeconfigLifetime,
		}, now)
		if err != nil {
			return err
		}
		secret.OwnerReferences = o.owned("").OwnerReferences
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, renewAnnotation, now.Add(kubeconfigLifetime-kubeconfigRenewal).UTC().Format(time.RFC3339))
		secret.Data = map[string][]byte{"kubeconfig": file, "ca.crt": authorities["ca.crt"]}
		return nil
	})
	if err != nil {
		return fmt.Errorf("publishing the kubeconfig: %w", fault.Wrap(fault.Transient, err))
	}
	return nil
}

func (o *operationRun) kubeconfigSecret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: o.owned(o.shoot.Name + ".kubeconfig")}
}

// established tells whether the cluster was whole once and has had a control
// plane, which one that began asleep has not: only then is there a kubeconfig.
func (o *operationRun) established(ctx context.Context) (bool, error) {
	if o.kind != gardencorev1beta1.LastOperationTypeReconcile {
		return false, nil
	}
	secret := o.kubeconfigSecret()
	if err := o.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		return false, fault.Wrap(fault.Transient, client.IgnoreNotFound(err))
	}
	return true, nil
}

// keepAccess makes the kubeconfig of a cluster to which nothing else is to be
// done anew in time.
func (o *operationRun) keepAccess(ctx context.Context) error {
	secret := o.kubeconfigSecret()
	err := o.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	// A cluster of before has no address in its status.
	addressed := len(o.shoot.Status.AdvertisedAddresses) > 0 || target.Hibernated(o.shoot)
	if err == nil && addressed && o.Clock.Now().Before(renewal(secret)) {
		return nil
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading the kubeconfig: %w", fault.Wrap(fault.Transient, err))
	}
	cluster, err := target.Cluster(o.shoot)
	if err != nil {
		return nil //nolint:nilerr // the last operation says so already
	}
	authorities, err := target.Authorities(ctx, o.Client, o.shoot)
	if errors.Is(err, fault.Missing) {
		return nil // never made
	}
	if err != nil {
		return err
	}
	flow := o.flow(ctx)
	if !addressed {
		if err := o.grantAccess(ctx, flow, cluster, authorities); err != nil {
			return err
		}
	}
	return errors.Join(o.publishKubeconfig(ctx, flow, cluster, authorities), o.publishAccess(ctx, flow, cluster, authorities))
}

// unpublish removes what was written for the Shoot: its Machines and its Secrets.
func (o *operationRun) unpublish(ctx context.Context) error {
	machines := &v1alpha1.MachineList{}
	if err := o.Live.List(ctx, machines, client.InNamespace(o.shoot.Namespace), ofShoot(o.shoot.Name)); err != nil {
		return fault.Wrap(fault.Transient, err)
	}
	doomed := []client.Object{o.kubeconfigSecret(), o.clientAuthority(), o.clusterAuthority(), &gardencorev1beta1.InternalSecret{ObjectMeta: o.owned(target.AuthoritiesName(o.shoot.Name))}}
	for i := range machines.Items {
		doomed = append(doomed, &machines.Items[i])
	}
	var problems []error
	for _, object := range doomed {
		if err := client.IgnoreNotFound(o.Client.Delete(ctx, object)); err != nil {
			problems = append(problems, fmt.Errorf("removing %T %q: %w", object, object.GetName(), err))
		}
	}
	return fault.Wrap(fault.Transient, errors.Join(problems...))
}
