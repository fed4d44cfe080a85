package docker

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// Daemon is a daemon that belongs to one test, which may end it. It has a folder and
// a network namespace of its own, so that its bridges and packet filters meet nobody
// else's.
type Daemon struct {
	t         testing.TB
	namespace string
	folder    string
	process   *exec.Cmd
}

// daemons counts those of this process.
var daemons atomic.Int64

// Own starts a daemon for a test and removes it with all that it has at the end.
// The test is skipped in short mode, and where it does not run as root.
func Own(t testing.TB) *Daemon {
	t.Helper()
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("needs a container daemon of its own, which short mode leaves out and only root can start")
	}
	// A socket's path may have 107 bytes, which those of tests' folders often exceed.
	folder, err := os.MkdirTemp("", "loam-docker-")
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{t: t, folder: folder, namespace: "loam-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(daemons.Add(1), 10)}
	t.Cleanup(d.remove)
	d.run("ip", "netns", "add", d.namespace)
	d.run("ip", "-n", d.namespace, "link", "set", "lo", "up")
	d.Start()
	return d
}

// Environment names the daemon to clients.
func (d *Daemon) Environment() string {
	return "DOCKER_HOST=unix://" + filepath.Join(d.folder, "docker.sock")
}

// Within is what a command begins with that is to run in the daemon's network.
func (d *Daemon) Within() []string {
	return []string{"nsenter", "--net=/run/netns/" + d.namespace, "--"}
}

// Start starts the daemon and waits until it answers.
func (d *Daemon) Start() {
	d.t.Helper()
	path := func(name string) string { return filepath.Join(d.folder, name) }
	log, err := os.OpenFile(path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the daemon has its own copy
	words := append(d.Within(), "dockerd", "--host", "unix://"+path("docker.sock"), "--data-root", path("data"), "--exec-root", path("run"), "--pidfile", path("pid"))
	d.process = exec.Command(words[0], words[1:]...)
	d.process.Stdout, d.process.Stderr = log, log
	// It does not outlive a test that is killed.
	d.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.process.Start(); err != nil {
		d.t.Fatal(err)
	}
	c, err := client.New(client.WithHost("unix://" + path("docker.sock")))
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for deadline := time.Now().Add(startTime); !answers(c); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(path("log"))
			d.t.Fatalf("dockerd does not answer after %v: %s", startTime, text[max(0, len(text)-2000):])
		}
	}
}

// End sends the daemon a signal and waits until it has ended.
func (d *Daemon) End(signal syscall.Signal) {
	d.t.Helper()
	if err := d.process.Process.Signal(signal); err != nil {
		d.t.Fatal(err)
	}
	_ = d.process.Wait() // how it ends is up to the signal
	d.process = nil
	// Docker's unit has RestartSec=2: what dies with the daemon, its containerd, would
	// be taken for one that is there.
	time.Sleep(2 * time.Second)
}

// remove ends the daemon with its containers and removes its folder.
func (d *Daemon) remove() {
	if d.process != nil {
		d.End(syscall.SIGTERM)
	}
	d.run("ip", "netns", "delete", d.namespace)
	// A daemon that is killed leaves its folder mounted on itself.
	for syscall.Unmount(filepath.Join(d.folder, "data"), syscall.MNT_DETACH) == nil {
	}
	if err := os.RemoveAll(d.folder); err != nil {
		d.t.Error(err)
	}
}

func (d *Daemon) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Errorf("%s %v: %v: %s", name, args, err, out)
	}
}
