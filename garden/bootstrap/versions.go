package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
)

// managedVersions is the annotation that lists the versions which were put into
// a cloud profile from here.
const managedVersions = "loam.dev/kubernetes-versions"

// RefreshVersions makes the cloud profile offer versions, with or without "v", and
// the machine types of this host, and makes the profile if it is missing. A version that came from here and is
// no longer among them goes; versions that a user added stay, and one that a
// user took out is not put back.
func RefreshVersions(ctx context.Context, c client.Client, versions []string) error {
	wanted, err := normalize(versions)
	if err != nil {
		return err
	}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		profile := &corev1beta1.CloudProfile{}
		err := c.Get(ctx, client.ObjectKey{Name: Name}, profile)
		switch {
		case apierrors.IsNotFound(err):
			profile = cloudProfile()
			mergeVersions(profile, wanted)
			mergeTypes(profile)
			err = c.Create(ctx, profile)
		case err == nil:
			versions, types := mergeVersions(profile, wanted), mergeTypes(profile)
			if versions || types {
				err = c.Update(ctx, profile)
			}
		}
		if err != nil {
			return fmt.Errorf("offering Kubernetes versions in cloud profile %q: %w", Name, err)
		}
		return nil
	})
}

// normalize drops "v", sorts the newest first, and removes duplicates.
func normalize(versions []string) ([]string, error) {
	parsed := make([]*version.Version, 0, len(versions))
	for _, text := range versions {
		one, err := version.ParseSemantic(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "reading Kubernetes version %q: %w", text, err)
		}
		parsed = append(parsed, one)
	}
	slices.SortFunc(parsed, newestFirst)
	var texts []string
	for _, one := range parsed {
		texts = append(texts, one.String())
	}
	return slices.Compact(texts), nil
}

func newestFirst(a, b *version.Version) int {
	switch {
	case a.GreaterThan(b):
		return -1
	case b.GreaterThan(a):
		return 1
	default:
		return 0
	}
}

// mergeVersions tells whether it changed the profile.
func mergeVersions(profile *corev1beta1.CloudProfile, wanted []string) bool {
	before := profile.Annotations[managedVersions]
	managed := strings.FieldsFunc(before, func(r rune) bool { return r == ',' })
	changed := false
	offered := slices.DeleteFunc(profile.Spec.Kubernetes.Versions, func(v corev1beta1.ExpirableVersion) bool {
		gone := slices.Contains(managed, v.Version) && !slices.Contains(wanted, v.Version)
		changed = changed || gone
		return gone
	})
	for _, text := range wanted {
		known := slices.ContainsFunc(offered, func(v corev1beta1.ExpirableVersion) bool { return v.Version == text })
		if known || slices.Contains(managed, text) {
			continue
		}
		offered = append(offered, supported(text))
		managed = append(managed, text)
		changed = true
	}
	managed = slices.DeleteFunc(managed, func(text string) bool { return !slices.Contains(wanted, text) })
	slices.SortStableFunc(offered, func(a, b corev1beta1.ExpirableVersion) int {
		left, leftErr := version.ParseSemantic(a.Version)
		right, rightErr := version.ParseSemantic(b.Version)
		if leftErr != nil || rightErr != nil {
			return strings.Compare(b.Version, a.Version)
		}
		return newestFirst(left, right)
	})
	profile.Spec.Kubernetes.Versions = offered
	if after := strings.Join(managed, ","); after != before {
		metav1.SetMetaDataAnnotation(&profile.ObjectMeta, managedVersions, after)
		changed = true
	}
	return changed
}
