package certificatesigningrequest_test

import (
	"context"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	certificatesclientv1 "k8s.io/client-go/kubernetes/typed/certificates/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/certificatesigningrequest"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

// interruptible lets decisions fail as a process does that is killed there.
type interruptible struct {
	certificatesclientv1.CertificateSigningRequestInterface
	killed bool
}

// UpdateApproval implements CertificateSigningRequestInterface.
func (i *interruptible) UpdateApproval(ctx context.Context, name string, csr *certificatesv1.CertificateSigningRequest, options metav1.UpdateOptions) (*certificatesv1.CertificateSigningRequest, error) {
	if i.killed {
		return nil, controllertest.ErrInjected
	}
	return i.CertificateSigningRequestInterface.UpdateApproval(ctx, name, csr, options)
}

// TestInterrupted kills the controller before it asks for rights, and before it
// decides, and wants one decision after the next start.
func TestInterrupted(t *testing.T) {
	c, writes := controllertest.Client(t)
	certificates, err := certificatesclientv1.NewForConfig(gardentest.Start(t).RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	for name, kill := range map[string]func(*interruptible){
		"asking for rights": func(*interruptible) { writes.Fail(1) },
		"deciding":          func(i *interruptible) { i.killed = true },
	} {
		seed := "s" + rand.String(5)
		agent := gardentest.ClientFor(t, gardentest.User(t, "gardener.cloud:system:seed:"+seed, "gardener.cloud:system:seeds"))
		csr := agentRequest(seed).object(t)
		controllertest.Create(t, agent, csr)
		decisions := &interruptible{CertificateSigningRequestInterface: certificates.CertificateSigningRequests()}
		r := &certificatesigningrequest.Reconciler{Client: c, CertificatesClient: decisions}
		run := func() error {
			_, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(csr)})
			return err
		}
		kill(decisions)
		if err := run(); err == nil {
			t.Errorf("%s: it was not killed", name)
		}
		writes.Fail(0)
		decisions.killed = false
		for range 2 {
			if err := run(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if found := controllertest.Refresh(t, csr).Status.Conditions; len(found) != 1 || found[0].Type != certificatesv1.CertificateApproved || found[0].Reason != "AutoApproved" {
			t.Errorf("%s: it ended with %+v", name, found)
		}
	}
}
