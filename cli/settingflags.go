package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/fault"
)

// gatePrograms are those whose feature gates change in a cluster that runs, by
// their fields in a Shoot.
var gatePrograms = []string{"kubeAPIServer", "kubeControllerManager", "kubeScheduler", "kubelet"}

// assignment is NAME=VALUE, or NAME- where Gone.
type assignment struct {
	name, value string
	gone        bool
}

func parseAssignment(flag, text string) (assignment, error) {
	name, value, given := strings.Cut(text, "=")
	if !given {
		if name, given = strings.CutSuffix(text, "-"); given && name != "" {
			return assignment{name: name, gone: true}, nil
		}
		return assignment{}, fault.New(fault.Invalid, "--%s: %q must be NAME=VALUE, or NAME- to take it back", flag, text)
	}
	if name == "" {
		return assignment{}, fault.New(fault.Invalid, "--%s: %q names nothing", flag, text)
	}
	return assignment{name: name, value: value}, nil
}

// apply changes settings as the flags say, and names every problem.
func (s *settingFlags) apply(k *gardencorev1beta1.Kubernetes) error {
	var problems []error
	if err := setKubelet(&k.Kubelet, s.kubelet); err != nil {
		problems = append(problems, err)
	}
	for _, text := range s.gates {
		problems = append(problems, setGate(k, text))
	}
	for _, text := range s.runtime {
		if k.KubeAPIServer == nil {
			k.KubeAPIServer = &gardencorev1beta1.KubeAPIServerConfig{}
		}
		problems = append(problems, setSwitch("runtime-config", &k.KubeAPIServer.RuntimeConfig, text))
	}
	return fault.Wrap(fault.Invalid, errors.Join(problems...))
}

// setSwitch sets one of what is on or off.
func setSwitch(flag string, all *map[string]bool, text string) error {
	a, err := parseAssignment(flag, text)
	if err != nil {
		return err
	}
	if a.gone {
		if _, there := (*all)[a.name]; !there {
			return fault.New(fault.Invalid, "--%s: %q is not set", flag, a.name)
		}
		delete(*all, a.name)
		return nil
	}
	on, err := strconv.ParseBool(a.value)
	if err != nil {
		return fault.New(fault.Invalid, "--%s: %q must be true or false", flag, text)
	}
	if *all == nil {
		*all = map[string]bool{}
	}
	(*all)[a.name] = on
	return nil
}

// setGate sets a feature gate of a program, or of all. One that is to go from all
// goes from those that have it.
func setGate(k *gardencorev1beta1.Kubernetes, text string) error {
	program, rest, single := strings.Cut(text, ":")
	if !single {
		rest = text
	}
	if single && !slices.Contains(gatePrograms, program) {
		return fault.New(fault.Invalid, "--feature-gate: %q must name one of %s before the colon", text, strings.Join(gatePrograms, ", "))
	}
	var problems []error
	done := false
	for _, name := range gatePrograms {
		if single && name != program {
			continue
		}
		changed := k.DeepCopy()
		err := setSwitch("feature-gate", gatesOf(changed, name), rest)
		problems = append(problems, err)
		if err == nil {
			*k, done = *changed, true
		}
	}
	if done {
		return nil
	}
	return problems[0]
}

func gatesOf(k *gardencorev1beta1.Kubernetes, program string) *map[string]bool {
	switch program {
	case "kubeAPIServer":
		if k.KubeAPIServer == nil {
			k.KubeAPIServer = &gardencorev1beta1.KubeAPIServerConfig{}
		}
		return &k.KubeAPIServer.FeatureGates
	case "kubeControllerManager":
		if k.KubeControllerManager == nil {
			k.KubeControllerManager = &gardencorev1beta1.KubeControllerManagerConfig{}
		}
		return &k.KubeControllerManager.FeatureGates
	case "kubeScheduler":
		if k.KubeScheduler == nil {
			k.KubeScheduler = &gardencorev1beta1.KubeSchedulerConfig{}
		}
		return &k.KubeScheduler.FeatureGates
	}
	if k.Kubelet == nil {
		k.Kubelet = &gardencorev1beta1.KubeletConfig{}
	}
	return &k.Kubelet.FeatureGates
}

// setKubelet sets fields of a kubelet's configuration by their dotted names. What
// it does not have is an error.
func setKubelet(config **gardencorev1beta1.KubeletConfig, texts []string) error {
	if len(texts) == 0 {
		return nil
	}
	fields := map[string]any{}
	if *config != nil {
		encoded, err := json.Marshal(*config)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(encoded, &fields); err != nil {
			return err
		}
	}
	var problems []error
	for _, text := range texts {
		a, err := parseAssignment("kubelet", text)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		path := strings.Split(a.name, ".")
		if a.gone {
			unstructured.RemoveNestedField(fields, path...)
			continue
		}
		if err := setNested(fields, path, a.value); err != nil {
			problems = append(problems, fault.New(fault.Invalid, "--kubelet: %q: %w", text, err))
		}
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	encoded, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	changed := &gardencorev1beta1.KubeletConfig{}
	if err := yaml.UnmarshalStrict(encoded, changed); err != nil {
		return fault.New(fault.Invalid, "--kubelet: %s: %w; fields are those of spec.kubernetes.kubelet of a Shoot", strings.Join(texts, ", "), err)
	}
	*config = changed
	return nil
}

// setNested sets a value as YAML has it: a number, true or false, a list, or text.
func setNested(fields map[string]any, path []string, text string) error {
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return fmt.Errorf("the value: %w", err)
	}
	return unstructured.SetNestedField(fields, value, path...)
}
