package images

import (
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/internal/layer"
)

// SelfTag names the image of Loam itself in the manifests of deploy/.
func SelfTag(version string) string { return "loam.dev/loam:" + version }

// nobody is the user that the image's process has: no one's on the host.
const nobody = "65532:65532"

// WriteSelf writes an image of one program, which has to be linked statically,
// as an archive for "docker load" and "ctr images import". The same program
// gives the same bytes.
func WriteSelf(w io.Writer, program, tag string) error {
	if err := checkStatic(program); err != nil {
		return err
	}
	files := layer.New()
	if err := files.File("loam", 0o755, program); err != nil {
		return fault.New(fault.Invalid, "program %q cannot be read: %w", program, err)
	}
	// Keys are kept in files of the process, and only there.
	files.Folder("tmp", 0o1777)
	dir, err := os.MkdirTemp("", "loam-image-")
	if err != nil {
		return fmt.Errorf("making a folder for the image: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // of no use afterwards
	saved, err := layer.Save(files, filepath.Join(dir, "layer.tar"))
	if err != nil {
		return err
	}
	return layer.WriteArchive(w, layer.Image{
		Name: tag, Layers: []layer.File{saved},
		Config: v1.Config{Entrypoint: []string{"/loam"}, User: nobody, WorkingDir: "/"},
	}, runtime.GOARCH)
}

// checkStatic refuses a program that needs libraries, of which the image has none.
func checkStatic(program string) error {
	file, err := elf.Open(program)
	if err != nil {
		return fault.New(fault.Invalid, "program %q cannot be read: %w", program, err)
	}
	defer func() { _ = file.Close() }() // only read
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			return fault.New(fault.Invalid, "program %q needs libraries of this host: build it with CGO_ENABLED=0", program)
		}
	}
	return nil
}
