package boot

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// File is one of a machine, owned by root.
type File struct {
	Path    string
	Content []byte
	Mode    fs.FileMode
}

// Program is a file of this host, copied to where a machine has it.
func Program(t testing.TB, path, from string) File {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	return File{Path: path, Content: content, Mode: 0o755}
}

// inside makes a copy of the root folder that costs nothing and is gone afterwards,
// puts in the files from its input, and runs a script there. Processes and mounts
// end with it. $1 is the root folder, $2 an empty folder, $3 the script.
const inside = `set -e
mount -t tmpfs -o size=2g tmpfs "$2"
cd "$2"
mkdir upper work root
mount -t overlay -o lowerdir="$1",upperdir=upper,workdir=work overlay root
tar --extract --directory root --preserve-permissions --no-same-owner
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/run
mount -t tmpfs tmpfs root/dev
for device in null zero random urandom tty; do : >root/dev/$device && mount --bind /dev/$device root/dev/$device; done
exec chroot root sh -c "$3"
`

// Inside runs a script in a throwaway copy of the machine's root folder, with further
// files in it, on this host's kernel and network, and returns what it printed. No
// service runs. The test fails with the script.
func Inside(t testing.TB, files []File, script string) string {
	t.Helper()
	out, err := Try(t, files, script)
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return out
}

// Try is Inside for scripts that may fail.
func Try(t testing.TB, files []File, script string) (string, error) {
	t.Helper()
	r := rootOf(t)
	command := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
		"sh", "-c", inside, "sh", r.folder, t.TempDir(), script)
	command.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"}
	command.Stdin = bytes.NewReader(archive(t, files))
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := command.CombinedOutput()
	return string(out), err
}

func archive(t testing.TB, files []File) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, f := range files {
		if !filepath.IsAbs(f.Path) {
			t.Fatalf("%q is no absolute path", f.Path)
		}
		header := tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Path, "/"), Mode: int64(f.Mode.Perm()), Size: int64(len(f.Content))}
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.Content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}
