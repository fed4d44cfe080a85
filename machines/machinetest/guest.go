package machinetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

func testPowerIsIdempotent(t *testing.T, f *fixture) {
	machine := f.create(t, f.spec("one", "first"))
	f.stop(t, machine)
	f.state(t, machine, machines.StateCreated)
	f.start(t, machine)
	f.start(t, machine)
	f.state(t, machine, machines.StateRunning)
	begin := time.Now()
	f.stop(t, machine)
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("stopping took %v: the machine was not asked, but cut off after the grace period", took)
	}
	f.stop(t, machine)
	f.state(t, machine, machines.StateStopped)
	f.start(t, machine)
	f.state(t, machine, machines.StateRunning)
}

func testDisksStay(t *testing.T, f *fixture) {
	machine := f.running(t, f.spec("one", "first"))
	for _, path := range []string{"/var/lib/kubelet/data", "/var/data", "/etc/data"} {
		f.run(t, machine, "kept", "tee", path)
	}
	f.stop(t, machine)
	f.start(t, machine)
	for _, path := range []string{"/var/lib/kubelet/data", "/var/data", "/etc/data"} {
		if got := f.run(t, machine, "", "cat", path); got != "kept" {
			t.Errorf("%s holds %q after a restart", path, got)
		}
	}
}

func testDisksGoWithTheMachine(t *testing.T, f *fixture) {
	machine := f.running(t, f.spec("one", "first"))
	f.run(t, machine, "old", "tee", "/var/lib/kubelet/data")
	f.delete(t, machine)
	f.running(t, f.spec("one", "first"))
	err := f.driver.Run(f.ctx, "one", "first", machines.Command{Args: []string{"cat", "/var/lib/kubelet/data"}})
	var exit *machines.ExitError
	if !errors.As(err, &exit) {
		t.Errorf("got %v, want an exit code: the new machine has the old one's data", err)
	}
}

func testFilesBeforeTheFirstStart(t *testing.T, f *fixture) {
	machine := f.create(t, f.spec("one", "first"))
	f.put(t, machine,
		machines.File{Path: "/etc/loam/deep/plain", Content: []byte("plain")},
		machines.File{Path: "/etc/loam/secret", Content: []byte("old"), Mode: 0o600},
		machines.File{Path: "/var/lib/kubelet/config", Content: []byte("on a disk"), Mode: 0o640},
		machines.File{Path: "/usr/local/bin/tool", Content: []byte("#!/bin/sh\necho tool\n"), Mode: 0o755},
		machines.File{Path: "/etc/empty"},
	)
	f.put(t, machine, machines.File{Path: "/etc/loam/secret", Content: []byte("new"), Mode: 0o400})
	f.put(t, machine)
	f.start(t, machine)
	files := map[string]struct{ content, mode string }{
		"/etc/loam/deep/plain":    {"plain", "644 0 0"},
		"/etc/loam/secret":        {"new", "400 0 0"},
		"/var/lib/kubelet/config": {"on a disk", "640 0 0"},
		"/usr/local/bin/tool":     {"#!/bin/sh\necho tool\n", "755 0 0"},
		"/etc/empty":              {"", "644 0 0"},
	}
	for path, want := range files {
		if got := f.run(t, machine, "", "cat", path); got != want.content {
			t.Errorf("%s holds %q, want %q", path, got, want.content)
		}
		if got := f.run(t, machine, "", "stat", "-c", "%a %u %g", path); strings.TrimSpace(got) != want.mode {
			t.Errorf("%s has mode, owner and group %q, want %q", path, got, want.mode)
		}
	}
	if got := f.run(t, machine, "", "stat", "-c", "%a %u %g", "/etc/loam/deep"); strings.TrimSpace(got) != "755 0 0" {
		t.Errorf("the new folder has mode, owner and group %q, want 755 0 0", got)
	}
}

func testFilesWhileRunningAndAfter(t *testing.T, f *fixture) {
	machine := f.running(t, f.spec("one", "first"))
	f.put(t, machine,
		machines.File{Path: "/etc/while", Content: []byte("running")},
		machines.File{Path: "/run/loam/while", Content: []byte("in memory"), Mode: 0o600},
		machines.File{Path: "/var/lib/kubelet/while", Content: []byte("on disk")},
	)
	for path, want := range map[string]string{"/etc/while": "running", "/run/loam/while": "in memory", "/var/lib/kubelet/while": "on disk"} {
		if got := f.run(t, machine, "", "cat", path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	if got := f.run(t, machine, "", "stat", "-c", "%a %u %g", "/run/loam/while"); strings.TrimSpace(got) != "600 0 0" {
		t.Errorf("mode, owner and group %q, want 600 0 0", got)
	}
	f.stop(t, machine)
	f.put(t, machine, machines.File{Path: "/etc/while", Content: []byte("stopped")})
	f.start(t, machine)
	if got := f.run(t, machine, "", "cat", "/etc/while"); got != "stopped" {
		t.Errorf("the file holds %q, want what was placed while it was stopped", got)
	}
}

func testFilesRefuseBadInput(t *testing.T, f *fixture) {
	machine := f.create(t, f.spec("one", "first"))
	err := f.driver.PutFiles(f.ctx, machine.Cluster, machine.Name, []machines.File{{Path: "etc/x"}, {Path: "/etc/../y"}})
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "etc/x") || !strings.Contains(err.Error(), "/etc/../y") {
		t.Errorf("got %v, want Invalid with both paths", err)
	}
}

func testFilesInMemory(t *testing.T, f *fixture) {
	machine := f.create(t, f.spec("one", "first"))
	refused := func() {
		t.Helper()
		err := f.driver.PutFiles(f.ctx, machine.Cluster, machine.Name, []machines.File{{Path: "/etc/kept"}, {Path: "/run/lost"}})
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "/run/lost") {
			t.Errorf("got %v, want Invalid that names the file", err)
		}
	}
	refused()
	f.start(t, machine)
	f.put(t, machine, machines.File{Path: "/run/lost"}, machines.File{Path: "/tmp/lost"})
	f.run(t, machine, "", "cat", "/run/lost", "/tmp/lost")
	f.stop(t, machine)
	refused()
	f.start(t, machine)
	for _, path := range []string{"/run/lost", "/tmp/lost", "/etc/kept"} {
		if err := f.driver.Run(f.ctx, "one", "first", machines.Command{Args: []string{"cat", path}}); err == nil {
			t.Errorf("%s is there", path)
		}
	}
}

func testRunStreams(t *testing.T, f *fixture) {
	machine := f.running(t, f.spec("one", "first"))
	if got := f.run(t, machine, "through\nthe machine", "cat"); got != "through\nthe machine" {
		t.Errorf("cat gave %q", got)
	}
	var stdout, stderr bytes.Buffer
	err := f.driver.Run(f.ctx, machine.Cluster, machine.Name, machines.Command{
		Args: []string{"sh", "-c", "echo out; echo err >&2"}, Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil || stdout.String() != "out\n" || stderr.String() != "err\n" {
		t.Errorf("got %q and %q, %v", stdout.String(), stderr.String(), err)
	}
	err = f.driver.Run(f.ctx, machine.Cluster, machine.Name, machines.Command{Args: []string{"sh", "-c", "echo out; echo err >&2"}})
	if err != nil {
		t.Errorf("with output thrown away: %v", err)
	}
}

func testRunExitCode(t *testing.T, f *fixture) {
	machine := f.running(t, f.spec("one", "first"))
	tests := []struct {
		args []string
		want []int
	}{
		{[]string{"sh", "-c", "exit 3"}, []int{3}},
		{[]string{"no-such-program"}, []int{126, 127}},
	}
	for _, test := range tests {
		err := f.driver.Run(f.ctx, machine.Cluster, machine.Name, machines.Command{Args: test.args})
		var exit *machines.ExitError
		if !errors.As(err, &exit) || exit.Program != test.args[0] || (exit.Code != test.want[0] && exit.Code != test.want[len(test.want)-1]) {
			t.Errorf("%v: got %v, want exit code %v", test.args, err, test.want)
		}
	}
	if err := f.driver.Run(f.ctx, machine.Cluster, machine.Name, machines.Command{}); !errors.Is(err, fault.Invalid) {
		t.Errorf("no program: got %v, want Invalid", err)
	}
}

func testRunLargeStreams(t *testing.T, f *fixture) {
	machine := f.running(t, f.spec("one", "first"))
	const size = 8 << 20
	if got := f.run(t, machine, "", "head", "-c", fmt.Sprint(size), "/dev/zero"); len(got) != size {
		t.Errorf("%d bytes came out, want %d", len(got), size)
	}
	large := strings.Repeat("0123456789abcdef", size/16)
	if got := f.run(t, machine, large, "cat"); got != large {
		t.Errorf("%d bytes came back of %d, or others", len(got), size)
	}
}

func testRunCancelled(t *testing.T, f *fixture) {
	machine := f.running(t, f.spec("one", "first"))
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	ended := make(chan error, 1)
	output, input := io.Pipe()
	go func() {
		// What the command starts has to end with it.
		err := f.driver.Run(ctx, machine.Cluster, machine.Name, machines.Command{
			Args: []string{"sh", "-c", "sleep 4321 & echo $!; wait"}, Stdout: input,
		})
		_ = input.CloseWithError(err)
		ended <- err
	}()
	var pid int
	if _, err := fmt.Fscanln(output, &pid); err != nil {
		t.Fatalf("the command does not run: %v", err)
	}
	alive := func() bool {
		check := machines.Command{Args: []string{"sh", "-c", fmt.Sprintf("kill -0 %d", pid)}}
		return f.driver.Run(f.ctx, machine.Cluster, machine.Name, check) == nil
	}
	if !alive() {
		t.Fatal("the command does not go on")
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) || !errors.Is(err, fault.Transient) {
			t.Errorf("got %v, want the cancellation, as Transient", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Run does not return")
	}
	if !eventually(func() bool { return !alive() }) {
		t.Error("the command goes on in the machine")
	}
}

func eventually(condition func() bool) bool {
	for range 100 {
		if condition() {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

func testRunNeedsARunningMachine(t *testing.T, f *fixture) {
	machine := f.create(t, f.spec("one", "first"))
	run := func() error {
		return f.driver.Run(f.ctx, machine.Cluster, machine.Name, machines.Command{Args: []string{"cat"}})
	}
	if err := run(); !errors.Is(err, fault.Waiting) {
		t.Errorf("before the first start: got %v, want Waiting", err)
	}
	f.start(t, machine)
	f.stop(t, machine)
	if err := run(); !errors.Is(err, fault.Waiting) {
		t.Errorf("switched off: got %v, want Waiting", err)
	}
}
