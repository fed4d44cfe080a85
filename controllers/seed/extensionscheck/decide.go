package extensionscheck

import (
	"fmt"
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"

	"github.com/loam-cloud/loam/controllers/condition"
)

// judged are the conditions of an installation that count, in the order in which
// they are looked at.
func judged() []gardencorev1beta1.ConditionType {
	return []gardencorev1beta1.ConditionType{
		gardencorev1beta1.ControllerInstallationValid, gardencorev1beta1.ControllerInstallationInstalled,
		gardencorev1beta1.ControllerInstallationHealthy, gardencorev1beta1.ControllerInstallationProgressing,
	}
}

// state is what counts of a condition.
type state struct {
	status          gardencorev1beta1.ConditionStatus
	reason, message string
}

// find returns what an installation says; the zero state where it does not.
func find(installation *gardencorev1beta1.ControllerInstallation, kind gardencorev1beta1.ConditionType) state {
	for _, c := range installation.Status.Conditions {
		if c.Type == kind {
			return state{c.Status, c.Reason, c.Message}
		}
	}
	return state{}
}

// verdicts collects what is wrong, by the first condition that says so.
type verdicts map[gardencorev1beta1.ConditionType][]string

// decide judges the installations of a Seed. The worst that is true of any of
// them is the reason.
func decide(installations []gardencorev1beta1.ControllerInstallation) gardencorev1beta1.Condition {
	found := verdicts{}
	for i := range installations {
		found.judge(&installations[i])
	}
	for _, step := range []struct {
		kind         gardencorev1beta1.ConditionType
		reason, text string
	}{
		{gardencorev1beta1.ControllerInstallationValid, "NotAllExtensionsValid", "Some extensions are not valid"},
		{gardencorev1beta1.ControllerInstallationInstalled, "NotAllExtensionsInstalled", "Some extensions are not installed"},
		{gardencorev1beta1.ControllerInstallationHealthy, "NotAllExtensionsHealthy", "Some extensions are not healthy"},
		{gardencorev1beta1.ControllerInstallationProgressing, "SomeExtensionsProgressing", "Some extensions are progressing"},
	} {
		if names := found[step.kind]; len(names) > 0 {
			slices.Sort(names)
			return condition.New(gardencorev1beta1.SeedExtensionsReady, gardencorev1beta1.ConditionFalse, step.reason, step.text+". "+strings.Join(names, "; "))
		}
	}
	return condition.New(gardencorev1beta1.SeedExtensionsReady, gardencorev1beta1.ConditionTrue, "AllExtensionsReady", "All extensions are installed and healthy.")
}

func (v verdicts) judge(installation *gardencorev1beta1.ControllerInstallation) {
	if len(installation.Status.Conditions) == 0 {
		v.add(gardencorev1beta1.ControllerInstallationInstalled, installation, "nothing is known about it yet")
		return
	}
	missing := false
	for _, kind := range judged() {
		good := gardencorev1beta1.ConditionTrue
		if kind == gardencorev1beta1.ControllerInstallationProgressing {
			good = gardencorev1beta1.ConditionFalse
		}
		switch have := find(installation, kind); have.status {
		case good:
		case "":
			missing = true
		default:
			v.add(kind, installation, have.message)
		}
	}
	if missing {
		v.add(gardencorev1beta1.ControllerInstallationHealthy, installation, "it does not tell all of Valid, Installed, Healthy, and Progressing")
	}
}

func (v verdicts) add(kind gardencorev1beta1.ConditionType, installation *gardencorev1beta1.ControllerInstallation, why string) {
	v[kind] = append(v[kind], fmt.Sprintf("%s: %s", installation.Name, why))
}
