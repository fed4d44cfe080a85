package resourcequota

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// need is how many objects of a kind a Shoot puts into its project's namespace.
type need struct {
	// limits are the names by which a ResourceQuota can bound the kind.
	limits []corev1.ResourceName
	// annotation says which number a limit was raised for.
	annotation string
	perShoot   int64
}

// needs is the table of kinds. A number that grows with a release raises the
// limits of all projects by what is new. (Numbers of Gardener's controller manager
// at v1.150.)
func needs() []need {
	return []need{
		{[]corev1.ResourceName{"count/secrets", corev1.ResourceSecrets}, "quota.gardener.cloud/secrets-per-shoot", 4},
		{[]corev1.ResourceName{"count/configmaps", corev1.ResourceConfigMaps}, "quota.gardener.cloud/configmaps-per-shoot", 2},
	}
}

// shootLimit bounds the Shoots of a namespace.
const shootLimit corev1.ResourceName = "count/shoots.core.gardener.cloud"

// decide raises the limits of a quota that are too low for its Shoots, and notes
// for which number. Limits that are not set stay so. There are as many Shoots as
// the quota allows, or else as exist.
func decide(quota *corev1.ResourceQuota, exist int64) {
	shoots := exist
	if limit, found := quota.Spec.Hard[shootLimit]; found {
		shoots = limit.Value()
	}
	for _, n := range needs() {
		for _, name := range n.limits {
			if limit, found := quota.Spec.Hard[name]; found {
				if more := n.missing(limit.Value(), shoots, quota.Annotations[n.annotation]); more > 0 {
					limit.Add(*resource.NewQuantity(more, resource.DecimalSI))
					quota.Spec.Hard[name] = limit
				}
			}
		}
		if n.bounded(quota) {
			if quota.Annotations == nil {
				quota.Annotations = map[string]string{}
			}
			quota.Annotations[n.annotation] = strconv.FormatInt(n.perShoot, 10)
		}
	}
}

// missing is by how much a limit is to be raised. One that was raised already, for
// fewer objects per Shoot, gets what is new, because users may have changed it
// since.
func (n need) missing(limit, shoots int64, raisedFor string) int64 {
	former, err := strconv.ParseInt(raisedFor, 10, 64)
	if err != nil || former < 0 {
		return n.perShoot*shoots - limit
	}
	return (n.perShoot - former) * shoots
}

func (n need) bounded(quota *corev1.ResourceQuota) bool {
	for _, name := range n.limits {
		if _, found := quota.Spec.Hard[name]; found {
			return true
		}
	}
	return false
}
