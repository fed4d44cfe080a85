package garden_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/scheme"
)

// From Linux' fs/ext4/ext4.h: an ioctl that stops a file system at once, and the
// flag by which not even its journal is written first.
const (
	ext4Shutdown = 0x8004587d
	noLogFlush   = 2
)

// unproven says what a run without this test leaves open. A user namespace is no
// way around: in one Linux mounts no file system of a disk, and those that it does
// mount have no pages that could be lost.
const unproven = "NOT PROVEN on this host: that a garden whose disk loses its power, with all that was not synced, has everything that it acknowledged. " +
	"It takes the root of the host, who may mount an ext4 file system and stop it. That kill -9 loses nothing is proven by TestKillLosesNothing"

// mayNot is what mount says to a root that is none on the host, as in a user
// namespace or a container with few rights.
var mayNot = regexp.MustCompile(`(?i)permission denied|not permitted|must be superuser|failed to setup loop device`)

// disk is a file system of its own that can lose its power.
type disk struct {
	image, mountpoint string
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip(unproven)
	}
	dir := t.TempDir()
	d := &disk{image: filepath.Join(dir, "image"), mountpoint: filepath.Join(dir, "disk")}
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	if err := os.Mkdir(d.mountpoint, 0o700); err != nil {
		t.Fatal(err)
	}
	run("truncate", "-s", "1G", d.image)
	run("mkfs.ext4", "-q", "-F", d.image)
	t.Cleanup(func() { _ = d.unmount() }) // it may be unmounted already
	d.mount(t)
	return d
}

func (d *disk) mount(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.mountpoint).CombinedOutput(); err != nil {
		if mayNot.Match(out) {
			t.Skipf("%s (%s)", unproven, bytes.TrimSpace(out))
		}
		t.Fatalf("mounting %s: %v\n%s", d.image, err, out)
	}
}

func (d *disk) unmount() error { return exec.Command("umount", d.mountpoint).Run() }

// losePower makes the disk forget everything that was not synced, and take
// nothing more.
func (d *disk) losePower() error {
	file, err := os.Open(d.mountpoint)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetPointerInt(int(file.Fd()), ext4Shutdown, noLogFlush), file.Close())
}

// TestPowerLossLosesNothing takes the disk's power in the middle of a burst of
// writes, and looks for everything that was acknowledged.
func TestPowerLossLosesNothing(t *testing.T) {
	const writers, rounds, burst = 8, 2, 500 * time.Millisecond
	d := newDisk(t)
	dir := filepath.Join(d.mountpoint, "data")
	unsynced := filepath.Join(d.mountpoint, "unsynced")
	acknowledged := ledger{}
	for round := range rounds {
		child := startChild(t, dir)
		c, err := client.New(childConfig(t, dir), client.Options{Scheme: scheme.Client()})
		if err != nil {
			t.Fatal(err)
		}
		writeUntil(t, c, writers, []string{"first", "second"}[round], acknowledged, func() {
			time.Sleep(burst)
			if err := os.WriteFile(unsynced, []byte("x"), 0o600); err != nil {
				t.Error(err)
			}
			if err := d.losePower(); err != nil {
				t.Error(err)
			}
			kill(child)
		})
		if err := d.unmount(); err != nil {
			t.Fatal(err)
		}
		d.mount(t)
		// Its name may have reached the journal with what the garden synced at the
		// same moment, its content has not, whatever reading it gives.
		if content, err := os.ReadFile(unsynced); len(content) > 0 {
			t.Fatalf("the disk has kept what was never synced: this test proves nothing (%q, %v)", content, err)
		}
	}
	if len(acknowledged) < writers {
		t.Fatalf("only %d creates were acknowledged: the burst was none", len(acknowledged))
	}

	wantAcknowledged(t, dir, acknowledged)
}
