package wanted_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/wanted"
)

func hash(t *testing.T, value any) string {
	t.Helper()
	h, err := wanted.Hash(value)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestHash wants every value to count, lists and numbers too, and nothing else.
func TestHash(t *testing.T) {
	for name, test := range map[string]struct {
		one, other any
		same       bool
	}{
		"text":                     {map[string]any{"a": "b"}, map[string]any{"a": "c"}, false},
		"key":                      {map[string]any{"a": "b"}, map[string]any{"b": "b"}, false},
		"number":                   {map[string]any{"a": 1}, map[string]any{"a": 2}, false},
		"large number":             {json.RawMessage(`{"a":9007199254740993}`), json.RawMessage(`{"a":9007199254740992}`), false},
		"list":                     {[]any{"a", "b"}, []any{"a"}, false},
		"order of a list":          {[]any{"a", "b"}, []any{"b", "a"}, false},
		"deep list":                {map[string]any{"a": []any{map[string]any{"b": 1}}}, map[string]any{"a": []any{map[string]any{"b": 2}}}, false},
		"truth":                    {map[string]any{"a": true}, map[string]any{"a": false}, false},
		"order of keys":            {json.RawMessage(`{"a":1,"b":{"c":2,"d":3}}`), json.RawMessage(`{"b": {"d":3, "c":2}, "a":1}`), true},
		"order of raw keys inside": {raw(`{"x":[1],"y":"z"}`), raw(`{ "y":"z", "x":[1] }`), true},
		"raw list inside":          {raw(`{"x":[1]}`), raw(`{"x":[1,2]}`), false},
		"raw number inside":        {raw(`{"x":1}`), raw(`{"x":2}`), false},
	} {
		if got := hash(t, test.one) == hash(t, test.other); got != test.same {
			t.Errorf("%s: the same is %t", name, got)
		}
	}
	if got := hash(t, map[string]any{"a": []int{1, 2}}); !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(got) || got != "01530d164d479cf0" {
		t.Errorf("got %s: hashes have to stay the same from version to version", got)
	}
	if _, err := wanted.Hash(json.RawMessage(`{`)); err == nil {
		t.Error("broken text has a hash")
	}
}

func raw(text string) gardencorev1beta1.SeedSpec {
	return gardencorev1beta1.SeedSpec{Provider: gardencorev1beta1.SeedProvider{ProviderConfig: &runtime.RawExtension{Raw: []byte(text)}}}
}

// FuzzHash wants maps with one more key to have another hash.
func FuzzHash(f *testing.F) {
	f.Add("a", "b", "c", "d")
	f.Fuzz(func(t *testing.T, key, value, more, last string) {
		one := map[string]string{key: value}
		two := maps.Clone(one)
		two[more] = last
		if same := maps.Equal(one, two); utf8(key, value, more, last) && (hash(t, one) == hash(t, two)) != same {
			t.Errorf("%q and %q: the same should be %t", one, two, same)
		}
	})
}

// utf8 tells whether JSON can hold texts as they are.
func utf8(texts ...string) bool {
	for _, text := range texts {
		if string([]rune(text)) != text {
			return false
		}
	}
	return true
}
