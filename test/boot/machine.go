package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bootTime is what a boot may take: 70 to 125 s where nothing else runs, and several
// times that on a busy host.
const bootTime = 25 * time.Minute

// Seed is what a machine is booted with, in the form NoCloud has it in.
type Seed struct {
	// Instance is the instance-id: for a new one cloud-init does everything anew.
	Instance                            string
	UserData, VendorData, NetworkConfig []byte
}

// Machine is a virtual machine of one test. Its disk lasts from boot to boot.
type Machine struct {
	t      testing.TB
	root   root
	folder string
	// UUID is what its firmware tells.
	UUID string
	// Reach leads from an address in the machine's network, 10.0.2.100:443, to one of
	// this host's loopback; the machine reaches nothing else.
	Reach map[string]string
	// Files are at /loam-test in the machine.
	Files []File
}

// New makes a machine that is off.
func New(t testing.TB, uuid string) *Machine {
	t.Helper()
	m := &Machine{t: t, root: rootOf(t), folder: t.TempDir(), UUID: uuid, Reach: map[string]string{}}
	m.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", m.root.disk, "-F", "raw", m.path("disk.qcow2"))
	return m
}

func (m *Machine) path(name string) string { return filepath.Join(m.folder, name) }

func (m *Machine) run(name string, args ...string) {
	m.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// ask is what a machine's test service runs: each answer between two lines that no
// program prints.
func ask(questions []Question) string {
	var script strings.Builder
	// Names of programs as a login has them; and systemd has given its orders.
	script.WriteString("export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8\ncloud-init status --wait >/dev/null\n")
	for _, q := range questions {
		fmt.Fprintf(&script, "echo '<<<%s'\n( %s\n) 2>&1\necho \">>>$?\"\n", q.Name, q.Script)
	}
	// Services need not end in good order, which takes long under emulation.
	script.WriteString("sync\nsystemctl poweroff --force\n")
	return script.String()
}

// Question is a script that a machine runs once cloud-init is through.
type Question struct{ Name, Script string }

// Answer is what it printed, and how it ended.
type Answer struct {
	Text string
	Code string
}

// Boot boots the machine with a seed, asks it, and waits until it is off.
func (m *Machine) Boot(seed Seed, questions []Question) map[string]Answer {
	m.t.Helper()
	dir := m.path("seed")
	for name, content := range map[string][]byte{
		"user-data": seed.UserData, "vendor-data": seed.VendorData, "network-config": seed.NetworkConfig,
		"meta-data": []byte("instance-id: " + seed.Instance + "\n"),
	} {
		m.write(filepath.Join(dir, name), content, 0o600)
	}
	m.run("genisoimage", "-quiet", "-output", m.path("seed.iso"), "-volid", "cidata", "-joliet", "-rock", dir)
	for _, f := range append(m.Files, File{Path: "/look", Content: []byte(ask(questions)), Mode: 0o644}) {
		m.write(filepath.Join(m.path("files"), f.Path), f.Content, f.Mode)
	}
	// Without a journal it needs no room of its own.
	_ = os.Remove(m.path("files.ext4")) // of the last boot
	m.run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", m.path("files"), m.path("files.ext4"), "1G")
	began := time.Now()
	log := m.emulate()
	results, err := os.ReadFile(m.path("results"))
	if err != nil {
		m.t.Fatal(err)
	}
	answers := read(string(results))
	if len(answers) != len(questions) {
		m.t.Fatalf("%d of %d questions were answered:\n%s\nits console:\n%s", len(answers), len(questions), results, log[max(0, len(log)-6000):])
	}
	m.t.Logf("booted, asked and off in %v", time.Since(began).Round(time.Second))
	return answers
}

func (m *Machine) write(path string, content []byte, mode os.FileMode) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, mode); err != nil {
		m.t.Fatal(err)
	}
}

// emulate runs the machine until it is off, and returns what its console said. An
// emulated processor without cx16 and a kernel 6.1 are what runs without crashing.
func (m *Machine) emulate() string {
	m.t.Helper()
	network := "user,restrict=on,model=virtio-net-pci"
	for inside, here := range m.Reach {
		host, port, _ := strings.Cut(here, ":")
		network += ",guestfwd=tcp:" + inside + "-cmd:busybox nc " + host + " " + port
	}
	ctx, cancel := context.WithTimeout(context.Background(), bootTime)
	defer cancel()
	command := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "qemu64,-cx16", "-smp", "2", "-m", "1536",
		"-uuid", m.UUID, "-display", "none", "-monitor", "none", "-serial", "file:"+m.path("console"), "-serial", "file:"+m.path("results"), "-no-reboot",
		"-kernel", m.root.kernel, "-initrd", m.root.initrd,
		"-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=1 systemd.show_status=0",
		"-drive", "file="+m.path("disk.qcow2")+",if=virtio,format=qcow2,cache=unsafe",
		"-drive", "file="+m.path("seed.iso")+",if=virtio,format=raw,readonly=on",
		"-drive", "file="+m.path("files.ext4")+",if=virtio,format=raw,readonly=on",
		// What the guest agent listens on.
		"-device", "virtio-serial-pci", "-chardev", "null,id=agent", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
		"-nic", network)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := command.CombinedOutput()
	console, readErr := os.ReadFile(m.path("console"))
	if err != nil || readErr != nil {
		m.t.Fatalf("the machine does not end well: %v\n%s\nits console:\n%s", errors.Join(err, readErr, ctx.Err()), out, console[max(0, len(console)-6000):])
	}
	return string(console)
}

// read takes the answers apart. The serial line ends lines with a carriage return.
func read(text string) map[string]Answer {
	answers := map[string]Answer{}
	name, collected := "", []string{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if begin, ok := strings.CutPrefix(line, "<<<"); ok {
			name, collected = begin, nil
			continue
		}
		// What does not end with a line end has the mark behind it.
		before, code, ended := strings.Cut(line, ">>>")
		if !ended || name == "" {
			collected = append(collected, line)
			continue
		}
		if before != "" {
			collected = append(collected, before)
		}
		answers[name] = Answer{Text: strings.Join(collected, "\n"), Code: code}
		name = ""
	}
	return answers
}
