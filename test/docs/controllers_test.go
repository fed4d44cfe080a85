package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/loam-cloud/loam/app"
)

const root = "../.."

// row is a line of a table.
var row = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \|$`)

// TestRulesAreHeld wants every test that docs/controllers.md names to be in the
// folder that is named before it, a test for every rule, and every controller of
// the fleet to have a rule.
func TestRulesAreHeld(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/controllers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rules, found := strings.Cut(string(text), "\n## What holds each rule\n")
	if !found {
		t.Fatal("the page has no section about rules")
	}
	tests := functions(t)
	rows, weaknesses := 0, 0
	for _, match := range row.FindAllStringSubmatch(rules, -1) {
		rule, cell := match[1], match[2]
		if rule == "rule" || strings.HasPrefix(rule, "--") {
			continue
		}
		rows++
		weaknesses += strings.Count(cell, "**") / 2
		held(t, rule, cell, tests)
	}
	if rows < 90 || weaknesses < 13 {
		t.Errorf("the page has only %d rules and %d tests of weaknesses", rows, weaknesses)
	}
	for _, d := range app.Declarations() {
		if !strings.Contains(rules, d.Controller) {
			t.Errorf("there is no rule of controller %s", d.Controller)
		}
	}
}

// held wants every test that a cell names to be in the folder that is named
// before it, and one at least.
func held(t *testing.T, rule, cell string, tests map[string][]string) {
	t.Helper()
	folder, named := "", 0
	for _, word := range strings.FieldsFunc(cell, func(r rune) bool { return strings.ContainsRune(" ,;*", r) }) {
		isTest := strings.HasPrefix(word, "Test") || strings.HasPrefix(word, "Fuzz")
		switch {
		case !isTest && tests[word] == nil:
			t.Errorf("%s: there are no tests in folder %q", rule, word)
		case !isTest:
			folder = word
		case !slices.Contains(tests[folder], word):
			t.Errorf("%s: folder %q has no %s", rule, folder, word)
		default:
			named++
		}
	}
	if named == 0 {
		t.Errorf("%s: no test holds it", rule)
	}
}

// functions are the tests and fuzz targets of each folder, by its path.
func functions(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		for _, declaration := range file.Decls {
			if f, is := declaration.(*ast.FuncDecl); is && f.Recv == nil {
				all[folder] = append(all[folder], f.Name.Name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
