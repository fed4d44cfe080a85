package fake

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// killed is the exit code of a command that a cut of the power ends.
const killed = 137

// Guest is a machine as a Script sees it from inside.
type Guest struct {
	machines.Machine
	host    *Host
	machine *machine
}

// ReadFile returns a file that PutFiles or WriteFile placed.
func (g Guest) ReadFile(path string) (machines.File, bool) {
	g.host.mutex.Lock()
	defer g.host.mutex.Unlock()
	file, found := g.machine.files[path]
	file.Content = slices.Clone(file.Content)
	return file, found
}

// WriteFile places a file.
func (g Guest) WriteFile(file machines.File) {
	g.host.mutex.Lock()
	defer g.host.mutex.Unlock()
	g.machine.write(file)
}

// RemoveFile removes a file, if it is there.
func (g Guest) RemoveFile(path string) {
	g.host.mutex.Lock()
	defer g.host.mutex.Unlock()
	delete(g.machine.files, path)
}

func (m *machine) write(file machines.File) {
	if file.Mode == 0 {
		file.Mode = 0o644
	}
	file.Content = slices.Clone(file.Content)
	m.files[file.Path] = file
}

func (m *machine) off() {
	if m.powerOff != nil {
		m.powerOff()
	}
}

// Guest returns the inside of a machine, for tests to look at. Fault: Missing.
func (d *Driver) Guest(cluster, name string) (Guest, error) {
	d.host.mutex.Lock()
	defer d.host.mutex.Unlock()
	m, err := d.find(cluster, name)
	if err != nil {
		return Guest{}, err
	}
	return Guest{Machine: m.snapshot(), host: d.host, machine: m}, nil
}

// Start implements machines.Power.
func (d *Driver) Start(ctx context.Context, cluster, name string) error {
	return d.change(ctx, Start, cluster, name, func(m *machine) error {
		if m.State != machines.StateRunning {
			m.State = machines.StateRunning
			m.power, m.powerOff = context.WithCancel(context.Background())
		}
		return nil
	})
}

// Stop implements machines.Power. The machine is off at once.
func (d *Driver) Stop(ctx context.Context, cluster, name string, _ time.Duration) error {
	return d.change(ctx, Stop, cluster, name, func(m *machine) error {
		if m.State == machines.StateRunning {
			m.State = machines.StateStopped
			m.off()
			maps.DeleteFunc(m.files, func(path string, _ machines.File) bool { return machines.Volatile(path) })
		}
		return nil
	})
}

// PutFiles implements machines.Guest.
func (d *Driver) PutFiles(ctx context.Context, cluster, name string, files []machines.File) error {
	var paths []string
	for _, file := range files {
		paths = append(paths, file.Path)
	}
	return d.change(ctx, PutFiles, cluster, name, func(m *machine) error {
		if err := machines.ValidateFiles(files); err != nil {
			return err
		}
		for _, file := range files {
			if m.State != machines.StateRunning && machines.Volatile(file.Path) {
				return fault.New(fault.Invalid, "file %q would be lost when the machine starts", file.Path)
			}
		}
		for _, file := range files {
			m.write(file)
		}
		return nil
	}, paths...)
}

// change does something to a machine under the host's mutex.
func (d *Driver) change(ctx context.Context, method Method, cluster, name string, do func(*machine) error, details ...string) error {
	if err := d.begin(ctx, method, cluster, name, details...); err != nil {
		return err
	}
	d.host.mutex.Lock()
	defer d.host.mutex.Unlock()
	m, err := d.find(cluster, name)
	if err == nil {
		err = do(m)
	}
	return wrap(Call{Method: method, Cluster: cluster, Name: name}, err)
}

// Run implements machines.Guest.
func (d *Driver) Run(ctx context.Context, cluster, name string, command machines.Command) error {
	if err := d.begin(ctx, Run, cluster, name, command.Args...); err != nil {
		return err
	}
	return wrap(Call{Method: Run, Cluster: cluster, Name: name}, d.run(ctx, cluster, name, command))
}

func (d *Driver) run(ctx context.Context, cluster, name string, command machines.Command) error {
	if len(command.Args) == 0 {
		return fault.New(fault.Invalid, "no program is named")
	}
	guest, err := d.Guest(cluster, name)
	if err != nil {
		return err
	}
	if guest.State != machines.StateRunning {
		return fault.New(fault.Waiting, "the machine is not running")
	}
	if d.Script == nil {
		return nil
	}
	inside, cancel := context.WithCancel(ctx)
	defer cancel()
	power := guest.machine.power
	defer context.AfterFunc(power, cancel)()
	err = d.Script(inside, guest, command)
	switch {
	case ctx.Err() != nil:
		return transient(context.Cause(ctx))
	case power.Err() != nil:
		return &machines.ExitError{Program: command.Args[0], Code: killed}
	}
	return err
}
