package debian

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
)

// inside resolves the folder of a path within the root, whose links may be
// absolute, and leaves the last element as it is: what it is called matters.
// path is relative to the root, full is on this host.
func inside(root, name string) (path, full string, err error) {
	folder, err := securejoin.SecureJoin(root, filepath.Dir(name))
	if err != nil {
		return "", "", err
	}
	full = filepath.Join(folder, filepath.Base(name))
	path, err = filepath.Rel(root, full)
	return path, full, err
}

// addLibraries adds the loader and the shared libraries of all programs, and
// those of the libraries, under the names by which they are looked for.
func (c Contents) addLibraries(root string) error {
	folders, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu*"))
	if err != nil {
		return fmt.Errorf("finding library folders: %w", err)
	}
	for i := range folders {
		folders[i] = strings.TrimPrefix(folders[i], root)
	}
	folders = append(folders, "/usr/lib")
	queue := make([]string, 0, len(c.Files))
	for _, file := range c.Files {
		queue = append(queue, file)
	}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		wanted, err := dependencies(next)
		if err != nil {
			return fmt.Errorf("reading the libraries of %q: %w", next, err)
		}
		for _, name := range wanted {
			path, file, err := locate(root, folders, name)
			if err != nil {
				return fmt.Errorf("finding a library of %q: %w", next, err)
			}
			if _, known := c.Files[path]; !known {
				c.Files[path] = file
				queue = append(queue, file)
			}
		}
	}
	return nil
}

// dependencies reads what a program asks for: libraries by name, its loader by
// path. A file that is no program asks for nothing.
func dependencies(path string) ([]string, error) {
	file, err := elf.Open(path)
	var format *elf.FormatError
	if errors.As(err, &format) || errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	wanted, err := file.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, program := range file.Progs {
		if program.Type != elf.PT_INTERP || program.Filesz == 0 {
			continue
		}
		text := make([]byte, program.Filesz)
		if _, err := program.ReadAt(text, 0); err != nil {
			return nil, err
		}
		wanted = append(wanted, strings.TrimRight(string(text), "\x00"))
	}
	return wanted, nil
}

// locate finds a library by name in the folders, or by its absolute path. file is
// where its content is on this host.
func locate(root string, folders []string, name string) (path, file string, err error) {
	candidates := []string{name}
	if !filepath.IsAbs(name) {
		candidates = candidates[:0]
		for _, folder := range folders {
			candidates = append(candidates, filepath.Join(folder, name))
		}
	}
	for _, candidate := range candidates {
		if path, _, err = inside(root, candidate); err != nil {
			return "", "", err
		}
		if file, err = securejoin.SecureJoin(root, candidate); err != nil {
			return "", "", err
		}
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return path, file, nil
		}
	}
	return "", "", fmt.Errorf("%s is not in root folder %q", name, root)
}
