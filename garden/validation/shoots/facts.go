// Package shoots has the rules for Shoots: what is wrong with one, given the one
// it replaces and what it refers to.
//
// The garden's table of kinds calls it with facts that it has read. It is pure
// and must not know stores, clients or clocks. Areas with many rules of their
// own are packages below this one.
package shoots

import (
	"time"

	"github.com/gardener/gardener/pkg/apis/core"

	"github.com/loam-cloud/loam/garden/validation/shoots/quotas"
)

// Facts are what the rules look at beside the Shoot. What a Shoot names and does
// not exist is nil.
type Facts struct {
	Now time.Time
	// Project owns the Shoot's namespace.
	Project *core.Project
	// Profile is what the cloud profile that the Shoot names offers.
	Profile *core.CloudProfileSpec
	// Seed is that of spec.seedName, OldSeed that of the Shoot before.
	Seed, OldSeed *core.Seed
	// Binding is the credentials or secret binding that the Shoot names,
	// OldBinding that of the Shoot before.
	Binding, OldBinding *Binding
	// ExposureClass tells whether the one that the Shoot names exists.
	ExposureClass bool
	// ManagedSeed is the name of the seed that the Shoot has become; empty if it
	// is none.
	ManagedSeed string
	// Quotas are those of the binding, with the other clusters that they count.
	Quotas []quotas.Quota
	// Binds says that the request came through the subresource binding, which
	// alone may change the seed.
	Binds bool
}

// Binding is what credentials and secret bindings have in common.
type Binding struct {
	// ProviderTypes are those that the credentials are for; empty means any.
	ProviderTypes []string
	// Credentials tells one set of credentials from another: kind, namespace and
	// name.
	Credentials string
}
