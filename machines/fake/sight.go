package fake

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/loam-cloud/loam/machines"
)

// The methods of machines.Sight that calls are recorded of.
const (
	Describe   Method = "Describe"
	ReadFolder Method = "ReadFolder"
	Log        Method = "Log"
	DiskSizes  Method = "DiskSizes"
)

// Outside is what is to be seen of machines from outside, besides what they are.
type Outside struct {
	// Describe completes what is told of a machine; nil leaves it as it is.
	Describe func(*machines.Description)
	// Logs are what first processes have printed, by the name of the machine.
	Logs map[string]string
	// Sizes are the bytes that disks hold, by name.
	Sizes map[string]int64
}

var _ machines.Sight = (*Driver)(nil)

// Describe implements machines.Sight.
func (d *Driver) Describe(ctx context.Context, cluster, name string) (machines.Description, error) {
	if err := d.begin(ctx, Describe, cluster, name); err != nil {
		return machines.Description{}, err
	}
	guest, err := d.Guest(cluster, name)
	if err != nil {
		return machines.Description{}, wrap(Call{Method: Describe, Cluster: cluster, Name: name}, err)
	}
	description := machines.Description{
		Machine: guest.Machine, ProviderName: objectName(key{d.instance, cluster, name}), Condition: strings.ToLower(string(guest.State)),
	}
	if d.Outside.Describe != nil {
		d.Outside.Describe(&description)
	}
	return description, nil
}

// ReadFolder implements machines.Sight.
func (d *Driver) ReadFolder(ctx context.Context, cluster, name, folder string, visit func(path string, content io.Reader) error) error {
	call := Call{Method: ReadFolder, Cluster: cluster, Name: name}
	if err := d.begin(ctx, ReadFolder, cluster, name, folder); err != nil {
		return err
	}
	d.host.mutex.Lock()
	m, err := d.find(cluster, name)
	files := map[string]machines.File{}
	if err == nil {
		for path, file := range m.files {
			if (path == folder || strings.HasPrefix(path, folder+"/")) && !machines.Volatile(path) {
				files[path] = file
			}
		}
		if len(files) == 0 {
			err = missing()
		}
	}
	d.host.mutex.Unlock()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if err := visit(path, bytes.NewReader(files[path].Content)); err != nil {
			return wrap(call, err)
		}
	}
	return wrap(call, err)
}

// Log implements machines.Sight.
func (d *Driver) Log(ctx context.Context, cluster, name string, to io.Writer) error {
	if err := d.begin(ctx, Log, cluster, name); err != nil {
		return err
	}
	if _, err := d.Guest(cluster, name); err != nil {
		return wrap(Call{Method: Log, Cluster: cluster, Name: name}, err)
	}
	_, err := io.WriteString(to, d.Outside.Logs[name])
	return err
}

// DiskSizes implements machines.Sight.
func (d *Driver) DiskSizes(ctx context.Context) (map[string]int64, error) {
	if err := d.begin(ctx, DiskSizes, "", ""); err != nil {
		return nil, err
	}
	return maps.Clone(d.Outside.Sizes), nil
}
