package docs_test

import (
	"os"
	"strings"
	"testing"
)

// TestNodesAreHeld wants every row of what docs/node.md says of tests to name some
// that there are.
func TestNodesAreHeld(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/node.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "\n## What holds it to that\n")
	if !found {
		t.Fatal("the page has no section about its tests")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	tests := functions(t)
	rows := 0
	for _, match := range row.FindAllStringSubmatch(table, -1) {
		if match[1] == "row" || strings.HasPrefix(match[1], "--") {
			continue
		}
		rows++
		held(t, match[1], match[2], tests)
	}
	if rows < 13 {
		t.Errorf("the table has only %d rows", rows)
	}
}
