package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/discovery"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// TestGardenIsHeld wants every test and every wrong object that the page names
// to be there, and every kind that the garden serves to be named.
func TestGardenIsHeld(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/garden-rules.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := functions(t)
	for name := range variants(t) {
		tests["test/landscape"] = append(tests["test/landscape"], "TestLandscape/wrong/"+name)
	}
	rows := 0
	for _, match := range row.FindAllStringSubmatch(string(text), -1) {
		if rule := match[1]; rule != "rule" && !strings.HasPrefix(rule, "--") {
			rows++
			held(t, rule, match[2], tests)
		}
	}
	if rows < 80 {
		t.Errorf("the page has only %d rules", rows)
	}
	lists, err := discovery.NewDiscoveryClientForConfigOrDie(gardentest.Start(t).RESTConfig()).ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		group, _, _ := strings.Cut(list.GroupVersion, "/")
		if !strings.HasSuffix(group, ".gardener.cloud") && group != "loam.dev" {
			continue
		}
		for _, kind := range list.APIResources {
			if !strings.Contains(string(text), kind.Kind) {
				t.Errorf("there is no rule of kind %s", kind.Kind)
			}
		}
	}
}

// variants are the wrong objects of the landscape, as a run of its test names
// them: file/name.
func variants(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(root + "/test/landscape/testdata/wrong/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var named []struct{ Name string }
		if err := yaml.Unmarshal(text, &named); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, variant := range named {
			all[strings.TrimSuffix(filepath.Base(file), ".yaml")+"/"+strings.ReplaceAll(variant.Name, " ", "_")] = true
		}
	}
	return all
}
