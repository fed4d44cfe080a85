// Package operations has the rules of Bastions and Machines: what serves a
// cluster for a while.
//
// Package kinds calls it. It is pure and must not know where objects are kept.
package operations

import (
	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/operations"
	"golang.org/x/crypto/ssh"
	"k8s.io/apimachinery/pkg/util/validation/field"

	loamv1alpha1 "github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// ValidateBastion returns every problem of a Bastion; old is nil on create.
func ValidateBastion(bastion, old *operations.Bastion) field.ErrorList {
	path, spec := field.NewPath("spec"), &bastion.Spec
	shoot, key, ingress := path.Child("shootRef", "name"), path.Child("sshPublicKey"), path.Child("ingress")
	errs := check.Required(shoot, spec.ShootRef.Name, "names the cluster that the bastion leads to")
	problems := publicKey(key, spec.SSHPublicKey)
	errs = append(errs, problems...)
	if len(spec.Ingress) == 0 {
		errs = append(errs, field.Required(ingress, "says from where the bastion can be reached"))
	}
	for i, policy := range spec.Ingress {
		errs = append(errs, ipBlock(ingress.Index(i).Child("ipBlock"), policy)...)
	}
	if old != nil {
		errs = append(errs, check.Immutable(shoot, spec.ShootRef.Name, old.Spec.ShootRef.Name)...)
		if len(problems) == 0 {
			errs = append(errs, check.Immutable(key, spec.SSHPublicKey, old.Spec.SSHPublicKey)...)
		}
	}
	return errs
}

// publicKey wants the public half of a key. What is none may be the other half,
// of which the answer must not show more than the beginning.
func publicKey(path *field.Path, key string) field.ErrorList {
	if key == "" {
		return field.ErrorList{field.Required(path, "is who may log in")}
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key)); err != nil {
		return field.ErrorList{field.Invalid(path, check.Excerpt(key), "must be a public key as in authorized_keys, for example ssh-ed25519 AAAA...")}
	}
	return nil
}

func ipBlock(path *field.Path, policy operations.BastionIngressPolicy) field.ErrorList {
	block, errs := check.ParseNetwork(path.Child("cidr"), policy.IPBlock.CIDR)
	for i, text := range policy.IPBlock.Except {
		path := path.Child("except").Index(i)
		except, problems := check.ParseNetwork(path, text)
		errs = append(errs, problems...)
		inside := except.Prefix.Bits() > block.Prefix.Bits() && block.Prefix.Contains(except.Prefix.Addr())
		if len(problems) == 0 && block.Path != nil && !inside {
			errs = append(errs, field.Invalid(path, text, "must be a part of "+block.Prefix.String()))
		}
	}
	return errs
}

// ValidateBastionShoot wants the cluster behind a new bastion to have machines
// that can be reached; shoot is nil if there is none of that name.
func ValidateBastionShoot(bastion *operations.Bastion, shoot *core.Shoot) field.ErrorList {
	path, name := field.NewPath("spec", "shootRef", "name"), bastion.Spec.ShootRef.Name
	switch {
	case name == "":
		return nil
	case shoot == nil:
		return field.ErrorList{field.NotFound(path, name)}
	case shoot.DeletionTimestamp != nil:
		return field.ErrorList{field.Invalid(path, name, "is being deleted")}
	case shoot.Spec.SeedName == nil:
		return field.ErrorList{field.Invalid(path, name, "has no seed yet")}
	}
	settings := shoot.Spec.Provider.WorkersSettings
	if settings != nil && settings.SSHAccess != nil && !settings.SSHAccess.Enabled {
		return field.ErrorList{field.Invalid(path, name, "has spec.provider.workersSettings.sshAccess disabled")}
	}
	return nil
}

// ValidateMachine returns every problem of a Machine.
func ValidateMachine(machine *loamv1alpha1.Machine) field.ErrorList {
	path := field.NewPath("spec")
	errs := check.Required(path.Child("shootName"), machine.Spec.ShootName, "names the Shoot that the machine belongs to")
	errs = append(errs, check.Required(path.Child("pool"), machine.Spec.Pool, "names the worker pool")...)
	errs = append(errs, check.Required(path.Child("providerType"), machine.Spec.ProviderType, "names the machine driver")...)
	return append(errs, check.OneOf(path.Child("role"), machine.Spec.Role, loamv1alpha1.RoleControlPlane, loamv1alpha1.RoleWorker, loamv1alpha1.RoleBalancer)...)
}
