package boot_test

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/nodeconfig"
	"github.com/loam-cloud/loam/shoots/enroll"
	"github.com/loam-cloud/loam/test/boot"
)

const (
	machineName = "worker-1"
	machineUUID = "6d1f5b1e-9c1a-4f0e-8f43-1d0f7a3c2b10"
	joinToken   = "abcdef.0123456789abcdef"
	discovery   = "/etc/loam/discovery.conf"
)

// desk is an agent's, on this host's loopback, that has something to give at the
// second question only.
type desk struct {
	tickets *enroll.Tickets
	server  *httptest.Server
	ca      []byte

	mu    sync.Mutex
	asked int
	log   strings.Builder
}

// openDesk serves under a name or address that machines have for it.
func openDesk(t *testing.T, host string) *desk {
	t.Helper()
	d := &desk{}
	var err error
	if d.tickets, err = enroll.Open(filepath.Join(t.TempDir(), "tickets.json"), clock.RealClock{}); err != nil {
		t.Fatal(err)
	}
	certificate, err := enroll.Certificate(t.TempDir(), []string{host}, clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	d.ca = enroll.Authority(certificate)
	d.server = httptest.NewUnstartedServer(&enroll.Desk{
		Tickets: d.tickets, Clock: clock.RealClock{}, Contents: d.contents,
		Log: funcr.New(func(_, args string) { d.locked(func() { d.log.WriteString(args + "\n") }) }, funcr.Options{}),
	})
	d.server.TLS = enroll.TLS(certificate)
	d.server.StartTLS()
	t.Cleanup(d.server.Close)
	return d
}

func (d *desk) locked(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do()
}

func (d *desk) contents(_ context.Context, machine string) (files []nodeconfig.File, err error) {
	d.locked(func() { d.asked++ })
	if d.asked == 1 {
		return nil, fault.New(fault.Waiting, "the API server does not answer yet")
	}
	return []nodeconfig.File{
		{Path: discovery, Content: []byte(machine + " " + joinToken), Mode: 0o600},
		{Path: "/etc/loam/secrets/registry", Content: []byte("secret\n"), Mode: 0o400},
	}, nil
}

// firstBoot are the files of a machine that finds the desk at an address.
func (d *desk) firstBoot(t *testing.T, server, until string) []boot.File {
	t.Helper()
	ticket, err := d.tickets.Issue(enroll.Machine{Name: machineName, UUID: machineUUID}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	files, err := nodeconfig.FirstBootFiles(nodeconfig.FirstBoot{Server: server, CA: d.ca, Machine: machineName, Ticket: ticket, Until: until})
	if err != nil {
		t.Fatal(err)
	}
	var made []boot.File
	for _, f := range files {
		made = append(made, boot.File(f))
	}
	return made
}

// TestFirstBootFetches runs what is rendered for the first boot with Debian's own
// shell, curl, openssl and tar against the agent's desk.
func TestFirstBootFetches(t *testing.T) {
	d := openDesk(t, "127.0.0.1")
	files := append(d.firstBoot(t, d.server.Listener.Addr().String(), ""),
		boot.File{Path: "/sys/class/dmi/id/product_uuid", Content: []byte(machineUUID + "\n"), Mode: 0o400})
	out := boot.Inside(t, files, `
first=/usr/local/lib/loam/first-boot
$first && exit 1
echo "nothing yet"
test -s /etc/loam/first-boot/ticket && ! test -e /etc/loam/first-boot/done
$first
stat -c '%n %a %U' `+discovery+` /etc/loam/secrets/registry /etc/loam/first-boot/machine.key /etc/loam/first-boot/done
cat `+discovery+`; echo
test -e /etc/loam/first-boot/ticket && exit 1
rm `+discovery+`
$first && cat `+discovery+` >/dev/null && echo "again by its key"
rm /etc/loam/first-boot/machine.*
$first; echo "another key: $?"
ls /run
`)
	for _, want := range []string{
		"the agent answered 503\nnothing yet",
		discovery + " 600 root", "/etc/loam/secrets/registry 400 root", "/etc/loam/first-boot/machine.key 600 root", "/etc/loam/first-boot/done 600 root",
		machineName + " " + joinToken, "again by its key", "another key: 77",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "loam-first-boot") {
		t.Errorf("it leaves files: %s", out)
	}
	d.locked(func() {
		if log := d.log.String(); strings.Contains(log, joinToken) || !strings.Contains(log, "another key claimed") {
			t.Errorf("logged %s", log)
		}
	})
}

// TestFirstBootTrustsItsAgentOnly has the machine meet another server.
func TestFirstBootTrustsItsAgentOnly(t *testing.T) {
	d, other := openDesk(t, "127.0.0.1"), openDesk(t, "127.0.0.1")
	files := append(d.firstBoot(t, other.server.Listener.Addr().String(), ""),
		boot.File{Path: "/sys/class/dmi/id/product_uuid", Content: []byte(machineUUID + "\n"), Mode: 0o400})
	out, err := boot.Try(t, files, "/usr/local/lib/loam/first-boot")
	if err == nil || !strings.Contains(out, "certificate") {
		t.Errorf("got %v:\n%s", err, out)
	}
	other.locked(func() {
		if other.asked > 0 || other.log.Len() > 0 {
			t.Errorf("it told another server something: %s", other.log.String())
		}
	})
}

// TestFirstBootUnits has systemd look at the units.
func TestFirstBootUnits(t *testing.T) {
	d := openDesk(t, "127.0.0.1")
	out := boot.Inside(t, d.firstBoot(t, "127.0.0.1:1", "/etc/kubernetes/kubelet.conf"),
		"systemd-analyze verify --man=no /etc/systemd/system/loam-first-boot.service /etc/systemd/system/loam-first-boot.timer 2>&1; sh -n /usr/local/lib/loam/first-boot")
	if strings.Contains(out, "loam") {
		t.Errorf("systemd says:\n%s", out)
	}
}
