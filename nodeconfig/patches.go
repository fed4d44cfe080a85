package nodeconfig

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/nodeconfig/patching"
)

// proxyNone is the mode of a cluster without kube-proxy: something else brings
// services to pods.
const proxyNone = "none"

// withGates adds feature gates to the arguments of a component.
func withGates(args []arg, gates map[string]bool) []arg {
	if len(gates) == 0 {
		return args
	}
	return append(slices.Clone(args), arg{"feature-gates", switches(gates)})
}

// switches writes what is on and off as arguments have it: A=true,B=false.
func switches(all map[string]bool) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, name+"="+strconv.FormatBool(all[name]))
	}
	return strings.Join(list, ",")
}

func (c Cluster) apiServerArgs(flags map[string]string) []arg {
	args := withGates(withFlags(nil, flags), c.FeatureGates.APIServer)
	if len(c.RuntimeConfig) > 0 {
		args = append(args, arg{"runtime-config", switches(c.RuntimeConfig)})
	}
	return args
}

func (c Cluster) proxyAddon() *addon {
	if c.KubeProxyMode != proxyNone {
		return nil
	}
	return &addon{Disabled: true}
}

// addresses are those that the kubelet reports, the primary one first.
func (n Node) addresses() string {
	if !n.SecondAddress.IsValid() {
		return n.Address.String()
	}
	return n.Address.String() + "," + n.SecondAddress.String()
}

// renderPatched writes documents as one YAML file, as the cluster's user and
// then the node's want them. A KubeletConfiguration is left alone: what the
// kubelets of a cluster share would be patched twice.
func renderPatched(c Cluster, n Node, documents ...any) ([]byte, error) {
	patched := make([]any, len(documents))
	for i, document := range documents {
		text, err := json.Marshal(document)
		if err != nil {
			return nil, fmt.Errorf("writing %T: %w", document, err)
		}
		var meta typeMeta
		if err := json.Unmarshal(text, &meta); err != nil {
			return nil, fmt.Errorf("writing %T: %w", document, err)
		}
		if meta.Kind != patching.KubeletConfiguration {
			if text, err = patching.Apply(text, meta.Kind, c.Patches, n.Patches); err != nil {
				return nil, err
			}
		}
		patched[i] = json.RawMessage(text)
	}
	return render(patched...)
}

// kubeletPatchFiles are the user's patches of the kubelet's configuration, which
// kubeadm makes to that of the cluster and after Loam's own. The order of files
// is that of their names.
func kubeletPatchFiles(c Cluster, n Node) ([]File, error) {
	all, err := patching.Files(patching.KubeletConfiguration, c.Patches, n.Patches)
	if err != nil {
		return nil, err
	}
	var files []File
	for i, file := range all {
		content, err := yaml.YAMLToJSON(file.Content)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%s/kubeletconfiguration%03d+%s.json", PatchesPath, i, file.Type)
		files = append(files, File{Path: name, Content: content, Mode: public})
	}
	return files, nil
}
