package docs_test

import (
	"os"
	"strings"
	"testing"
)

// TestParityIsHeld wants every row of what kind has, as docs/clusters.md lists
// it, to name tests that there are.
func TestParityIsHeld(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/clusters.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "\n## What kind has\n")
	if !found {
		t.Fatal("the page has no section about what kind has")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	tests := functions(t)
	rows := 0
	for _, match := range row.FindAllStringSubmatch(table, -1) {
		if match[1] == "what" || strings.HasPrefix(match[1], "--") {
			continue
		}
		rows++
		held(t, match[1], match[2], tests)
	}
	if rows < 25 {
		t.Errorf("the table has only %d rows", rows)
	}
}
