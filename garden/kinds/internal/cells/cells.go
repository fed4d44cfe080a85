// Package cells words what tables of several kinds show.
//
// The kinds are its callers. It must not know which kind a cell is of.
package cells

import (
	"fmt"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
)

// LastOperation is, for example, "Create Processing (40%)".
func LastOperation(operation *core.LastOperation) string {
	if operation == nil {
		return "<pending>"
	}
	return fmt.Sprintf("%s %s (%d%%)", operation.Type, operation.State, operation.Progress)
}

// Condition is the status of the condition with a name, empty when there is none.
func Condition(conditions []core.Condition, name core.ConditionType) string {
	for _, condition := range conditions {
		if condition.Type == name {
			return string(condition.Status)
		}
	}
	return ""
}

// Readiness is the worst of all conditions, in one word.
func Readiness(conditions []core.Condition) string {
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

// Versions are the versions on offer, in their order.
func Versions(versions []core.ExpirableVersion) string {
	names := make([]string, len(versions))
	for i, version := range versions {
		names[i] = version.Version
	}
	return strings.Join(names, ", ")
}
