package components

import (
	"regexp"
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// plural is the name of a resource: small letters and digits.
var plural = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// validateEncryption checks which resources are encrypted beside Secrets, and how.
func validateEncryption(config *core.EncryptionConfig, path *field.Path) field.ErrorList {
	if config == nil {
		return nil
	}
	var errs field.ErrorList
	for i, resource := range config.Resources {
		at := path.Child("resources").Index(i)
		name, group, grouped := strings.Cut(resource, ".")
		switch {
		case strings.Contains(resource, "*"):
			errs = append(errs, field.Invalid(at, resource, "must name one resource: wildcards are not supported"))
		case resource == "secrets" || resource == "secrets.":
			errs = append(errs, field.Forbidden(at, "Secrets are encrypted always"))
		case !plural.MatchString(name) || grouped && len(validation.IsDNS1123Subdomain(group)) > 0:
			errs = append(errs, field.Invalid(at, resource, "must be a resource in plural, with its group if it has one: configmaps, deployments.apps"))
		}
	}
	errs = append(errs, check.UniqueStrings(path.Child("resources"), config.Resources)...)
	if kind := config.Provider.Type; kind != nil {
		errs = append(errs, check.OneOf(path.Child("provider", "type"), *kind, core.EncryptionProviderTypeAESCBC, core.EncryptionProviderTypeAESGCM, core.EncryptionProviderTypeSecretbox)...)
	}
	return errs
}

// validateEncryptionUpdate keeps what is encrypted as it is while the key is
// being rotated: every object is written anew then, and has to be found.
func validateEncryptionUpdate(shoot, old *core.Shoot, path *field.Path) field.ErrorList {
	now, was := encryption(shoot), encryption(old)
	if slices.Equal(now.Resources, was.Resources) && providerType(now) == providerType(was) {
		return nil
	}
	credentials := shoot.Status.Credentials
	if credentials == nil || credentials.Rotation == nil || credentials.Rotation.ETCDEncryptionKey == nil {
		return nil
	}
	if phase := credentials.Rotation.ETCDEncryptionKey.Phase; phase != "" && phase != core.RotationCompleted {
		return field.ErrorList{field.Forbidden(path, "cannot be changed while the encryption key is being rotated, which is in phase "+string(phase))}
	}
	return nil
}

func encryption(shoot *core.Shoot) core.EncryptionConfig {
	if server := shoot.Spec.Kubernetes.KubeAPIServer; server != nil && server.EncryptionConfig != nil {
		return *server.EncryptionConfig
	}
	return core.EncryptionConfig{}
}

func providerType(config core.EncryptionConfig) core.EncryptionProviderType {
	if config.Provider.Type == nil {
		return core.EncryptionProviderTypeAESCBC
	}
	return *config.Provider.Type
}
