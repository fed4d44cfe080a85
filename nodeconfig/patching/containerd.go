package patching

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

// ContainerdImports is the pattern of the files that containerd's configuration
// takes in.
const ContainerdImports = "/etc/containerd/conf.d/*.toml"

// formerPlugin is part of the names of plugins in version 2 of containerd's
// configuration only; containerd translates a file of that version itself.
const formerPlugin = "io.containerd.grpc.v1.cri"

// CheckContainerd reports every patch of containerd's configuration that cannot
// be one.
func CheckContainerd(c v1alpha1.ControlPlaneConfig, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, text := range c.ContainerdConfigPatches {
		if _, err := ContainerdDocument(text); err != nil {
			errs = append(errs, field.Invalid(path.Child("containerdConfigPatches").Index(i), text, err.Error()))
		}
	}
	for i, text := range c.ContainerdConfigPatchesJSON6902 {
		if _, err := operations(text); err != nil {
			errs = append(errs, field.Invalid(path.Child("containerdConfigPatchesJSON6902").Index(i), text, err.Error()))
		}
	}
	return errs
}

// ContainerdDocument makes a merge patch a file of its own, which containerd
// takes in after its main one: it needs the version that it is written in.
func ContainerdDocument(text string) ([]byte, error) {
	var document map[string]any
	if err := toml.Unmarshal([]byte(text), &document); err != nil {
		return nil, fmt.Errorf("must be TOML: %w", err)
	}
	switch version := document["version"].(type) {
	case nil:
		document["version"] = int64(3)
		if plugins, _ := document["plugins"].(map[string]any); slices.ContainsFunc(keys(plugins), func(name string) bool { return strings.HasPrefix(name, formerPlugin) }) {
			document["version"] = int64(2)
		}
	case int64:
		if version != 2 && version != 3 {
			return nil, fmt.Errorf("version %d must be 2 or 3", version)
		}
	default:
		return nil, fmt.Errorf("version %v must be 2 or 3", version)
	}
	return encode(document)
}

func keys(m map[string]any) []string {
	var all []string
	for key := range m {
		all = append(all, key)
	}
	return all
}

// Containerd makes JSON patches to containerd's main configuration, and has it
// take in further files. It returns the same bytes when there is nothing to change.
func Containerd(config []byte, json6902 []string) ([]byte, error) {
	var document map[string]any
	if err := toml.Unmarshal(config, &document); err != nil {
		return nil, fmt.Errorf("containerd's configuration: %w", err)
	}
	imports, _ := document["imports"].([]any)
	if slices.Contains(imports, any(ContainerdImports)) && len(json6902) == 0 {
		return config, nil
	}
	if !slices.Contains(imports, any(ContainerdImports)) {
		document["imports"] = append(imports, ContainerdImports)
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	for i, p := range json6902 {
		patch, err := operations(p)
		if err == nil {
			text, err = patch.Apply(text)
		}
		if err != nil {
			return nil, fmt.Errorf("containerdConfigPatchesJSON6902[%d]: %w", i, err)
		}
	}
	document = nil
	decoder := json.NewDecoder(bytes.NewReader(text))
	// Whole numbers stay whole: containerd refuses 3.0 for a version.
	decoder.UseNumber()
	if err := decoder.Decode(&document); err != nil {
		return nil, err
	}
	return encode(numbers(document).(map[string]any))
}

// numbers gives each number the type that TOML writes it in.
func numbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			if v[key] == nil {
				delete(v, key) // TOML has no null
				continue
			}
			v[key] = numbers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case json.Number:
		if whole, err := v.Int64(); err == nil {
			return whole
		}
		broken, _ := v.Float64() // the decoder has read it
		return broken
	}
	return value
}

func encode(document map[string]any) ([]byte, error) {
	var text bytes.Buffer
	if err := toml.NewEncoder(&text).Encode(document); err != nil {
		return nil, fmt.Errorf("writing TOML: %w", err)
	}
	return text.Bytes(), nil
}
