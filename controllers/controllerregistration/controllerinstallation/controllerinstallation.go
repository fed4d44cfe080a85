// Package controllerinstallation names what others may look for on a
// ControllerInstallation.
//
// Whoever reads installations may import it. It must not know how they are made:
// the controllers below it make them.
package controllerinstallation

import "github.com/loam-cloud/loam/controllers/controllerregistration/internal/wanted"

// SeedRefName is the label of an installation in a cluster that is Seed and
// Shoot at once, which only the Seed needs. Its value is the Seed's name.
const SeedRefName = wanted.SeedRefName
