package through_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/through"
)

// diskEnv makes the test run in a mount namespace of its own, on a disk that is
// mounted there.
const diskEnv = "LOAM_TEST_SMALL_DISK"

// TestDiskFull is guarantee 4: a full disk costs answers, and nothing else. What
// was stored stays right, and what had come is taken up once there is room.
func TestDiskFull(t *testing.T) {
	dir := os.Getenv(diskEnv)
	if dir == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDiskFull$", "-test.v")
		cmd.Env = append(os.Environ(), diskEnv+"="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || strings.Contains(string(out), "--- SKIP") {
			t.Skipf("this host lets nobody mount a small disk: %v\n%s", err, out)
		}
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	disk := func(flags uintptr, size string) {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, "size="+size); err != nil {
			t.Skipf("mounting a disk of %s: %v", size, err)
		}
	}
	disk(0, "4m")
	r := buildIn(t, dir, through.Options{})
	small, large := some(1_000_000), some(9_000_000)
	first := r.upstream.AddBlob(thing.Name, small)
	if _, err := r.pull(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	d := r.upstream.AddBlob(thing.Name, large)
	for range 2 {
		if got, err := r.pull(t.Context(), d); !errors.Is(err, fault.Transient) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	}
	// Not even a manifest has room now, and is not kept by half.
	image := r.upstream.AddManifest(thing.Name, "latest", indexType, []byte(`{"schemaVersion":2,"mediaType":"`+indexType+`","manifests":[],"annotations":{"a":"`+strings.Repeat("a", 100_000)+`"}}`))
	if m, err := r.Manifest(t.Context(), thing, "latest"); err == nil {
		t.Errorf("got %d bytes", len(m.Content))
	}
	if got, err := r.pull(t.Context(), first); err != nil || !bytes.Equal(got, small) {
		t.Errorf("what was stored: %d bytes, %v", len(got), err)
	}
	disk(syscall.MS_REMOUNT, "64m")
	before := r.upstream.Counts().Begins
	if got, err := r.pull(t.Context(), d); err != nil || !bytes.Equal(got, large) {
		t.Errorf("with room again: %d bytes, %v", len(got), err)
	}
	if n := r.upstream.Counts().Begins; n[len(before)] == 0 {
		t.Error("what had come before the disk was full was fetched again")
	}
	r.manifest(t, "latest", image, false)
}
