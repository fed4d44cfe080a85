// Package profile says what a node is configured with, whatever machine it runs on:
// profiles are files of values (v1alpha1.NodeProfile), built in or a user's own, and
// what they are rendered to is files, units and boot data. nodeconfig calls it for
// the nodes of clusters, the command line for everybody who wants to see it.
//
// It is pure: the same input gives the same bytes. It must not know clocks, disks,
// networks, drivers or clients, and no secret is part of a profile.
package profile

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

// Names of the profiles that are built in.
const (
	Kubernetes = "kubernetes"
	Plain      = "plain"
	Registry   = "registry"
)

//go:embed profiles/*.yaml
var builtIn embed.FS

// Names are those of the profiles that are built in, in order.
func Names() []string { return []string{Kubernetes, Plain, Registry} }

// Profile is what nodes are configured with, in layers of which later ones win.
type Profile struct {
	// Name is that of the profile, or of its file.
	Name   string
	layers []layer
}

// Load reads a profile that is built in.
func Load(name string) (*Profile, error) {
	text, err := Text(name)
	if err != nil {
		return nil, err
	}
	p, problems, err := read("profile "+name, name, text)
	if err == nil {
		// What else could be wrong with it, tests look at.
		err = problems.ToAggregate()
	}
	return p, err
}

// Text is the file of a profile that is built in.
func Text(name string) ([]byte, error) {
	if !slices.Contains(Names(), name) {
		return nil, field.NotSupported(field.NewPath("profile"), name, Names())
	}
	return builtIn.ReadFile("profiles/" + name + ".yaml")
}

// Parse reads a user's profile; source names it in messages. The error names every
// problem with its path.
func Parse(source string, text []byte) (*Profile, error) {
	p, problems, err := read(source, source, text)
	if err != nil {
		return nil, err
	}
	own := p.layers[len(p.layers)-1]
	problems = append(problems, checkSettings(own.values, nil)...)
	problems = append(problems, checkSettings(own.inContainer, field.NewPath(inContainerField))...)
	if len(problems) > 0 {
		return nil, fmt.Errorf("%s: %w", source, problems.ToAggregate())
	}
	return p, nil
}

// read takes a profile apart. The problems are with its form.
func read(source, name string, text []byte) (*Profile, field.ErrorList, error) {
	encoded, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", source, err)
	}
	own := layer{source: source, text: text}
	if err := json.Unmarshal(encoded, &own.values); err != nil {
		return nil, nil, fmt.Errorf("%s: must be a %s: %w", source, v1alpha1.KindNodeProfile, err)
	}
	var typed v1alpha1.NodeProfile
	problems := strict(encoded, &typed, nil)
	if want := v1alpha1.SchemeGroupVersion.String(); typed.APIVersion != want {
		problems = append(problems, field.NotSupported(field.NewPath("apiVersion"), typed.APIVersion, []string{want}))
	}
	if typed.Kind != v1alpha1.KindNodeProfile {
		problems = append(problems, field.NotSupported(field.NewPath("kind"), typed.Kind, []string{v1alpha1.KindNodeProfile}))
	}
	p := &Profile{Name: name}
	switch {
	case typed.Extends == "":
	case !slices.Contains(Names(), typed.Extends):
		problems = append(problems, field.NotSupported(field.NewPath("extends"), typed.Extends, Names()))
	default:
		base, err := Load(typed.Extends)
		if err != nil {
			return nil, nil, err
		}
		p.layers = slices.Clone(base.layers)
	}
	own.inContainer, _ = own.values[inContainerField].(map[string]any)
	for _, name := range []string{"apiVersion", "kind", "extends", inContainerField} {
		delete(own.values, name)
	}
	p.layers = append(p.layers, own)
	return p, problems, nil
}

// With is a copy in which a further layer wins over those that are there: the
// settings in a Shoot (v1alpha1.NodeSettings as JSON or YAML). The problems are at
// paths below the given one.
func (p *Profile) With(source string, at *field.Path, settings []byte) (*Profile, field.ErrorList) {
	if len(settings) == 0 {
		return p, nil
	}
	invalid := func(err error) (*Profile, field.ErrorList) {
		return nil, field.ErrorList{field.Invalid(orRoot(at), string(settings), err.Error())}
	}
	encoded, err := yaml.YAMLToJSONStrict(settings)
	if err != nil {
		return invalid(err)
	}
	var document map[string]any
	if err := json.Unmarshal(encoded, &document); err != nil {
		return invalid(err)
	}
	problems := strict(encoded, &v1alpha1.NodeSettings{}, at)
	problems = append(problems, checkSettings(document, at)...)
	if len(problems) > 0 {
		return nil, problems
	}
	added := layer{source: source, at: at, values: document, text: settings, overrides: true}
	return &Profile{Name: p.Name, layers: append(slices.Clone(p.layers), added)}, nil
}
