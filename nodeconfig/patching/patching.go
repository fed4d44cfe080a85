// Package patching changes documents that nodes are configured with as their user
// asks: those of kubeadm and the configuration of containerd. Package nodeconfig
// renders with it; what reads such patches from users checks them with it.
//
// It must not know what the documents are for, and reads no file.
package patching

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

// Kinds of documents that can be patched.
const (
	ClusterConfiguration   = "ClusterConfiguration"
	InitConfiguration      = "InitConfiguration"
	JoinConfiguration      = "JoinConfiguration"
	KubeletConfiguration   = "KubeletConfiguration"
	KubeProxyConfiguration = "KubeProxyConfiguration"
)

// Versions in which the documents are written.
const (
	KubeadmGroup   = "kubeadm.k8s.io/v1beta4"
	KubeletGroup   = "kubelet.config.k8s.io/v1beta1"
	KubeProxyGroup = "kubeproxy.config.k8s.io/v1alpha1"
)

// APIVersion is that of a kind of document, empty for an unknown kind.
func APIVersion(kind string) string {
	switch kind {
	case ClusterConfiguration, InitConfiguration, JoinConfiguration:
		return KubeadmGroup
	case KubeletConfiguration:
		return KubeletGroup
	case KubeProxyConfiguration:
		return KubeProxyGroup
	}
	return ""
}

func kinds() []string {
	return []string{ClusterConfiguration, InitConfiguration, JoinConfiguration, KubeletConfiguration, KubeProxyConfiguration}
}

// former are versions of kubeadm's documents that differ from the present one
// in the form of arguments, as far as patches go; those of merge patches are
// translated.
func former(apiVersion string) bool {
	return apiVersion == "kubeadm.k8s.io/v1beta2" || apiVersion == "kubeadm.k8s.io/v1beta3"
}

// Check reports every patch that cannot be one, at the paths of its fields.
func Check(p v1alpha1.KubeadmPatches, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, text := range p.KubeadmConfigPatches {
		_, _, problem := parse(text)
		if problem != nil {
			problem.Field = path.Child("kubeadmConfigPatches").Index(i).String()
			errs = append(errs, problem)
		}
	}
	for i, patch := range p.KubeadmConfigPatchesJSON6902 {
		at := path.Child("kubeadmConfigPatchesJSON6902").Index(i)
		if wanted := APIVersion(patch.Kind); wanted == "" {
			errs = append(errs, field.NotSupported(at.Child("kind"), patch.Kind, kinds()))
		} else if got := patch.Group + "/" + patch.Version; got != wanted {
			errs = append(errs, field.Invalid(at.Child("version"), got, fmt.Sprintf("%s is written in %s", patch.Kind, wanted)))
		}
		if _, err := operations(patch.Patch); err != nil {
			errs = append(errs, field.Invalid(at.Child("patch"), patch.Patch, err.Error()))
		}
	}
	return errs
}

// parse reads a merge patch and says which kind of document it is for. The
// problem has no field yet.
func parse(text string) (kind string, patch map[string]any, problem *field.Error) {
	invalid := func(why string) (string, map[string]any, *field.Error) {
		return "", nil, field.Invalid(nil, text, why)
	}
	if err := yaml.UnmarshalStrict([]byte(text), &patch); err != nil {
		return invalid("must be one document of YAML or JSON: " + err.Error())
	}
	kind, _ = patch["kind"].(string)
	version, given := patch["apiVersion"].(string)
	wanted := APIVersion(kind)
	switch {
	case wanted == "":
		return invalid("needs a kind, one of " + strings.Join(kinds(), ", "))
	case given && version != wanted && (wanted != KubeadmGroup || !former(version)):
		return invalid(fmt.Sprintf("%s is written in %s", kind, wanted))
	}
	delete(patch, "kind")
	delete(patch, "apiVersion")
	return kind, patch, nil
}

// operations reads a JSON patch.
func operations(text string) (jsonpatch.Patch, error) {
	converted, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(converted)
	if err != nil {
		return nil, fmt.Errorf("must be a list of operations as RFC 6902 has them, such as [{op: add, path: /a, value: b}]: %w", err)
	}
	return patch, nil
}

// Without leaves out the patches that are for a kind of document, and those that
// cannot be read.
func Without(p v1alpha1.KubeadmPatches, kind string) v1alpha1.KubeadmPatches {
	return v1alpha1.KubeadmPatches{
		KubeadmConfigPatches: slices.DeleteFunc(slices.Clone(p.KubeadmConfigPatches), func(text string) bool {
			target, _, problem := parse(text)
			return problem != nil || target == kind
		}),
		KubeadmConfigPatchesJSON6902: slices.DeleteFunc(slices.Clone(p.KubeadmConfigPatchesJSON6902), func(patch v1alpha1.PatchJSON6902) bool {
			return patch.Kind == kind
		}),
	}
}

// Apply makes those of the patches to a document (JSON) that are for its kind:
// for each set the merge patches, then the others.
func Apply(document []byte, kind string, sets ...v1alpha1.KubeadmPatches) ([]byte, error) {
	for _, set := range sets {
		for i, text := range set.KubeadmConfigPatches {
			target, patch, problem := parse(text)
			if problem != nil {
				return nil, fmt.Errorf("kubeadmConfigPatches[%d]: %s", i, problem.ErrorBody())
			}
			if target != kind {
				continue
			}
			var err error
			if document, err = merge(document, patch); err != nil {
				return nil, fmt.Errorf("kubeadmConfigPatches[%d] of %s: %w", i, kind, err)
			}
		}
		for i, p := range set.KubeadmConfigPatchesJSON6902 {
			if p.Kind != kind {
				continue
			}
			patch, err := operations(p.Patch)
			if err == nil {
				document, err = patch.Apply(document)
			}
			if err != nil {
				return nil, fmt.Errorf("kubeadmConfigPatchesJSON6902[%d] of %s: %w", i, kind, err)
			}
		}
	}
	return document, nil
}

// merge makes a merge patch. Lists are replaced, but for arguments of programs:
// those are told apart by their names.
func merge(document []byte, patch map[string]any) ([]byte, error) {
	var current map[string]any
	if err := json.Unmarshal(document, &current); err != nil {
		return nil, err
	}
	if err := arguments(patch, current); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	return jsonpatch.MergePatch(document, encoded)
}

// arguments makes the arguments in a patch a whole list: those of the document
// that the patch does not name, and the patch's. They may be a map from name to
// value, as in kubeadm's former versions, where null takes one away.
func arguments(patch, current map[string]any) error {
	for key, value := range patch {
		if key != "extraArgs" && key != "kubeletExtraArgs" {
			inner, isMap := value.(map[string]any)
			below, _ := current[key].(map[string]any)
			if isMap {
				if err := arguments(inner, below); err != nil {
					return fmt.Errorf("%s: %w", key, err)
				}
			}
			continue
		}
		given, err := argumentList(value)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		named := map[any]bool{}
		for _, argument := range given {
			named[argument["name"]] = true
		}
		var all []any
		existing, _ := current[key].([]any)
		for _, argument := range existing {
			if entry, isMap := argument.(map[string]any); !isMap || !named[entry["name"]] {
				all = append(all, argument)
			}
		}
		for _, argument := range given {
			if argument["value"] != nil {
				all = append(all, argument)
			}
		}
		patch[key] = all
	}
	return nil
}

func argumentList(value any) ([]map[string]any, error) {
	var list []map[string]any
	switch given := value.(type) {
	case nil:
	case map[string]any:
		for name, value := range given {
			if value != nil {
				value = fmt.Sprint(value)
			}
			list = append(list, map[string]any{"name": name, "value": value})
		}
		slices.SortFunc(list, func(a, b map[string]any) int { return strings.Compare(a["name"].(string), b["name"].(string)) })
	case []any:
		for i, entry := range given {
			argument, isMap := entry.(map[string]any)
			if name, named := argument["name"].(string); !isMap || !named || name == "" {
				return nil, fmt.Errorf("[%d]: must have a name and a value", i)
			}
			list = append(list, argument)
		}
	default:
		return nil, fmt.Errorf("%v: must be a list of names and values", value)
	}
	return list, nil
}

// File is a patch in the form of a file for kubeadm's folder of patches.
type File struct {
	// Type is merge or json.
	Type    string
	Content []byte
}

// Files are those of the patches that are for a kind of document, in order: for
// each set the merge patches, then the others.
func Files(kind string, sets ...v1alpha1.KubeadmPatches) ([]File, error) {
	var files []File
	for _, set := range sets {
		for i, text := range set.KubeadmConfigPatches {
			target, patch, problem := parse(text)
			if problem != nil {
				return nil, fmt.Errorf("kubeadmConfigPatches[%d]: %s", i, problem.ErrorBody())
			}
			if target != kind {
				continue
			}
			content, err := yaml.Marshal(patch)
			if err != nil {
				return nil, err
			}
			files = append(files, File{Type: "merge", Content: content})
		}
		for _, p := range set.KubeadmConfigPatchesJSON6902 {
			if p.Kind == kind {
				files = append(files, File{Type: "json", Content: []byte(p.Patch)})
			}
		}
	}
	return files, nil
}
