package project

import (
	"context"
	"fmt"
	"maps"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/loam-cloud/loam/fault"
)

// quotaName is that of the ResourceQuota in every project's namespace.
const quotaName = "gardener"

// ensureQuota bounds the namespace as the first configuration that selects the
// Project says. A limit that was raised or lowered for the Project stays.
func (r *Reconciler) ensureQuota(ctx context.Context, project *gardencorev1beta1.Project, namespace string) error {
	wanted, err := quotaFor(project, r.Config.Quotas)
	if err != nil || wanted == nil {
		return err
	}
	have := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: quotaName}}
	if _, err := controllerutil.CreateOrPatch(ctx, r.Client, have, func() error {
		have.Labels = merged(have.Labels, wanted.Labels)
		have.Annotations = merged(have.Annotations, wanted.Annotations)
		hard := corev1.ResourceList{}
		for name, limit := range wanted.Spec.Hard {
			if existing, found := have.Spec.Hard[name]; found {
				limit = existing
			}
			hard[name] = limit
		}
		spec := wanted.Spec.DeepCopy()
		spec.Hard = hard
		have.Spec = *spec
		return r.own(project, have)
	}); err != nil {
		return fmt.Errorf("writing the quota of namespace %q: %w", namespace, err)
	}
	return nil
}

func quotaFor(project *gardencorev1beta1.Project, configs []controllermanagerconfigv1alpha1.QuotaConfiguration) (*corev1.ResourceQuota, error) {
	for i := range configs {
		selector := labels.Everything()
		if configs[i].ProjectSelector != nil {
			var err error
			if selector, err = metav1.LabelSelectorAsSelector(configs[i].ProjectSelector); err != nil {
				return nil, fault.New(fault.Invalid, "controllers.project.quotas[%d].projectSelector: %w", i, err)
			}
		}
		if selector.Matches(labels.Set(project.Labels)) {
			return &configs[i].Config, nil
		}
	}
	return nil, nil
}

// merged adds entries without taking any away.
func merged(have, more map[string]string) map[string]string {
	if have == nil && len(more) > 0 {
		have = map[string]string{}
	}
	maps.Copy(have, more)
	return have
}
