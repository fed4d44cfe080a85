package forward_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/shoots/forward"
	"github.com/loam-cloud/loam/shoots/ports"
)

const (
	// patience bounds waits for what comes soon, on a busy host too.
	patience = 30 * time.Second
	tcp      = corev1.ProtocolTCP
	udp      = corev1.ProtocolUDP
)

var (
	loopback = netip.MustParseAddr("127.0.0.1")
	one      = forward.Cluster{ID: "shoot--one", Title: "one", Machines: map[string]string{"node": "machine"}}
	two      = forward.Cluster{ID: "shoot--two", Title: "two"}
)

// whole ends a test only when nothing of its forwarder runs any more.
func whole(t *testing.T, c forward.Config) *forward.Forwarder {
	t.Helper()
	if c.Dialer == nil {
		c.Dialer = &forward.Reach{Way: forward.WayDirect, Clock: clock.RealClock{}}
	}
	f := forward.New(c)
	t.Cleanup(func() {
		f.Close()
		eventually(t, func() error {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			if strings.Contains(string(stacks), "/shoots/forward.") {
				return fmt.Errorf("something still runs:\n%s", stacks)
			}
			return nil
		})
	})
	return f
}

func eventually(t *testing.T, ask func() error) {
	t.Helper()
	var problem error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if problem = ask(); problem == nil {
			return
		}
	}
	t.Fatal(problem)
}

// echo answers connections with what they say, after its name.
func echo(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, name+":")
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// echoUDP answers each datagram with itself, and counts its clients.
func echoUDP(t *testing.T) (netip.AddrPort, *atomic.Int32) {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	var clients atomic.Int32
	go func() {
		seen := map[string]bool{}
		buffer := make([]byte, 1<<16)
		for {
			n, from, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			if !seen[from.String()] {
				seen[from.String()] = true
				clients.Add(1)
			}
			_, _ = socket.WriteTo(buffer[:n], from)
		}
	}()
	return netip.MustParseAddrPort(socket.LocalAddr().String()), &clients
}

func want(id string, protocol corev1.Protocol, backends ...netip.AddrPort) ports.Want {
	w := ports.Want{Line: ports.Line{ID: id, Namespace: "default", Name: id, Protocol: protocol}, Listen: loopback}
	for _, b := range backends {
		w.Backends = append(w.Backends, ports.Backend{Node: "node", Address: b})
	}
	return w
}

// ask says something over a connection, and its end, and returns the answer.
func ask(at netip.AddrPort, text string) (string, error) {
	conn, err := net.DialTimeout("tcp", at.String(), patience)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// askUDP repeats itself: datagrams may get lost.
func askUDP(t *testing.T, at netip.AddrPort, text string) string {
	t.Helper()
	conn, err := net.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	buffer := make([]byte, 1<<16)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		_, _ = io.WriteString(conn, text)
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := conn.Read(buffer); err == nil {
			return string(buffer[:n])
		}
	}
	t.Fatalf("%s does not answer", at)
	return ""
}

func TestTCP(t *testing.T) {
	f := whole(t, forward.Config{})
	gone, a, b := closedPort(t), echo(t, "a"), echo(t, "b")
	at := f.Serve(one, []ports.Want{want("web", tcp, gone, a)})["web"].Address
	long := strings.Repeat("0123456789", 100_000)
	// More than once: the node that is gone must not be in the way.
	for range 3 {
		if got, err := ask(at, long); err != nil || got != "a:"+long {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
	if again := f.Serve(one, []ports.Want{want("web", tcp, b)})["web"]; again.Address != at {
		t.Errorf("the port is %v after a change of nodes, and was %v", again, at)
	}
	if got, err := ask(at, "x"); err != nil || got != "b:x" {
		t.Errorf("the new node says %q, %v", got, err)
	}
	f.Serve(one, []ports.Want{want("web", tcp)})
	if got, err := ask(at, "x"); err == nil && got != "" {
		t.Errorf("nobody says %q", got)
	}
	f.Serve(one, nil)
	if _, err := net.DialTimeout("tcp", at.String(), patience); err == nil {
		t.Error("a port is open that nobody wants any more")
	}
}

// closedPort is one where nobody listens.
func closedPort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	_ = l.Close()
	return at
}

func TestClosingEndsConnections(t *testing.T) {
	f := whole(t, forward.Config{})
	at := f.Serve(one, []ports.Want{want("web", tcp, echo(t, "a"))})["web"].Address
	conn, err := net.DialTimeout("tcp", at.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(conn, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	f.Drop(one.ID)
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection goes on: %v", err)
	}
}

func TestUDP(t *testing.T) {
	f := whole(t, forward.Config{})
	server, _ := echoUDP(t)
	at := f.Serve(one, []ports.Want{want("names", udp, server)})["names"].Address
	for _, text := range []string{"a", "b", strings.Repeat("c", 40_000)} {
		if got := askUDP(t, at, text); got != text {
			t.Errorf("%d bytes came back as %d", len(text), len(got))
		}
	}
}

func TestSilentFlowsEnd(t *testing.T) {
	f := whole(t, forward.Config{Idle: 20 * time.Millisecond})
	server, clients := echoUDP(t)
	at := f.Serve(one, []ports.Want{want("names", udp, server)})["names"].Address
	conn, err := net.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	// The same client is another to the node once its flow has ended.
	eventually(t, func() error {
		_, _ = io.WriteString(conn, "x")
		time.Sleep(60 * time.Millisecond)
		if n := clients.Load(); n < 2 {
			return fmt.Errorf("the node has seen %d flows", n)
		}
		return nil
	})
}

func TestFlowsAreBounded(t *testing.T) {
	f := whole(t, forward.Config{})
	server, _ := echoUDP(t)
	at := f.Serve(one, []ports.Want{want("names", udp, server)})["names"].Address
	before := runtime.NumGoroutine()
	for i := range 300 {
		if got := askUDP(t, at, fmt.Sprint(i)); got != fmt.Sprint(i) {
			t.Fatalf("client %d gets %q", i, got)
		}
	}
	// Each flow has two goroutines, and 128 flows stay.
	eventually(t, func() error {
		if n := runtime.NumGoroutine() - before; n > 2*128+20 {
			return fmt.Errorf("%d goroutines are left of 300 flows", n)
		}
		return nil
	})
}

func TestConflicts(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	taken := netip.MustParseAddrPort(other.Addr().String())
	f := whole(t, forward.Config{Holder: func(at netip.AddrPort, protocol corev1.Protocol) string {
		if at == taken && protocol == tcp {
			return "nginx (process 7)"
		}
		return ""
	}})
	prefer := func(w ports.Want, port uint16, fixed bool) ports.Want {
		w.Preferred, w.Fixed = port, fixed
		return w
	}
	first := f.Serve(one, []ports.Want{want("web", tcp)})["web"].Address
	reserved, port := two, uint16(29999)
	if first.Port() == port {
		port--
	}
	reserved.Reserved = []forward.Binding{{Address: netip.AddrPortFrom(netip.IPv4Unspecified(), port), Protocol: tcp, Holder: "node x"}}
	got := f.Serve(reserved, []ports.Want{
		prefer(want("program", tcp), taken.Port(), false), prefer(want("cluster", tcp), first.Port(), true),
		prefer(want("machine", tcp), port, true), prefer(want("protocol", udp), port, false),
	})
	if o := got["program"]; o.Holder != "nginx (process 7)" || !o.Address.IsValid() || o.Address.Port() == taken.Port() {
		t.Errorf("a program's port: %+v", o)
	}
	if o := got["cluster"]; o.Holder != `default/web of cluster "one"` || o.Address.IsValid() {
		t.Errorf("a cluster's port: %+v", o)
	}
	if o := got["machine"]; o.Holder != "node x" || o.Address.IsValid() {
		t.Errorf("a machine's port: %+v", o)
	}
	if o := got["protocol"]; o.Holder != "" && o.Holder != "another program" {
		t.Errorf("the same port of another protocol: %+v", o)
	}
	away := want("away", tcp)
	away.Listen = netip.MustParseAddr("192.0.2.1")
	if o := f.Serve(one, []ports.Want{away})["away"]; o.Problem != "this host has no address 192.0.2.1" {
		t.Errorf("another host's address: %+v", o)
	}
	// What went made room.
	if o := f.Serve(reserved, []ports.Want{prefer(want("cluster", tcp), first.Port(), true)})["cluster"]; o.Address != first {
		t.Errorf("the port that is free now: %+v", o)
	}
}

func TestKept(t *testing.T) {
	f := whole(t, forward.Config{})
	free := f.Serve(one, []ports.Want{want("a", tcp), want("b", tcp)})
	if free["a"].Address == free["b"].Address {
		t.Fatalf("two free ports are %v", free)
	}
	f.Drop(one.ID)
	a, b := want("a", tcp), want("b", tcp)
	a.Kept, b.Kept = free["a"].Address, free["b"].Address
	// New ones must not take them, whatever their order.
	thief := want("thief", tcp)
	thief.Preferred, thief.Fixed = a.Kept.Port(), true
	again := f.Serve(one, []ports.Want{thief, b, a})
	if again["a"].Address != a.Kept || again["b"].Address != b.Kept || again["thief"].Address.IsValid() {
		t.Errorf("they were %v and are %v", free, again)
	}
}

func TestNothingAfterClose(t *testing.T) {
	f := whole(t, forward.Config{})
	f.Close()
	if got := f.Serve(one, []ports.Want{want("a", tcp)}); len(got) != 0 {
		t.Errorf("a closed forwarder listens: %v", got)
	}
}

// here runs commands of machines on this host.
type here struct {
	machines.Guest
	runs atomic.Int32
}

func (h *here) Run(ctx context.Context, cluster, name string, c machines.Command) error {
	if cluster != one.ID || name != "machine" {
		return fmt.Errorf("machine %q of %q is none", name, cluster)
	}
	h.runs.Add(1)
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
	// As the driver: what is still to be read when it has ended is not waited for.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(stdin, c.Stdin)
		_ = stdin.Close()
	}()
	return cmd.Run()
}

// TestRelay runs the script that nodes run, on this host.
func TestRelay(t *testing.T) {
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("this host has no perl; nodes have")
	}
	guest := &here{Guest: fake.New()}
	f := whole(t, forward.Config{Dialer: &forward.Reach{Way: forward.WayRelay, Guest: guest, Clock: clock.RealClock{}}})
	server, _ := echoUDP(t)
	gone := closedPort(t)
	opened := f.Serve(one, []ports.Want{want("web", tcp, gone, echo(t, "a")), want("names", udp, server), want("none", tcp, gone)})
	long := strings.Repeat("0123456789", 30_000)
	if got, err := ask(opened["web"].Address, long); err != nil || got != "a:"+long {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	for _, text := range []string{"a", strings.Repeat("c", 30_000)} {
		if got := askUDP(t, opened["names"].Address, text); got != text {
			t.Errorf("%d bytes came back as %d", len(text), len(got))
		}
	}
	if got, err := ask(opened["none"].Address, "x"); err == nil && got != "" {
		t.Errorf("nobody says %q", got)
	}
	if guest.runs.Load() < 4 {
		t.Errorf("only %d connections went through the machine", guest.runs.Load())
	}
}

func TestReach(t *testing.T) {
	guest := &here{Guest: fake.New()}
	nowhere := ports.Backend{Node: "unknown", Address: netip.MustParseAddrPort("127.0.0.1:1")}
	auto := &forward.Reach{Way: forward.WayAuto, Guest: guest, Clock: clock.RealClock{}}
	if conn, err := auto.Dial(t.Context(), one, tcp, ports.Backend{Node: "node", Address: echo(t, "a")}); err != nil {
		t.Errorf("a near address: %v", err)
	} else {
		_ = conn.Close()
	}
	if guest.runs.Load() != 0 {
		t.Error("an address that can be reached was asked through its machine")
	}
	if _, err := (&forward.Reach{Way: forward.WayRelay, Guest: guest, Clock: clock.RealClock{}}).Dial(t.Context(), one, tcp, nowhere); err == nil || !strings.Contains(err.Error(), `node "unknown" has no machine`) {
		t.Errorf("a node without machine: %v", err)
	}
}
