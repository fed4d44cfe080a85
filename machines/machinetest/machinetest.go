// Package machinetest is the conformance suite of machine drivers: what flows
// count on, whatever machines are made of. The tests of each driver call it.
//
// It must not know any driver: it sees a host only through its Harness.
package machinetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/loam-cloud/loam/machines"
)

// Harness is a driver under test.
//
// In the machines the suite runs these programs as a Unix user knows them: cat,
// head, kill, sh, sleep, stat, tee.
type Harness struct {
	// Driver returns a driver of an installation. Those of one harness share a
	// host.
	Driver func(t *testing.T, instance string) machines.Driver
	// Image is what machines boot from. Its first process ends within a second
	// of being asked to.
	Image string
	// Objects lists what is on the host for an installation: machines, disks,
	// networks.
	Objects func(t *testing.T, instance string) []string
	// Occupy puts somebody else's object where the machine's own would be. The
	// function that it returns tells whether that is still there.
	Occupy func(t *testing.T, instance, cluster, name string) (stillThere func() bool)
	// Lose takes a machine away behind the driver's back and leaves its disks.
	Lose func(t *testing.T, instance, cluster, name string)
}

// deadline bounds each test: a driver that hangs fails it.
const deadline = 2 * time.Minute

// Run runs the suite. Each test has installations of its own.
func Run(t *testing.T, harness Harness) {
	tests := map[string]func(*testing.T, *fixture){
		"CreateIsIdempotent":        testCreateIsIdempotent,
		"CreateRefusesBadInput":     testCreateRefusesBadInput,
		"CreateSeveralAtOnce":       testCreateSeveralAtOnce,
		"CreateSameAtOnce":          testCreateSameAtOnce,
		"AddressesStay":             testAddressesStay,
		"PortsStay":                 testPortsStay,
		"PortsTaken":                testPortsTaken,
		"MissingMachine":            testMissingMachine,
		"PowerIsIdempotent":         testPowerIsIdempotent,
		"DisksStay":                 testDisksStay,
		"DisksGoWithTheMachine":     testDisksGoWithTheMachine,
		"DisksAreRecovered":         testDisksAreRecovered,
		"DisksThatAreLeft":          testDisksThatAreLeft,
		"ReplaceKeepsWhatItShould":  testReplaceKeepsWhatItShould,
		"ReplaceRefusesBadInput":    testReplaceRefusesBadInput,
		"DeleteIsIdempotent":        testDeleteIsIdempotent,
		"LastDeleteLeavesNothing":   testLastDeleteLeavesNothing,
		"ClustersAreApart":          testClustersAreApart,
		"InstallationsAreApart":     testInstallationsAreApart,
		"ForeignObjectsAreLeft":     testForeignObjectsAreLeft,
		"FilesBeforeTheFirstStart":  testFilesBeforeTheFirstStart,
		"FilesWhileRunningAndAfter": testFilesWhileRunningAndAfter,
		"FilesInMemory":             testFilesInMemory,
		"FilesRefuseBadInput":       testFilesRefuseBadInput,
		"RunStreams":                testRunStreams,
		"RunExitCode":               testRunExitCode,
		"RunLargeStreams":           testRunLargeStreams,
		"RunCancelled":              testRunCancelled,
		"RunNeedsARunningMachine":   testRunNeedsARunningMachine,
		"SightInAnyState":           testSightInAnyState,
		"SightOfNothing":            testSightOfNothing,
	}
	// A host has room for a few dozen networks: not every test at once.
	slots := make(chan struct{}, 4)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			// Registered first, so it runs after the machines are gone.
			t.Cleanup(func() { <-slots })
			test(t, newFixture(t, harness))
		})
	}
}

// fixture is one test's installation.
type fixture struct {
	Harness
	instance string
	driver   machines.Driver
	ctx      context.Context
}

func newFixture(t *testing.T, harness Harness) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	f := &fixture{Harness: harness, ctx: ctx}
	f.instance, f.driver = f.installation(t)
	return f
}

// installation makes a driver whose machines are gone when the test ends.
func (f *fixture) installation(t *testing.T) (string, machines.Driver) {
	t.Helper()
	instance := "t" + strings.ToLower(rand.Text()[:10])
	driver := f.Driver(t, instance)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		left, err := driver.List(ctx, "")
		if err != nil {
			t.Errorf("listing what the test left: %v", err)
		}
		for _, machine := range left {
			if err := driver.Delete(ctx, machine.Cluster, machine.Name); err != nil {
				t.Errorf("removing what the test left: %v", err)
			}
		}
	})
	return instance, driver
}

func (f *fixture) spec(cluster, name string) machines.Spec {
	return machines.Spec{Cluster: cluster, Name: name, Hostname: name, Image: f.Image}
}

func (f *fixture) create(t *testing.T, spec machines.Spec) machines.Machine {
	t.Helper()
	machine, err := f.driver.Create(f.ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	return machine
}

// running makes a machine and starts it.
func (f *fixture) running(t *testing.T, spec machines.Spec) machines.Machine {
	t.Helper()
	machine := f.create(t, spec)
	f.start(t, machine)
	return machine
}

func (f *fixture) start(t *testing.T, machine machines.Machine) {
	t.Helper()
	if err := f.driver.Start(f.ctx, machine.Cluster, machine.Name); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) stop(t *testing.T, machine machines.Machine) {
	t.Helper()
	if err := f.driver.Stop(f.ctx, machine.Cluster, machine.Name, 10*time.Second); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) delete(t *testing.T, machine machines.Machine) {
	t.Helper()
	if err := f.driver.Delete(f.ctx, machine.Cluster, machine.Name); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) get(t *testing.T, machine machines.Machine) machines.Machine {
	t.Helper()
	got, err := f.driver.Get(f.ctx, machine.Cluster, machine.Name)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (f *fixture) put(t *testing.T, machine machines.Machine, files ...machines.File) {
	t.Helper()
	if err := f.driver.PutFiles(f.ctx, machine.Cluster, machine.Name, files); err != nil {
		t.Fatal(err)
	}
}

// run returns what a command that has to succeed wrote.
func (f *fixture) run(t *testing.T, machine machines.Machine, stdin string, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := f.driver.Run(f.ctx, machine.Cluster, machine.Name, machines.Command{
		Args: args, Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return stdout.String()
}

func (f *fixture) state(t *testing.T, machine machines.Machine, want machines.State) {
	t.Helper()
	if got := f.get(t, machine).State; got != want {
		t.Errorf("state %s, want %s", got, want)
	}
}
