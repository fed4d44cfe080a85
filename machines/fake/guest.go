package fake

import (
	"context"
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
	return d.change(ctx, Start, cluster, name, func(m *machine) {
		if m.State == machines.StateRunning {
			return
		}
		m.State = machines.StateRunning
		m.power, m.powerOff = context.WithCancel(context.Background())
	})
}

// Stop implements machines.Power. The machine is off at once.
func (d *Driver) Stop(ctx context.Context, cluster, name string, _ time.Duration) error {
	return d.change(ctx, Stop, cluster, name, func(m *machine) {
		if m.State == machines.StateRunning {
			m.State = machines.StateStopped
			m.off()
		}
	})
}

// PutFiles implements machines.Guest.
func (d *Driver) PutFiles(ctx context.Context, cluster, name string, files []machines.File) error {
	if err := machines.ValidateFiles(files); err != nil {
		return wrap(Call{Method: PutFiles, Cluster: cluster, Name: name}, err)
	}
	var paths []string
	for _, file := range files {
		paths = append(paths, file.Path)
	}
	return d.change(ctx, PutFiles, cluster, name, func(m *machine) {
		for _, file := range files {
			m.write(file)
		}
	}, paths...)
}

// change does something to a machine under the host's mutex.
func (d *Driver) change(ctx context.Context, method Method, cluster, name string, do func(*machine), details ...string) error {
	if err := d.begin(ctx, method, cluster, name, details...); err != nil {
		return err
	}
	d.host.mutex.Lock()
	defer d.host.mutex.Unlock()
	m, err := d.find(cluster, name)
	if err != nil {
		return wrap(Call{Method: method, Cluster: cluster, Name: name}, err)
	}
	do(m)
	return nil
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
