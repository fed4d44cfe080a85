package fake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/machines/machinetest"
)

func TestConformance(t *testing.T) {
	host := &fake.Host{Images: []string{"image"}}
	machinetest.Run(t, machinetest.Harness{
		Image: "image",
		Driver: func(_ *testing.T, instance string) machines.Driver {
			driver := host.Driver(instance)
			driver.Script = new(unix).run
			return driver
		},
		Objects: func(_ *testing.T, instance string) []string { return host.Objects(instance) },
		Occupy: func(_ *testing.T, instance, cluster, name string) func() bool {
			host.Occupy(instance, cluster, name)
			return func() bool { return len(host.Objects(instance)) == 1 }
		},
		Lose: func(_ *testing.T, instance, cluster, name string) { host.Lose(instance, cluster, name) },
	})
}

// unix answers the commands of the suite as a Unix machine would.
type unix struct{ running sync.Map }

func (u *unix) run(ctx context.Context, guest fake.Guest, c machines.Command) error {
	exit := func(code int) error { return &machines.ExitError{Program: c.Args[0], Code: code} }
	switch line := strings.Join(c.Args, " "); {
	case line == "cat":
		_, err := io.Copy(out(c.Stdout), c.Stdin)
		return err
	case c.Args[0] == "tee":
		content, err := io.ReadAll(c.Stdin)
		guest.WriteFile(machines.File{Path: c.Args[1], Content: content})
		return err
	case c.Args[0] == "cat", c.Args[0] == "stat":
		path := c.Args[len(c.Args)-1]
		file, found := guest.ReadFile(path)
		switch {
		case c.Args[0] == "stat" && strings.HasSuffix(path, "/deep"):
			fmt.Fprintln(out(c.Stdout), "755 0 0")
		case !found:
			return exit(1)
		case c.Args[0] == "stat":
			fmt.Fprintf(out(c.Stdout), "%o 0 0\n", file.Mode)
		default:
			_, err := out(c.Stdout).Write(file.Content)
			return err
		}
		return nil
	case c.Args[0] == "head":
		size, err := strconv.Atoi(c.Args[2])
		_, _ = out(c.Stdout).Write(make([]byte, size))
		return err
	case line == "sh -c echo out; echo err >&2":
		_, _ = io.WriteString(out(c.Stdout), "out\n")
		_, _ = io.WriteString(out(c.Stderr), "err\n")
		return nil
	case line == "sh -c sleep 4321 & echo $!; wait":
		u.running.Store("7", true)
		defer u.running.Delete("7")
		fmt.Fprintln(c.Stdout, "7")
		<-ctx.Done()
		return exit(137)
	case strings.HasPrefix(line, "sh -c kill -0 "):
		if _, running := u.running.Load(strings.TrimPrefix(line, "sh -c kill -0 ")); !running {
			return exit(1)
		}
		return nil
	case line == "sh -c exit 3":
		return exit(3)
	}
	return exit(127)
}

func out(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

func spec(name string) machines.Spec {
	return machines.Spec{Cluster: "one", Name: name, Hostname: name, Image: "any"}
}

func TestFailAndCalls(t *testing.T) {
	ctx := context.Background()
	driver := fake.New()
	driver.Fail = func(call fake.Call) error {
		if call.Method == fake.Start {
			return fault.New(fault.Exhausted, "no room")
		}
		return nil
	}
	if _, err := driver.Create(ctx, spec("first")); err != nil {
		t.Fatal(err)
	}
	if err := driver.Start(ctx, "one", "first"); !errors.Is(err, fault.Exhausted) {
		t.Errorf("got %v, want what Fail returned", err)
	}
	if err := driver.PutFiles(ctx, "one", "first", []machines.File{{Path: "/a", Content: []byte("b")}}); err != nil {
		t.Fatal(err)
	}
	if err := driver.Run(ctx, "one", "first", machines.Command{Args: []string{"kubeadm", "init"}}); !errors.Is(err, fault.Waiting) {
		t.Errorf("got %v, want Waiting: the machine was not started", err)
	}
	want := []fake.Call{
		{Method: fake.Create, Cluster: "one", Name: "first"},
		{Method: fake.Start, Cluster: "one", Name: "first"},
		{Method: fake.PutFiles, Cluster: "one", Name: "first", Details: []string{"/a"}},
		{Method: fake.Run, Cluster: "one", Name: "first", Details: []string{"kubeadm", "init"}},
	}
	if got := driver.Calls(); !reflect.DeepEqual(got, want) {
		t.Errorf("calls %+v, want %+v", got, want)
	}
	guest, err := driver.Guest("one", "first")
	if err != nil {
		t.Fatal(err)
	}
	if file, found := guest.ReadFile("/a"); !found || string(file.Content) != "b" || file.Mode != 0o644 {
		t.Errorf("file %+v, %v", file, found)
	}
}

func TestRunWithoutAScriptSucceeds(t *testing.T) {
	ctx := context.Background()
	driver := fake.New()
	if _, err := driver.Create(ctx, spec("first")); err != nil {
		t.Fatal(err)
	}
	if err := driver.Start(ctx, "one", "first"); err != nil {
		t.Fatal(err)
	}
	if err := driver.Run(ctx, "one", "first", machines.Command{Args: []string{"true"}}); err != nil {
		t.Error(err)
	}
}

func TestStopEndsCommands(t *testing.T) {
	ctx := context.Background()
	driver := fake.New()
	begun := make(chan bool)
	driver.Script = func(ctx context.Context, _ fake.Guest, _ machines.Command) error {
		close(begun)
		<-ctx.Done()
		return nil
	}
	if _, err := driver.Create(ctx, spec("first")); err != nil {
		t.Fatal(err)
	}
	if err := driver.Start(ctx, "one", "first"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- driver.Run(ctx, "one", "first", machines.Command{Args: []string{"sleep"}}) }()
	<-begun
	if err := driver.Stop(ctx, "one", "first", time.Second); err != nil {
		t.Fatal(err)
	}
	var exit *machines.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.Code != 137 {
		t.Errorf("got %v, want exit code 137", err)
	}
}

func TestAddressesRunOut(t *testing.T) {
	ctx := context.Background()
	driver := (&fake.Host{Subnet: netip.MustParsePrefix("192.0.2.0/29")}).Driver("loam")
	for i := range 5 {
		if _, err := driver.Create(ctx, spec(fmt.Sprintf("machine-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := driver.Create(ctx, spec("one-too-many")); !errors.Is(err, fault.Exhausted) {
		t.Errorf("got %v, want Exhausted", err)
	}
}
