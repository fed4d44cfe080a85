package kinds

import (
	"fmt"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

func deref[T any](pointer *T) (value T) {
	if pointer != nil {
		value = *pointer
	}
	return value
}

func derefReference(ref *corev1.ObjectReference) corev1.ObjectReference { return deref(ref) }

func subjectName(subject *rbacv1.Subject) string { return deref(subject).Name }

func namespacedName(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

func agentVersion(agent *core.Gardener) string { return deref(agent).Version }

// lastOperation is, for example, "Create Processing (40%)".
func lastOperation(operation *core.LastOperation) string {
	if operation == nil {
		return "<pending>"
	}
	return fmt.Sprintf("%s %s (%d%%)", operation.Type, operation.State, operation.Progress)
}

func conditionStatus(conditions []core.Condition, name core.ConditionType) string {
	for _, condition := range conditions {
		if condition.Type == name {
			return string(condition.Status)
		}
	}
	return ""
}

// readiness is the worst of all conditions, in one word.
func readiness(conditions []core.Condition) string {
	if len(conditions) == 0 {
		return "Unknown"
	}
	result := "Ready"
	for _, condition := range conditions {
		switch condition.Status {
		case core.ConditionTrue:
		case core.ConditionFalse:
			return "NotReady"
		case core.ConditionProgressing:
			if result == "Ready" {
				result = "Progressing"
			}
		default:
			result = "Unknown"
		}
	}
	return result
}

func versionList(versions []core.ExpirableVersion) string {
	names := make([]string, len(versions))
	for i, version := range versions {
		names[i] = version.Version
	}
	return strings.Join(names, ", ")
}
