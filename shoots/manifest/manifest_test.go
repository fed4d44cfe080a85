package manifest_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/loam-cloud/loam/shoots/manifest"
)

func TestDecode(t *testing.T) {
	for name, tc := range map[string]struct {
		text    string
		objects int
		problem string
	}{
		"several":     {"---\n{apiVersion: v1, kind: A, metadata: {name: a}}\n---\n# nothing\n---\napiVersion: v1\nkind: B\nmetadata: {name: b}\n", 2, ""},
		"none":        {"", 0, ""},
		"no kind":     {"apiVersion: v1\nmetadata: {name: a}\n", 0, "document 1: apiVersion, kind"},
		"no object":   {"{apiVersion: v1, kind: A, metadata: {name: a}}\n---\n- a\n", 0, "document 2"},
		"broken yaml": {"a: [", 0, "document 1"},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := manifest.Decode(strings.NewReader(tc.text))
			if tc.problem == "" && err != nil || tc.problem != "" && (err == nil || !strings.Contains(err.Error(), tc.problem)) {
				t.Errorf("error is %v, want %q", err, tc.problem)
			}
			if err == nil && len(objects) != tc.objects {
				t.Errorf("%d objects, want %d", len(objects), tc.objects)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nkind: A\nmetadata: {name: a}\n---\n{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		objects, err := manifest.Decode(bytes.NewReader(text))
		for _, o := range objects {
			if err == nil && (o.GetName() == "" || o.GetKind() == "") {
				t.Errorf("an object without a name came through: %v", o)
			}
		}
	})
}
