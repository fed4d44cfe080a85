package extensionscheck

import (
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// of is an installation whose conditions Valid, Installed, Healthy and
// Progressing are as the letters say: T, F, U, or - for absent.
func of(name, letters string) gardencorev1beta1.ControllerInstallation {
	installation := gardencorev1beta1.ControllerInstallation{ObjectMeta: metav1.ObjectMeta{Name: name}}
	status := map[byte]gardencorev1beta1.ConditionStatus{
		'T': gardencorev1beta1.ConditionTrue, 'F': gardencorev1beta1.ConditionFalse, 'U': gardencorev1beta1.ConditionUnknown,
	}
	for i, kind := range judged() {
		if letters != "" && letters[i] != '-' {
			installation.Status.Conditions = append(installation.Status.Conditions, gardencorev1beta1.Condition{Type: kind, Status: status[letters[i]], Message: "as told"})
		}
	}
	return installation
}

func TestDecide(t *testing.T) {
	for name, test := range map[string]struct {
		installations []gardencorev1beta1.ControllerInstallation
		status        gardencorev1beta1.ConditionStatus
		reason        string
	}{
		"none":                         {nil, "True", "AllExtensionsReady"},
		"all good":                     {[]gardencorev1beta1.ControllerInstallation{of("a", "TTTF"), of("b", "TTTF")}, "True", "AllExtensionsReady"},
		"one is not valid":             {[]gardencorev1beta1.ControllerInstallation{of("a", "TTTF"), of("b", "FTTF")}, "False", "NotAllExtensionsValid"},
		"one may not be valid":         {[]gardencorev1beta1.ControllerInstallation{of("a", "UTTF")}, "False", "NotAllExtensionsValid"},
		"one is not installed":         {[]gardencorev1beta1.ControllerInstallation{of("a", "TFTF")}, "False", "NotAllExtensionsInstalled"},
		"nothing is known of one":      {[]gardencorev1beta1.ControllerInstallation{of("a", "TTTF"), of("b", "")}, "False", "NotAllExtensionsInstalled"},
		"one is not healthy":           {[]gardencorev1beta1.ControllerInstallation{of("a", "TTFF")}, "False", "NotAllExtensionsHealthy"},
		"one does not tell all":        {[]gardencorev1beta1.ControllerInstallation{of("a", "TTT-")}, "False", "NotAllExtensionsHealthy"},
		"one is progressing":           {[]gardencorev1beta1.ControllerInstallation{of("a", "TTTT")}, "False", "SomeExtensionsProgressing"},
		"validity before installation": {[]gardencorev1beta1.ControllerInstallation{of("a", "TFTF"), of("b", "FTTF")}, "False", "NotAllExtensionsValid"},
		"installation before health":   {[]gardencorev1beta1.ControllerInstallation{of("a", "TTFF"), of("b", "TFTF")}, "False", "NotAllExtensionsInstalled"},
		"health before progress":       {[]gardencorev1beta1.ControllerInstallation{of("a", "TTTT"), of("b", "TTFF")}, "False", "NotAllExtensionsHealthy"},
		"all at once":                  {[]gardencorev1beta1.ControllerInstallation{of("a", "FFFT")}, "False", "NotAllExtensionsValid"},
	} {
		t.Run(name, func(t *testing.T) {
			got := decide(test.installations)
			if got.Status != test.status || got.Reason != test.reason {
				t.Errorf("got %+v, want %s, %s", got, test.status, test.reason)
			}
		})
	}
	if got := decide([]gardencorev1beta1.ControllerInstallation{of("b", "FTTF"), of("a", "FTTF")}).Message; got != "Some extensions are not valid. a: as told; b: as told" {
		t.Errorf("the message is %q", got)
	}
}
