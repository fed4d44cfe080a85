package layer

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// FS adds every file of an embedded tree below a folder of the layer. Embedded
// files have no modes: what starts with "#!" may be run.
func (l *Layer) FS(prefix string, files fs.FS, edit func(name string, content []byte) []byte) error {
	return fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("adding %q to a layer: %w", name, err)
		}
		mode := int64(0o644)
		if len(content) > 2 && string(content[:2]) == "#!" {
			mode = 0o755
		}
		if edit != nil {
			content = edit(name, content)
		}
		l.Bytes(path.Join(prefix, name), mode, content)
		return nil
	})
}

// Tree adds a folder of this host with owners, modes, links and hard links, below
// a folder of the layer. Sockets, pipes and devices are left out: nothing at rest
// needs them. skip is asked with paths relative to the tree, for a folder and
// all that is below it.
func (l *Layer) Tree(prefix, root string, skip func(name string) bool) error {
	type inode struct{ device, number uint64 }
	first := map[inode]string{}
	return filepath.WalkDir(root, func(full string, dir fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		if name != "." && skip != nil && skip(name) {
			if dir.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := dir.Info()
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("reading the owner of %q: not supported on this system", full)
		}
		header := tar.Header{Name: path.Join(prefix, name), Mode: modeOf(info.Mode()), Uid: int(stat.Uid), Gid: int(stat.Gid)}
		switch {
		case info.IsDir():
			header.Typeflag = tar.TypeDir
			l.put(header, nil)
		case info.Mode()&fs.ModeSymlink != 0:
			header.Typeflag = tar.TypeSymlink
			if header.Linkname, err = os.Readlink(full); err != nil {
				return err
			}
			l.put(header, nil)
		case info.Mode().IsRegular():
			id := inode{stat.Dev, stat.Ino}
			if earlier, linked := first[id]; linked && stat.Nlink > 1 {
				header.Typeflag, header.Linkname = tar.TypeLink, earlier
				l.put(header, nil)
				return nil
			}
			first[id] = clean(header.Name)
			header.Typeflag, header.Size = tar.TypeReg, info.Size()
			l.put(header, func() (io.ReadCloser, error) { return os.Open(full) })
		}
		return nil
	})
}

// modeOf gives permission bits with those for set-user-id and the like, which
// fs.FileMode keeps elsewhere.
func modeOf(mode fs.FileMode) int64 {
	bits := int64(mode.Perm())
	for flag, bit := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&flag != 0 {
			bits |= bit
		}
	}
	return bits
}
