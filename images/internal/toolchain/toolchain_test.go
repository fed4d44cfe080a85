package toolchain_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/internal/toolchain"
)

const source = `package main

import "runtime"

var version string

func main() { _, file, _, _ := runtime.Caller(0); println(version, file) }
`

// program writes a module into a folder of its own and builds it there.
func program(t *testing.T, golang toolchain.Go, code string) ([]byte, error) {
	t.Helper()
	folder, out := t.TempDir(), t.TempDir()
	for name, content := range map[string]string{"go.mod": "module example.com/program\n\ngo 1.26.0\n", "main.go": code} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := golang.Build(t.Context(), toolchain.Module{Folder: folder, Packages: ".", LDFlags: "-X main.version=v1.2.3"}, out)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(filepath.Join(out, "program"))
	if err != nil {
		t.Fatal(err)
	}
	return content, nil
}

func TestBuildIsReproducible(t *testing.T) {
	golang, err := toolchain.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// What a user has set must not change a binary.
	t.Setenv("GOFLAGS", "-tags=whatever")
	t.Setenv("GOOS", "plan9")
	first, err := program(t, golang, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOFLAGS", "")
	second, err := program(t, golang, source)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the same module built in two folders gives two binaries")
	}
	if !bytes.Contains(first, []byte("v1.2.3")) {
		t.Error("the linker flag did not arrive")
	}
}

func TestBuildTellsWhatIsWrong(t *testing.T) {
	golang, err := toolchain.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = program(t, golang, strings.Replace(source, "println", "undefinedFunction", 1))
	if err == nil || !strings.Contains(err.Error(), "undefinedFunction") {
		t.Errorf("got %v, want the compiler's message", err)
	}
}

func TestFindWithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := toolchain.Find(t.Context()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v, want invalid", err)
	}
}

func TestFindOldGo(t *testing.T) {
	for version, accepted := range map[string]bool{
		"go1.25.3": false, "go1.9": false, "go1.26rc1": true, "go1.26.8": true, "go1.100": true, "go2.0": true, "devel go1.27-abc": true,
	} {
		bin := t.TempDir()
		script := "#!/bin/sh\necho '{\"GOVERSION\": \"" + version + "\"}'\n"
		if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin+":/usr/bin:/bin")
		_, err := toolchain.Find(t.Context())
		if (err == nil) != accepted {
			t.Errorf("%s: got %v, accepted should be %v", version, err, accepted)
		}
	}
}

func TestFlags(t *testing.T) {
	flags := toolchain.Module{Tags: "seccomp", LDFlags: "-X a.b=c"}.Flags()
	for _, want := range []string{"-trimpath", "-buildvcs=false", "seccomp"} {
		if !slices.Contains(flags, want) {
			t.Errorf("%s is not in %v", want, flags)
		}
	}
	if !slices.Contains(toolchain.Environment(true), "CGO_ENABLED=1") || !slices.Contains(toolchain.Environment(false), "CGO_ENABLED=0") {
		t.Error("cgo is not as asked for")
	}
}
