package docs_test

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/registry/config"
)

// readRegistryConfig wants a configuration of the image cache to have no problem.
func readRegistryConfig(text string) error {
	c := &config.Configuration{}
	if err := yaml.UnmarshalStrict([]byte(text), c); err != nil {
		return err
	}
	c.Default("/srv/registry")
	return c.Validate().ToAggregate()
}

// TestImageCacheIsHeld wants what docs/registry.md promises to name tests that
// there are.
func TestImageCacheIsHeld(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/registry.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, found := strings.Cut(string(text), "\n## What holds it to that\n")
	if !found {
		t.Fatal("the page has no section about its tests")
	}
	tests := functions(t)
	rows := 0
	for _, match := range row.FindAllStringSubmatch(tables, -1) {
		if match[1] == "what" || match[1] == "section" || strings.HasPrefix(match[1], "--") {
			continue
		}
		rows++
		held(t, match[1], match[2], tests)
	}
	if rows < 28 {
		t.Errorf("the tables have only %d rows", rows)
	}
}
