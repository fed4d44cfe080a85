// Package certificatesigningrequest approves the certificates that agents ask
// for: those of seeds, and of clusters that look after themselves. app adds it
// to the fleet's controllers.
//
// It must not sign: that is Kubernetes' own signer, for approved requests.
package certificatesigningrequest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certificatesclientv1 "k8s.io/client-go/kubernetes/typed/certificates/v1"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/observe"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/access/agentcert"
)

// Name is the controller's name.
const Name = "certificatesigningrequest"

// defaultSyncs is Gardener's default number of workers.
const defaultSyncs = 5

// Reconciler approves or denies certificate requests of agents. It reads them
// and the Secrets of bootstrap tokens, asks for the rights of who made them, and
// writes their approval.
type Reconciler struct {
	Client             client.Client
	CertificatesClient certificatesclientv1.CertificateSigningRequestInterface
	Config             controllermanagerconfigv1alpha1.CertificateSigningRequestControllerConfiguration
}

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: "certificatesigningrequests.certificates.k8s.io"}, {Resource: "secrets"}},
		Writes: []declaration.Write{
			{Resource: "certificatesigningrequests.certificates.k8s.io/approval", Verbs: []string{"update"}, Fields: []string{"status.conditions"}},
			{Resource: "signers.certificates.k8s.io", Verbs: []string{"approve"}, Names: []string{certificatesv1.KubeAPIServerClientSignerName}},
			{Resource: "subjectaccessreviews.authorization.k8s.io", Verbs: []string{"create"}},
		},
	}
}

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.CertificatesClient == nil {
		certificates, err := certificatesclientv1.NewForConfig(mgr.GetConfig())
		if err != nil {
			return fmt.Errorf("making a client for certificate requests: %w", err)
		}
		r.CertificatesClient = certificates.CertificateSigningRequests()
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&certificatesv1.CertificateSigningRequest{}, builder.WithPredicates(predicate.Funcs{
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		WithOptions(controller.Options{MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, defaultSyncs)}).
		Complete(observe.Reconciler(Name, r))
}

// Reconcile decides about one request, once.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	csr := &certificatesv1.CertificateSigningRequest{}
	if err := r.Client.Get(ctx, request.NamespacedName, csr); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if decided(csr) {
		return reconcile.Result{}, nil
	}
	asked, mine := read(csr)
	if !mine {
		return reconcile.Result{}, nil
	}
	token, err := r.token(ctx, csr.Spec.Username)
	if err != nil {
		return reconcile.Result{}, err
	}
	if problem := asked.problem(csr.Spec.Username, token); problem != "" {
		return reconcile.Result{}, r.conclude(ctx, csr, certificatesv1.CertificateDenied, "AutoDenied", problem)
	}
	if err := r.authorize(ctx, csr, asked.subresource()); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, r.conclude(ctx, csr, certificatesv1.CertificateApproved, "AutoApproved", asked.message())
}

// token finds the bootstrap token that a user is; nil for other users.
func (r *Reconciler) token(ctx context.Context, username string) (*bootstrapToken, error) {
	id, found := strings.CutPrefix(username, bootstrapapi.BootstrapUserPrefix)
	if !found {
		return nil, nil
	}
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: bootstraputil.BootstrapTokenSecretName(id)}
	if err := r.Client.Get(ctx, key, secret); err != nil {
		return nil, fmt.Errorf("reading bootstrap token %q: %w", id, err)
	}
	return &bootstrapToken{
		id:          id,
		description: string(secret.Data[bootstrapapi.BootstrapTokenDescriptionKey]),
		seed:        secret.Annotations[agentcert.SeedAnnotation],
	}, nil
}

// errNotAllowed is told with who asked; the request is looked at again, because
// rights may come.
var errNotAllowed = errors.New("may not be given a certificate without approval")

// authorize asks whether who made the request has the right to be approved.
func (r *Reconciler) authorize(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, subresource string) error {
	extra := map[string]authorizationv1.ExtraValue{}
	for key, value := range csr.Spec.Extra {
		extra[key] = authorizationv1.ExtraValue(value)
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: csr.Spec.Username, Groups: csr.Spec.Groups, UID: csr.Spec.UID, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "create", Group: certificatesv1.GroupName, Version: "*", Resource: "certificatesigningrequests", Subresource: subresource,
		},
	}}
	if err := r.Client.Create(ctx, review); err != nil {
		return fmt.Errorf("asking for the rights of %q: %w", csr.Spec.Username, err)
	}
	if !review.Status.Allowed {
		return fault.Wrap(fault.Denied, fmt.Errorf("%w: %q lacks create on certificatesigningrequests/%s", errNotAllowed, csr.Spec.Username, subresource))
	}
	return nil
}

// conclude writes the decision. Somebody else's that came first wins.
func (r *Reconciler) conclude(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, decision certificatesv1.RequestConditionType, reason, message string) error {
	csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: decision, Status: corev1.ConditionTrue, Reason: reason, Message: message,
	})
	if _, err := r.CertificatesClient.UpdateApproval(ctx, csr.Name, csr, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("deciding certificate request %q: %w", csr.Name, err)
	}
	log.FromContext(ctx).Info("Decided a certificate request", "decision", string(decision), "requester", csr.Spec.Username, "why", message)
	return nil
}
