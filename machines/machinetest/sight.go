package machinetest

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// sight is the driver under test as one that looks; the test ends where it is none.
func (f *fixture) sight(t *testing.T) machines.Sight {
	t.Helper()
	s, ok := f.driver.(machines.Sight)
	if !ok {
		t.Skip("the driver does not look at machines from outside")
	}
	return s
}

func testSightInAnyState(t *testing.T, f *fixture) {
	s := f.sight(t)
	machine := f.create(t, f.spec("one", "first"))
	f.put(t, machine, machines.File{Path: "/etc/loam/deep/plain", Content: []byte("plain")}, machines.File{Path: "/etc/loam/other", Content: []byte("other")})
	look := func(want machines.State) {
		t.Helper()
		d, err := s.Describe(f.ctx, "one", "first")
		if err != nil || d.ID != machine.ID || d.State != want || d.ProviderName == "" || d.Condition == "" {
			t.Errorf("described as %+v, %v, want state %s", d, err, want)
		}
		got := map[string]string{}
		err = s.ReadFolder(f.ctx, "one", "first", "/etc/loam", func(path string, content io.Reader) error {
			text, err := io.ReadAll(content)
			got[path] = string(text)
			return err
		})
		if err != nil || len(got) != 2 || got["/etc/loam/deep/plain"] != "plain" || got["/etc/loam/other"] != "other" {
			t.Errorf("%s: the folder holds %v, %v", want, got, err)
		}
		if err := s.Log(f.ctx, "one", "first", new(bytes.Buffer)); err != nil {
			t.Errorf("%s: reading the log: %v", want, err)
		}
	}
	look(machines.StateCreated)
	f.start(t, machine)
	look(machines.StateRunning)
	f.stop(t, machine)
	look(machines.StateStopped)
	if _, err := s.DiskSizes(f.ctx); err != nil {
		t.Errorf("asking for sizes: %v", err)
	}
}

func testSightOfNothing(t *testing.T, f *fixture) {
	s := f.sight(t)
	f.create(t, f.spec("one", "first"))
	nothing := func(string, io.Reader) error { return nil }
	_, described := s.Describe(f.ctx, "one", "other")
	for what, err := range map[string]error{
		"a description": described,
		"a log":         s.Log(f.ctx, "one", "other", io.Discard),
		"a folder":      s.ReadFolder(f.ctx, "one", "other", "/etc", nothing),
		"a path":        s.ReadFolder(f.ctx, "one", "first", "/etc/loam/none", nothing),
	} {
		if !errors.Is(err, fault.Missing) {
			t.Errorf("%s of what is not there: %v, want Missing", what, err)
		}
	}
	f.put(t, machines.Machine{Cluster: "one", Name: "first"}, machines.File{Path: "/etc/loam/file"})
	enough := errors.New("enough")
	if err := s.ReadFolder(f.ctx, "one", "first", "/etc/loam", func(string, io.Reader) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a visitor that has enough gives %v", err)
	}
}
