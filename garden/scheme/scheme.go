// Package scheme knows the Go types behind everything that the garden serves.
//
// Clients take Client, the API server takes Server. It must not know how
// objects are stored or validated.
package scheme

import (
	authenticationv1alpha1 "github.com/gardener/gardener/pkg/apis/authentication/v1alpha1"
	coreinstall "github.com/gardener/gardener/pkg/apis/core/install"
	operationsinstall "github.com/gardener/gardener/pkg/apis/operations/install"
	securityinstall "github.com/gardener/gardener/pkg/apis/security/install"
	seedmanagementinstall "github.com/gardener/gardener/pkg/apis/seedmanagement/install"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	kubescheme "k8s.io/client-go/kubernetes/scheme"

	loamv1alpha1 "github.com/loam-cloud/loam/api/v1alpha1"
)

// Client returns a scheme for clients of the garden: Kubernetes' types as
// client-go has them, Gardener's groups in their served versions, and Loam's
// own. Each call returns a new scheme, which the caller may extend.
func Client() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		kubescheme.AddToScheme,
		coreinstall.AddToScheme,
		seedmanagementinstall.AddToScheme,
		operationsinstall.AddToScheme,
		securityinstall.AddToScheme,
		authenticationv1alpha1.AddToScheme,
		loamv1alpha1.AddToScheme,
	} {
		// Registration fails only when two Go types claim one kind: a defect
		// that every test of this package would meet.
		utilruntime.Must(add(scheme))
	}
	return scheme
}
