// Package debian makes Debian root folders and picks programs with their
// libraries out of them. Package images calls it.
//
// It must not know what the root folder is for.
package debian

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/loam-cloud/loam/fault"
)

// Check tells what is missing on this host to make a root folder. Faults:
// Invalid, Denied.
func Check() error {
	if os.Geteuid() != 0 {
		return fault.New(fault.Denied, "building a node image makes a Debian root folder, which only root can: run it with sudo")
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return fault.New(fault.Invalid, "building a node image needs debootstrap: apt-get install debootstrap (Fedora: dnf install debootstrap)")
	}
	return nil
}

// Bootstrap fills an empty folder with a minimal Debian and the given packages,
// from the mirror that debootstrap uses unless told otherwise.
func Bootstrap(ctx context.Context, dir, suite string, packages []string) error {
	// debootstrap wants the folder to be one that allows devices and programs,
	// and owned by root with the usual mode.
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("preparing %q: %w", dir, err)
	}
	command := exec.CommandContext(ctx, "debootstrap", "--variant=minbase",
		"--include="+strings.Join(packages, ","), suite, dir)
	command.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
		// The day on which an account was made, in /etc/shadow.
		"SOURCE_DATE_EPOCH=0")
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	command.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// It mounts /proc inside and may leave it when killed: in a namespace of
		// its own that goes away with it.
		Unshareflags: syscall.CLONE_NEWNS,
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := command.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(output.String()), "\n")
		return fault.New(fault.Transient, "running debootstrap: %w\n%s\n(is Debian's mirror reachable? http_proxy is honoured)",
			err, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
	return nil
}

// Leftovers are paths, relative to the root folder, that differ from one run to
// the next or serve no running system.
func Leftovers(name string) bool {
	for _, prefix := range []string{
		"dev", "proc", "run", "sys", "tmp",
		"etc/hostname", "etc/machine-id", "etc/resolv.conf", "etc/.pwd.lock",
		"usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man", "usr/share/lintian",
		"var/cache/apt", "var/cache/debconf", "var/cache/ldconfig", "var/lib/apt/lists", "var/log", "var/lib/systemd",
		"var/lib/dpkg/available-old", "var/lib/dpkg/status-old", "var/lib/dpkg/diversions-old", "var/lib/dpkg/statoverride-old",
	} {
		if name == prefix || strings.HasPrefix(name, prefix+"/") {
			return true
		}
	}
	return false
}

// Contents is what was picked out of a root folder, by path relative to it.
type Contents struct {
	// Files maps a path to the file of this host with its content.
	Files map[string]string
	// Links maps a symbolic link to its target.
	Links map[string]string
}

// Programs picks the programs and plug-ins of packages out of a root folder,
// with the shared libraries that they need, and nothing else.
func Programs(root string, packages []string) (Contents, error) {
	contents := Contents{Files: map[string]string{}, Links: map[string]string{}}
	for _, name := range packages {
		owned, err := ownedBy(root, name)
		if err != nil {
			return Contents{}, err
		}
		for _, file := range owned {
			if err := contents.pick(root, file); err != nil {
				return Contents{}, fmt.Errorf("picking %q of package %s: %w", file, name, err)
			}
		}
	}
	return contents, contents.addLibraries(root)
}

// pick adds one file when it is a program or a plug-in.
func (c Contents) pick(root, file string) error {
	path, full, err := inside(root, file)
	if err != nil {
		return err
	}
	folder := filepath.Dir(path)
	if folder != "usr/bin" && folder != "usr/sbin" && filepath.Base(folder) != "xtables" {
		return nil
	}
	info, err := os.Lstat(full)
	switch {
	case err != nil:
		return err
	case info.Mode()&os.ModeSymlink != 0:
		c.Links[path], err = os.Readlink(full)
		return err
	case info.Mode().IsRegular():
		c.Files[path] = full
	}
	return nil
}

// ownedBy lists the paths that dpkg recorded for a package.
func ownedBy(root, name string) ([]string, error) {
	matches, err := filepath.Glob(filepath.Join(root, "var/lib/dpkg/info", name+"*.list"))
	if err != nil {
		return nil, fmt.Errorf("looking for package %s: %w", name, err)
	}
	for _, match := range matches {
		// A package that is installed per architecture has it in the name.
		if base, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(match), ".list"), ":"); base != name {
			continue
		}
		content, err := os.ReadFile(match)
		if err != nil {
			return nil, fmt.Errorf("reading what package %s owns: %w", name, err)
		}
		return strings.Fields(string(content)), nil
	}
	return nil, fmt.Errorf("package %s is not in root folder %q", name, root)
}
