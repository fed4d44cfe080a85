// Package kinds is the table of everything that the garden serves beside
// Kubernetes' own API: one short description per kind, and the rules that only
// one kind has.
//
// The garden's API server is its caller; package strategy does the work. It
// must not know how the server is put together.
package kinds

import (
	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/gardener/gardener/pkg/apis/operations"
	operationsv1alpha1 "github.com/gardener/gardener/pkg/apis/operations/v1alpha1"
	"github.com/gardener/gardener/pkg/apis/security"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	"github.com/gardener/gardener/pkg/apis/seedmanagement"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	loamv1alpha1 "github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/garden/access/identity"
	"github.com/loam-cloud/loam/garden/kinds/internal/lookup"
	"github.com/loam-cloud/loam/garden/strategy"
)

// Encrypted returns the resources of these groups that hold secrets, in the
// form that an encryption configuration wants: resource.group.
func Encrypted() []string { return []string{"internalsecrets." + core.GroupName} }

// Surroundings are what rules look at beside the object itself.
type Surroundings struct {
	// Stores reads objects of the kinds that are served here.
	Stores *strategy.Stores
	// Kubernetes reads what belongs to Kubernetes: Secrets, ConfigMaps,
	// Namespaces. It has all rights.
	Kubernetes kubernetes.Interface
	// Authorizer answers whether the user of a request may read what their
	// object names.
	Authorizer authorizer.Authorizer
	Clock      clock.PassiveClock
	// Issuer signs tokens of workload identities; nil serves none.
	Issuer *identity.Issuer
}

// rules are those that look at other objects and at time.
type rules struct {
	lookup.Objects
	clock clock.PassiveClock
}

// Groups returns every group, the most used first.
func Groups(s Surroundings) []strategy.Group {
	gardener := []string{"gardener"}
	r := rules{lookup.Objects{Stores: s.Stores, Kubernetes: s.Kubernetes, Authorizer: s.Authorizer}, s.Clock}
	return []strategy.Group{
		{Name: core.GroupName, Version: v1beta1.SchemeGroupVersion.Version, Categories: gardener, Kinds: coreKinds(r)},
		{Name: seedmanagement.GroupName, Version: seedmanagementv1alpha1.SchemeGroupVersion.Version, Categories: gardener, Kinds: seedManagementKinds(r)},
		{Name: operations.GroupName, Version: operationsv1alpha1.SchemeGroupVersion.Version, Categories: gardener, Kinds: operationsKinds(r)},
		{Name: security.GroupName, Version: securityv1alpha1.SchemeGroupVersion.Version, Categories: gardener, Kinds: securityKinds(r, s.Issuer)},
		{
			Name: loamv1alpha1.GroupName, Version: loamv1alpha1.SchemeGroupVersion.Version, Categories: []string{"loam"},
			WithoutProtobuf: true,
			Kinds:           loamKinds(),
		},
	}
}
