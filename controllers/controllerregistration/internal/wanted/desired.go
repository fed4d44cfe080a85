package wanted

import (
	"slices"

	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Labels that say of what an installation was made.
const (
	registrationHash = "registration-spec-hash"
	deploymentHash   = "deployment-hash"
	seedHash         = "seed-spec-hash"
	shootHash        = "shoot-spec-hash"
)

// Source is what an installation is made of.
type Source struct {
	Registration *gardencorev1beta1.ControllerRegistration
	// Deployment is nil if the registration has none.
	Deployment *gardencorev1.ControllerDeployment
	// Resources are the Secrets and ConfigMaps that the deployment names, with
	// their versions.
	Resources []corev1.ObjectReference
	// Seed and Shoot are where to install; one may be nil, and then stays as it is.
	Seed  *gardencorev1beta1.Seed
	Shoot *gardencorev1beta1.Shoot
	// SeedOnly marks it as one that only the Seed needs, though it is in a Shoot.
	SeedOnly bool
}

// Apply makes an installation what it has to be. It changes nothing if it was
// made of the same: versions alone do not count, but those of resources.
func (s Source) Apply(installation *gardencorev1beta1.ControllerInstallation) error {
	hashes, err := s.hashes()
	if err != nil {
		return err
	}
	changed := installation.UID == "" || !slices.Equal(installation.Spec.ResourceRefs, s.Resources)
	for label, hash := range hashes {
		if installation.Labels[label] != hash {
			changed = true
		}
		setLabel(installation, label, hash)
	}
	s.mark(installation)
	if !changed && !s.moved(installation) {
		return nil
	}
	spec := &installation.Spec
	spec.RegistrationRef = corev1.ObjectReference{Name: s.Registration.Name, ResourceVersion: s.Registration.ResourceVersion}
	spec.DeploymentRef = nil
	if s.Deployment != nil {
		spec.DeploymentRef = &corev1.ObjectReference{Name: s.Deployment.Name, ResourceVersion: s.Deployment.ResourceVersion}
	}
	if s.Seed != nil {
		spec.SeedRef = &corev1.ObjectReference{Name: s.Seed.Name, ResourceVersion: s.Seed.ResourceVersion}
	}
	if s.Shoot != nil {
		spec.ShootRef = &corev1.ObjectReference{Namespace: s.Shoot.Namespace, Name: s.Shoot.Name, ResourceVersion: s.Shoot.ResourceVersion}
	}
	spec.ResourceRefs = s.Resources
	return nil
}

// moved tells whether a reference leads elsewhere than it has to.
func (s Source) moved(installation *gardencorev1beta1.ControllerInstallation) bool {
	spec := &installation.Spec
	return s.Seed != nil && (spec.SeedRef == nil || spec.SeedRef.Name != s.Seed.Name) ||
		s.Shoot != nil && spec.ShootRef == nil ||
		(s.Deployment == nil) != (spec.DeploymentRef == nil) ||
		s.Deployment != nil && spec.DeploymentRef.Name != s.Deployment.Name
}

// hashes are the labels that depend on what it is made of; empty means none.
func (s Source) hashes() (map[string]string, error) {
	values := map[string]any{registrationHash: s.Registration.Spec}
	switch {
	case s.Seed != nil && (s.Shoot == nil || s.SeedOnly):
		values[seedHash] = s.Seed.Spec
	case s.Shoot != nil:
		values[shootHash] = s.Shoot.Spec
	}
	if d := s.Deployment; d != nil {
		// The annotations hold what the older version of the API has in fields.
		values[deploymentHash] = []any{d.Helm, d.InjectGardenKubeconfig, d.Resources,
			d.Annotations[gardencorev1.MigrationControllerDeploymentType], d.Annotations[gardencorev1.MigrationControllerDeploymentProviderConfig]}
	}
	hashes := map[string]string{deploymentHash: "", seedHash: "", shootHash: ""}
	for label, value := range values {
		hash, err := Hash(value)
		if err != nil {
			return nil, err
		}
		hashes[label] = hash
	}
	return hashes, nil
}

// mark puts labels and annotations right that are not hashes.
func (s Source) mark(installation *gardencorev1beta1.ControllerInstallation) {
	only := ""
	if s.SeedOnly {
		only = s.Seed.Name
	}
	setLabel(installation, SeedRefName, only)
	const enforce = v1beta1constants.AnnotationPodSecurityEnforce
	if value, found := s.Registration.Annotations[enforce]; found {
		metav1.SetMetaDataAnnotation(&installation.ObjectMeta, enforce, value)
	} else {
		delete(installation.Annotations, enforce)
	}
}

// Share makes an installation that the Shoot needs as well the Seed's.
func Share(installation *gardencorev1beta1.ControllerInstallation, seed *gardencorev1beta1.Seed) {
	setLabel(installation, SeedRefName, "")
	if ref := installation.Spec.SeedRef; ref == nil || ref.Name != seed.Name {
		installation.Spec.SeedRef = &corev1.ObjectReference{Name: seed.Name, ResourceVersion: seed.ResourceVersion}
	}
}

// Unshare leaves an installation to the Shoot.
func Unshare(installation *gardencorev1beta1.ControllerInstallation) {
	setLabel(installation, SeedRefName, "")
	setLabel(installation, seedHash, "")
	installation.Spec.SeedRef = nil
}

// Leave leaves an installation that the Shoot no longer needs to its Seed.
func Leave(installation *gardencorev1beta1.ControllerInstallation) {
	setLabel(installation, SeedRefName, installation.Spec.SeedRef.Name)
}

// OnlySeed tells whether only a Seed needs an installation in a Shoot.
func OnlySeed(installation *gardencorev1beta1.ControllerInstallation) bool {
	return installation.Labels[SeedRefName] != ""
}

func setLabel(installation *gardencorev1beta1.ControllerInstallation, key, value string) {
	if value == "" {
		delete(installation.Labels, key)
	} else {
		metav1.SetMetaDataLabel(&installation.ObjectMeta, key, value)
	}
}
