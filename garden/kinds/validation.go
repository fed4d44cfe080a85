package kinds

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/gardener/gardener/pkg/apis/operations"
	"github.com/gardener/gardener/pkg/apis/security"
	"github.com/gardener/gardener/pkg/apis/seedmanagement"
	rbacv1 "k8s.io/api/rbac/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	loamv1alpha1 "github.com/loam-cloud/loam/api/v1alpha1"
)

// projectNamespacePrefix begins the namespace of every project but the one that
// owns the namespace garden.
const projectNamespacePrefix = "garden-"

var specPath = field.NewPath("spec")

func required(path *field.Path, value, purpose string) field.ErrorList {
	if value != "" {
		return nil
	}
	return field.ErrorList{field.Required(path, purpose)}
}

func dnsLabel(name string, prefix bool) []string { return apivalidation.NameIsDNSLabel(name, prefix) }

func projectName(name string, prefix bool) []string {
	errs := shootName(name, prefix)
	// At least one character has to be left for the name of a Shoot.
	if limit := technicalIDLimit - len(technicalID("", "x")); len(name) > limit {
		errs = append(errs, fmt.Sprintf("must have at most %d characters, so that names derived from it fit", limit))
	}
	return errs
}

// recordProjectCreator names who made the project, and makes them its owner if
// no other is given.
func recordProjectCreator(ctx context.Context, project *core.Project) {
	user, ok := genericapirequest.UserFrom(ctx)
	if !ok {
		return
	}
	creator := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user.GetName()}
	project.Spec.CreatedBy = &creator
	if project.Spec.Owner == nil {
		project.Spec.Owner = creator.DeepCopy()
	}
}

func validateProject(_ context.Context, project, _ *core.Project) field.ErrorList {
	namespace := deref(project.Spec.Namespace)
	if project.Spec.Namespace == nil || namespace == v1beta1constants.GardenNamespace {
		return nil
	}
	path := specPath.Child("namespace")
	var errs field.ErrorList
	for _, problem := range validation.IsDNS1123Label(namespace) {
		errs = append(errs, field.Invalid(path, namespace, problem))
	}
	if !strings.HasPrefix(namespace, projectNamespacePrefix) {
		errs = append(errs, field.Invalid(path, namespace, fmt.Sprintf("must begin with %q", projectNamespacePrefix)))
	}
	return errs
}

func validateSeed(_ context.Context, seed, _ *core.Seed) field.ErrorList {
	errs := required(specPath.Child("provider", "type"), seed.Spec.Provider.Type, "says what the seed's machines are")
	errs = append(errs, required(specPath.Child("provider", "region"), seed.Spec.Provider.Region, "says where the seed is")...)
	networks := specPath.Child("networks")
	errs = append(errs, cidr(networks.Child("pods"), seed.Spec.Networks.Pods)...)
	errs = append(errs, cidr(networks.Child("services"), seed.Spec.Networks.Services)...)
	if nodes := seed.Spec.Networks.Nodes; nodes != nil {
		errs = append(errs, cidr(networks.Child("nodes"), *nodes)...)
	}
	return errs
}

func cidr(path *field.Path, value string) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "is a network, for example 10.3.0.0/16")}
	}
	if _, err := netip.ParsePrefix(value); err != nil {
		return field.ErrorList{field.Invalid(path, value, "must be a network, for example 10.3.0.0/16")}
	}
	return nil
}

func validateCloudProfile(_ context.Context, profile, _ *core.CloudProfile) field.ErrorList {
	errs := required(specPath.Child("type"), profile.Spec.Type, "says what the machines are")
	path := specPath.Child("kubernetes", "versions")
	seen := map[string]bool{}
	for i, version := range profile.Spec.Kubernetes.Versions {
		path := path.Index(i).Child("version")
		errs = append(errs, validateVersion(path, version.Version)...)
		if seen[version.Version] {
			errs = append(errs, field.Duplicate(path, version.Version))
		}
		seen[version.Version] = true
	}
	return errs
}

func validateNamespacedCloudProfile(_ context.Context, profile, _ *core.NamespacedCloudProfile) field.ErrorList {
	path := specPath.Child("parent")
	errs := required(path.Child("name"), profile.Spec.Parent.Name, "names the cloud profile that it extends")
	if kind := profile.Spec.Parent.Kind; kind != v1beta1constants.CloudProfileReferenceKindCloudProfile {
		errs = append(errs, field.NotSupported(path.Child("kind"), kind, []string{v1beta1constants.CloudProfileReferenceKindCloudProfile}))
	}
	return errs
}

func validateBackupBucket(_ context.Context, bucket, _ *core.BackupBucket) field.ErrorList {
	errs := required(specPath.Child("provider", "type"), bucket.Spec.Provider.Type, "says what holds the bucket")
	return append(errs, required(specPath.Child("provider", "region"), bucket.Spec.Provider.Region, "says where the bucket is")...)
}

func validateBackupEntry(_ context.Context, entry, _ *core.BackupEntry) field.ErrorList {
	return required(specPath.Child("bucketName"), entry.Spec.BucketName, "names the BackupBucket that holds the entry")
}

func validateControllerRegistration(_ context.Context, registration, _ *core.ControllerRegistration) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, resource := range registration.Spec.Resources {
		path := specPath.Child("resources").Index(i)
		errs = append(errs, required(path.Child("kind"), resource.Kind, "is a kind of extension resource")...)
		errs = append(errs, required(path.Child("type"), resource.Type, "is a type of that kind")...)
		if key := resource.Kind + "/" + resource.Type; seen[key] {
			errs = append(errs, field.Duplicate(path, key))
		} else {
			seen[key] = true
		}
	}
	return errs
}

func validateControllerInstallation(_ context.Context, installation, _ *core.ControllerInstallation) field.ErrorList {
	errs := required(specPath.Child("registrationRef", "name"), installation.Spec.RegistrationRef.Name, "names the ControllerRegistration")
	if (installation.Spec.SeedRef == nil) == (installation.Spec.ShootRef == nil) {
		errs = append(errs, field.Required(specPath.Child("seedRef"), "exactly one of seedRef and shootRef says where to install"))
	}
	return errs
}

func validateExposureClass(_ context.Context, class, _ *core.ExposureClass) field.ErrorList {
	return required(field.NewPath("handler"), class.Handler, "names what exposes the control plane")
}

func validateQuota(_ context.Context, quota, _ *core.Quota) field.ErrorList {
	path := specPath.Child("scope")
	errs := required(path.Child("apiVersion"), quota.Spec.Scope.APIVersion, "is core.gardener.cloud/v1beta1 for projects, v1 for secrets")
	errs = append(errs, required(path.Child("kind"), quota.Spec.Scope.Kind, "says what the quota counts over: Project, Secret or WorkloadIdentity")...)
	for _, name := range slices.Sorted(maps.Keys(quota.Spec.Metrics)) {
		if value := quota.Spec.Metrics[name]; value.Sign() < 0 {
			errs = append(errs, field.Invalid(specPath.Child("metrics").Key(string(name)), value.String(), "must be 0 or more"))
		}
	}
	return errs
}

func validateSecretBinding(_ context.Context, binding, _ *core.SecretBinding) field.ErrorList {
	return required(field.NewPath("secretRef", "name"), binding.SecretRef.Name, "names the secret with the credentials")
}

// validateInternalSecret holds an immutable secret to what it was.
func validateInternalSecret(_ context.Context, secret, old *core.InternalSecret) field.ErrorList {
	var errs field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(secret.Data)) {
		for _, problem := range validation.IsConfigMapKey(key) {
			errs = append(errs, field.Invalid(field.NewPath("data").Key(key), key, problem))
		}
	}
	if old == nil {
		return errs
	}
	if secret.Type != old.Type {
		errs = append(errs, field.Invalid(field.NewPath("type"), secret.Type, apivalidation.FieldImmutableErrorMsg))
	}
	if !deref(old.Immutable) {
		return errs
	}
	if !deref(secret.Immutable) {
		errs = append(errs, field.Forbidden(field.NewPath("immutable"), "cannot be taken back"))
	}
	if !maps.EqualFunc(secret.Data, old.Data, slices.Equal) {
		errs = append(errs, field.Forbidden(field.NewPath("data"), "cannot be changed while the secret is immutable"))
	}
	return errs
}

func validateManagedSeed(_ context.Context, seed, _ *seedmanagement.ManagedSeed) field.ErrorList {
	return required(specPath.Child("shoot", "name"), shootOf(seed), "names the cluster that becomes a seed")
}

func validateManagedSeedSet(_ context.Context, set, _ *seedmanagement.ManagedSeedSet) field.ErrorList {
	if replicas := deref(set.Spec.Replicas); replicas < 0 {
		return field.ErrorList{field.Invalid(specPath.Child("replicas"), replicas, "must be 0 or more")}
	}
	return nil
}

func validateBastion(_ context.Context, bastion, _ *operations.Bastion) field.ErrorList {
	errs := required(specPath.Child("shootRef", "name"), bastion.Spec.ShootRef.Name, "names the cluster that the bastion leads to")
	errs = append(errs, required(specPath.Child("sshPublicKey"), bastion.Spec.SSHPublicKey, "is who may log in")...)
	for i, policy := range bastion.Spec.Ingress {
		errs = append(errs, cidr(specPath.Child("ingress").Index(i).Child("ipBlock", "cidr"), policy.IPBlock.CIDR)...)
	}
	return errs
}

func validateCredentialsBinding(_ context.Context, binding, _ *security.CredentialsBinding) field.ErrorList {
	path := field.NewPath("credentialsRef")
	errs := required(field.NewPath("provider", "type"), binding.Provider.Type, "says what infrastructure the credentials are for")
	errs = append(errs, required(path.Child("kind"), binding.CredentialsRef.Kind, "is Secret, InternalSecret or WorkloadIdentity")...)
	return append(errs, required(path.Child("name"), binding.CredentialsRef.Name, "names the credentials")...)
}

func validateWorkloadIdentity(_ context.Context, identity, _ *security.WorkloadIdentity) field.ErrorList {
	return required(specPath.Child("targetSystem", "type"), identity.Spec.TargetSystem.Type, "says what system trusts the identity")
}

func validateMachine(_ context.Context, machine, _ *loamv1alpha1.Machine) field.ErrorList {
	errs := required(specPath.Child("shootName"), machine.Spec.ShootName, "names the Shoot that the machine belongs to")
	errs = append(errs, required(specPath.Child("pool"), machine.Spec.Pool, "names the worker pool")...)
	errs = append(errs, required(specPath.Child("providerType"), machine.Spec.ProviderType, "names the machine driver")...)
	if role := machine.Spec.Role; role != loamv1alpha1.RoleControlPlane && role != loamv1alpha1.RoleWorker {
		errs = append(errs, field.NotSupported(specPath.Child("role"), role, []loamv1alpha1.MachineRole{loamv1alpha1.RoleControlPlane, loamv1alpha1.RoleWorker}))
	}
	return errs
}
