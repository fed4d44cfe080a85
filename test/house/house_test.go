// Package house checks the rules of this repository that no compiler knows:
// which folder may import which, that every folder says what it is for, how
// long files may be, and what is linked into the binary.
package house_test

import (
	"encoding/json"
	"errors"
	"flag"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the list of linked packages anew")

const (
	root   = "../.."
	module = "github.com/loam-cloud/loam"
)

// ranks are those of the design: imports go to lower ranks only.
var ranks = map[string]int{
	"api": 0, "fault": 0,
	"capacity": 1, "fabric": 1, "nodeconfig": 1,
	"machines": 2, "hosts": 2, "registry": 2, "garden": 2, "images": 2, "secrets": 2,
	"shoots":      3,
	"controllers": 4, "console": 4,
	"app": 5,
	"cli": 6, "cmd": 7,
}

type goPackage struct {
	ImportPath   string
	Dir          string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Standard,Imports,TestImports,XTestImports"}, args...)...)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	var all []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// folder returns the top-level folder of a package of this module.
func folder(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, module+"/")
	top, _, _ := strings.Cut(rest, "/")
	return top, ok
}

func TestImportsGoDown(t *testing.T) {
	for _, p := range list(t, "./...") {
		from, _ := folder(p.ImportPath)
		if from == "test" {
			continue
		}
		rank, known := ranks[from]
		if !known {
			t.Errorf("folder %q has no rank in the design", from)
			continue
		}
		for _, i := range p.Imports {
			to, own := folder(i)
			if !own || to == from {
				continue
			}
			if ranks[to] >= rank || to == "test" {
				t.Errorf("%s (rank %d) imports %s (rank %d)", p.ImportPath, rank, i, ranks[to])
			}
			if strings.HasPrefix(i, module+"/machines/") && from != "app" && !strings.Contains(i, "/machines/fake") {
				t.Errorf("%s imports the driver %s: only app knows drivers", p.ImportPath, i)
			}
		}
	}
}

func TestControllersDoNotMeet(t *testing.T) {
	const prefix = module + "/controllers/"
	shared := []string{"policy", "condition", "declaration", "index", "memory"}
	for _, p := range list(t, "./controllers/...") {
		for _, i := range p.Imports {
			name, ok := strings.CutPrefix(i, prefix)
			// A folder may add the controllers below it.
			below := strings.HasPrefix(i, p.ImportPath+"/")
			if ok && !below && !slices.Contains(shared, name) && !strings.Contains(name, "internal/") {
				t.Errorf("%s imports the controller %s: controllers meet through API objects", p.ImportPath, i)
			}
		}
	}
}

// impure are packages that a pure folder must not use itself.
var impure = []string{"os", "net", "net/http", "time/tzdata", "math/rand", "math/rand/v2", "crypto/rand", "os/exec", "log", "log/slog"}

func TestRankOneIsPure(t *testing.T) {
	for _, p := range list(t, "./...") {
		if top, _ := folder(p.ImportPath); ranks[top] != 1 || top == "test" {
			continue
		}
		for _, i := range p.Imports {
			if slices.Contains(impure, i) {
				t.Errorf("%s imports %s: rank 1 is pure", p.ImportPath, i)
			}
		}
	}
}

func TestEveryFolderSaysWhatItIsFor(t *testing.T) {
	for _, p := range list(t, "./...") {
		comments := 0
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if file.Doc != nil {
				comments++
			}
		}
		if comments != 1 {
			t.Errorf("%s has %d package comments, must have 1", p.ImportPath, comments)
		}
	}
}

// tooLong lists the files that may be longer than the rest. It only shrinks.
var tooLong = []string{}

func TestFilesAreShort(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasPrefix(d.Name(), "zz_generated"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		limit := 600
		if strings.HasSuffix(path, "_test.go") {
			limit = 1000
		}
		name := strings.TrimPrefix(path, root+"/")
		if lines := strings.Count(string(text), "\n"); lines > limit && !slices.Contains(tooLong, name) {
			t.Errorf("%s has %d lines, more than %d", name, lines, limit)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

const linkedFile = "linked-packages.txt"

// TestLinkedPackages makes what the binary consists of a matter of review: a
// new dependency shows as a diff of the list.
func TestLinkedPackages(t *testing.T) {
	var names []string
	for _, p := range list(t, "-deps", "./cmd/loam") {
		if _, own := folder(p.ImportPath); !p.Standard && !own {
			names = append(names, p.ImportPath)
		}
	}
	slices.Sort(names)
	got := strings.Join(names, "\n") + "\n"
	if *update {
		if err := os.WriteFile(linkedFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(linkedFile)
	if err != nil {
		t.Fatal(err)
	}
	have := strings.Split(string(want), "\n")
	for _, n := range names {
		if !slices.Contains(have, n) {
			t.Errorf("%s is linked into the binary and not in %s", n, linkedFile)
		}
	}
	for _, n := range have {
		if n != "" && !slices.Contains(names, n) {
			t.Errorf("%s is in %s and not linked into the binary", n, linkedFile)
		}
	}
	if t.Failed() {
		t.Log("if this is meant: go test ./test/house -run TestLinkedPackages -update")
	}
}
