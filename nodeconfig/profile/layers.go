package profile

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/json"
)

const inContainerField = "inContainer"

// layer is one source of values: a profile, or what somebody sets on top.
type layer struct {
	source string
	// at is where the values stand in what they were read from; nil for the root.
	at *field.Path
	// values are as in JSON; null takes away what a former layer has.
	values, inContainer map[string]any
	// text is what the values were read from.
	text []byte
	// overrides says that the values are somebody's word for these very nodes.
	overrides bool
}

// mark is what is written beside a value.
type mark struct {
	line    int
	comment string
}

// origin is where the value in force comes from.
type origin struct {
	layer *layer
	path  string
	// reason is for values that are derived instead of written.
	reason string
}

// below is the path of a key: one that has a dot itself stands in brackets.
func below(path, key string) string {
	switch {
	case strings.ContainsAny(key, "./[]"):
		return path + "[" + key + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// merge lays values over others: maps are merged, everything else is replaced, null
// takes away (RFC 7386). Of each value that is set it notes the origin.
func merge(into, values map[string]any, origins map[string]origin, from *layer, path, written string) {
	for key, value := range values {
		at := below(path, key)
		switch v := value.(type) {
		case nil:
			delete(into, key)
			forget(origins, at)
		case map[string]any:
			inner, both := into[key].(map[string]any)
			if !both {
				inner = map[string]any{}
				forget(origins, at)
			}
			into[key] = inner
			merge(inner, v, origins, from, at, below(written, key))
		default:
			into[key] = value
			forget(origins, at)
			origins[at] = origin{layer: from, path: below(written, key)}
		}
	}
}

// forget drops the origins of a value and of all below.
func forget(origins map[string]origin, path string) {
	maps.DeleteFunc(origins, func(name string, _ origin) bool {
		rest, is := strings.CutPrefix(name, path)
		return is && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// marks are by the path of a value. A text whose comments cannot be read has none: its
// values were.
func (l *layer) marks() map[string]mark {
	marks := map[string]mark{}
	var root yamlv3.Node
	if err := yamlv3.Unmarshal(l.text, &root); err == nil && len(root.Content) > 0 {
		note(marks, root.Content[0], "", "")
	}
	return marks
}

// note reads the comments of a file: the one above a value is its reason. A comment is
// for the values under it, up to the next one or to the end of their map or list, and
// for those inside them.
func note(marks map[string]mark, node *yamlv3.Node, path, inherited string) {
	comment := inherited
	switch node.Kind {
	case yamlv3.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			comment = cmp.Or(said(key, value), comment)
			if path == "" && said(key, value) == "" {
				comment = "" // parts of a file stand for themselves
			}
			at := below(path, key.Value)
			marks[at] = mark{key.Line, comment}
			note(marks, value, at, comment)
		}
	case yamlv3.SequenceNode:
		for i, value := range node.Content {
			own := said(value, value)
			if own == "" && value.Kind == yamlv3.MappingNode && len(value.Content) > 0 {
				own = said(value.Content[0], value.Content[0])
			}
			comment = cmp.Or(own, comment)
			marks[item(path, i)] = mark{value.Line, comment}
		}
	}
}

// said is the comment above a key or behind its value, on one line.
func said(key, value *yamlv3.Node) string {
	var words []string
	for _, text := range []string{key.HeadComment, cmp.Or(value.LineComment, key.LineComment)} {
		for line := range strings.Lines(text) {
			words = append(words, strings.Fields(strings.TrimLeft(line, "# "))...)
		}
	}
	return strings.Join(words, " ")
}

// Value is one value in force, and why it is what it is.
type Value struct {
	// Path is that in the profile: kubelet.evictionHard[memory.available].
	Path  string `json:"path"`
	Value any    `json:"value"`
	// Reason is empty where the source gives none.
	Reason string `json:"reason,omitempty"`
	// Source is the layer, and the line where it has lines.
	Source string `json:"source"`
}

// Values are all values in force, in the order of their paths. The items of a list are
// one each, so that each has its reason.
func (r *Resolved) Values() []Value {
	e := explainer{origins: r.origins, marks: map[*layer]map[string]mark{}}
	e.add(r.values, "")
	return e.all
}

type explainer struct {
	origins map[string]origin
	marks   map[*layer]map[string]mark
	all     []Value
}

func (e *explainer) add(values map[string]any, path string) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		at := below(path, key)
		from := e.origins[at]
		switch v := values[key].(type) {
		case map[string]any:
			e.add(v, at)
		case []any:
			for i, value := range v {
				e.value(from, item(at, i), item(from.path, i), value)
			}
		default:
			e.value(from, at, from.path, v)
		}
	}
}

func (e *explainer) value(from origin, path, written string, value any) {
	v := Value{Path: path, Value: value, Reason: from.reason, Source: from.layer.source}
	if from.reason == "" {
		if e.marks[from.layer] == nil {
			e.marks[from.layer] = from.layer.marks()
		}
		m := e.marks[from.layer][written]
		v.Reason = m.comment
		switch {
		case from.layer.at != nil:
			v.Source += ", " + from.layer.at.String()
		case m.line > 0:
			v.Source += fmt.Sprintf(", line %d", m.line)
		}
	}
	e.all = append(e.all, v)
}

// strict reads JSON and names every field that is not known.
func strict(text []byte, into any, at *field.Path) field.ErrorList {
	unknown, err := json.UnmarshalStrict(text, into)
	if err != nil {
		return field.ErrorList{field.Invalid(orRoot(at), field.OmitValueType{}, err.Error())}
	}
	var errs field.ErrorList
	for _, problem := range unknown {
		var named interface{ FieldPath() string }
		if errors.As(problem, &named) {
			path := field.NewPath(named.FieldPath())
			if at != nil {
				path = at.Child(named.FieldPath())
			}
			errs = append(errs, field.Forbidden(path, "there is no such field"))
			continue
		}
		errs = append(errs, field.Invalid(orRoot(at), field.OmitValueType{}, problem.Error()))
	}
	return errs
}

// orRoot is the path of a document where it stands alone.
func orRoot(at *field.Path) *field.Path {
	if at == nil {
		return field.NewPath("(document)")
	}
	return at
}

// child is a path below another, which may be that of the root.
func child(at *field.Path, names ...string) *field.Path {
	if at == nil {
		return field.NewPath(names[0], names[1:]...)
	}
	return at.Child(names[0], names[1:]...)
}
