package shootstate

import (
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
)

// operation reads "Restore Processing"; "" is none.
func operation(text string) *gardencorev1beta1.LastOperation {
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil
	}
	return &gardencorev1beta1.LastOperation{Type: gardencorev1beta1.LastOperationType(words[0]), State: gardencorev1beta1.LastOperationState(words[1])}
}

func TestDecide(t *testing.T) {
	for text, want := range map[string]verdict{
		"Migrate Processing": hold, "Migrate Succeeded": hold, "Migrate Error": hold,
		"Restore Processing": hold, "Restore Error": hold, "Restore Failed": hold, "Restore Succeeded": release,
		"Reconcile Processing": release, "Reconcile Succeeded": release,
		"Create Succeeded": leave, "Delete Processing": leave, "LiveMigrate Processing": leave,
	} {
		if got := decide(*operation(text)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

func TestMatters(t *testing.T) {
	for _, test := range []struct {
		before, after string
		want          bool
	}{
		{"Reconcile Succeeded", "Migrate Processing", true},
		{"", "Migrate Pending", true},
		{"Migrate Processing", "Migrate Succeeded", false},
		{"Migrate Succeeded", "Restore Processing", true},
		{"Restore Processing", "Restore Error", false},
		{"Restore Error", "Restore Succeeded", true},
		{"Restore Succeeded", "Restore Succeeded", false},
		{"Restore Failed", "Reconcile Processing", true},
		{"Restore Succeeded", "Reconcile Processing", false},
		{"Create Succeeded", "Reconcile Processing", false},
		{"Reconcile Succeeded", "Delete Processing", false},
		{"Restore Processing", "", false},
	} {
		if got := matters(operation(test.before), operation(test.after)); got != test.want {
			t.Errorf("%q to %q: %v", test.before, test.after, got)
		}
	}
}
