package nodeconfig

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/patching"
)

// SettingsPath is the file in which a machine keeps its Settings once they are in
// force. While they are being changed there is none.
const SettingsPath = "/etc/loam/settings.json"

// Settings are what a user may change of a node that runs: values by dotted names
// such as kubelet.maxPods. What is not set is not among them, so that nodes of an
// older Loam are not changed for what a newer one leaves at its default.
type Settings map[string]string

// SettingsOf are those of a node. Only what users set of the cluster and of the node
// is looked at: versions, feature gates, the kubelet, patches of its configuration.
func SettingsOf(c Cluster, n Node) (Settings, error) {
	s := Settings{}
	s.switches("kubelet.featureGates.", c.FeatureGates.Kubelet)
	s.add("kubelet", n.Kubelet)
	if n.MaxPods != 0 {
		s["kubelet.maxPods"] = strconv.Itoa(int(n.MaxPods))
	}
	patches, err := patching.Files(patching.KubeletConfiguration, c.Patches, n.Patches)
	if err != nil {
		return nil, err
	}
	for i, patch := range patches {
		s[fmt.Sprintf("kubelet.patches[%d]", i)] = patch.Type + " " + string(patch.Content)
	}
	if n.Role != v1alpha1.RoleControlPlane {
		return s, nil
	}
	s.switches("kubeAPIServer.featureGates.", c.FeatureGates.APIServer)
	s.switches("kubeAPIServer.runtimeConfig.", c.RuntimeConfig)
	s.switches("kubeControllerManager.featureGates.", c.FeatureGates.ControllerManager)
	s.switches("kubeScheduler.featureGates.", c.FeatureGates.Scheduler)
	return s, nil
}

func (s Settings) switches(prefix string, all map[string]bool) {
	for name, on := range all {
		s[prefix+name] = strconv.FormatBool(on)
	}
}

// add takes a value of a document; null takes away what was there.
func (s Settings) add(name string, value any) {
	switch value := value.(type) {
	case nil:
		delete(s, name)
	case map[string]any:
		for key, inner := range value {
			s.add(name+"."+key, inner)
		}
	default:
		s[name] = fmt.Sprint(value)
	}
}

// ReadSettings reads what a machine keeps; nil when it keeps none.
func ReadSettings(text string) Settings {
	var s Settings
	if json.Unmarshal([]byte(text), &s) != nil {
		// Whatever it is, it is not what is in force.
		return nil
	}
	return s
}

// File is what a machine keeps of its settings.
func (s Settings) File() (File, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return File{}, err
	}
	return File{Path: SettingsPath, Content: append(text, '\n'), Mode: public}, nil
}

// overlay sets fields of a patch; null stays in it, to take a field away.
func overlay(document, fields map[string]any) {
	for name, value := range fields {
		below, both := document[name].(map[string]any)
		if inner, is := value.(map[string]any); is && both {
			overlay(below, inner)
			continue
		}
		document[name] = value
	}
}

// KubeletFiles renders what of the kubelet's configuration is the node's own, for
// one that runs; that of its cluster it gets from there.
func KubeletFiles(c Cluster, n Node) ([]File, error) {
	if problems := append(validateCluster(c), validateNode(n, c)...); len(problems) > 0 {
		return nil, problems.ToAggregate()
	}
	settings, err := resolve(c, n)
	if err != nil {
		return nil, err
	}
	return patchFiles(c, n, settings)
}
