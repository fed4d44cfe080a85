package container

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/container/internal/capability"
)

var _ machines.Sight = (*Driver)(nil)

// Describe implements machines.Sight.
func (d *Driver) Describe(ctx context.Context, cluster, name string) (machines.Description, error) {
	description, err := d.describe(ctx, cluster, name)
	if err != nil {
		return machines.Description{}, fmt.Errorf("looking at machine %q of cluster %q: %w", name, cluster, err)
	}
	return description, nil
}

func (d *Driver) describe(ctx context.Context, cluster, name string) (machines.Description, error) {
	r, err := d.one(ctx, cluster, name)
	if err != nil {
		return machines.Description{}, err
	}
	result, err := d.client.ContainerInspect(ctx, r.machine.ID, client.ContainerInspectOptions{})
	if err != nil {
		return machines.Description{}, d.classify(err)
	}
	c := result.Container
	description := machines.Description{Machine: r.machine, ProviderName: r.name, ImageID: c.Image, Restarts: c.RestartCount}
	if s := c.State; s != nil {
		description.Condition = string(s.Status)
		description.ExitCode, description.OutOfMemory = s.ExitCode, s.OOMKilled
		description.Started, description.Stopped = engineTime(s.StartedAt), engineTime(s.FinishedAt)
	}
	if h := c.HostConfig; h != nil {
		description.CPUs, description.MemoryBytes = float64(h.NanoCPUs)/1e9, h.Memory
	}
	for _, m := range c.Mounts {
		switch m.Type {
		case mount.TypeVolume:
			description.Disks = append(description.Disks, machines.Disk{Name: m.Name, MachinePath: m.Destination, HostPath: m.Source})
		case mount.TypeBind:
			description.Mounts = append(description.Mounts, machines.Mount{HostPath: m.Source, MachinePath: m.Destination, ReadOnly: !m.RW})
		}
	}
	return description, nil
}

// engineTime reads a time of the engine, which writes the year 1 for never.
func engineTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t.UTC()
}

// ReadFolder implements machines.Sight.
func (d *Driver) ReadFolder(ctx context.Context, cluster, name, folder string, visit func(path string, content io.Reader) error) error {
	if err := d.readFolder(ctx, cluster, name, folder, visit); err != nil {
		return fmt.Errorf("reading %s of machine %q of cluster %q: %w", folder, name, cluster, err)
	}
	return nil
}

func (d *Driver) readFolder(ctx context.Context, cluster, name, folder string, visit func(path string, content io.Reader) error) error {
	r, err := d.one(ctx, cluster, name)
	if err != nil {
		return err
	}
	copied, err := d.client.CopyFromContainer(ctx, r.machine.ID, client.CopyFromContainerOptions{SourcePath: folder})
	if err != nil {
		return d.classify(err)
	}
	defer func() { _ = copied.Content.Close() }() // only read
	archive := tar.NewReader(copied.Content)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return d.classify(err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		// Names begin with the folder's own.
		if err := visit(path.Join(path.Dir(path.Clean(folder)), header.Name), archive); err != nil {
			return err
		}
	}
}

// Log implements machines.Sight.
func (d *Driver) Log(ctx context.Context, cluster, name string, to io.Writer) error {
	if err := d.log(ctx, cluster, name, to); err != nil {
		return fmt.Errorf("reading the log of machine %q of cluster %q: %w", name, cluster, err)
	}
	return nil
}

func (d *Driver) log(ctx context.Context, cluster, name string, to io.Writer) error {
	r, err := d.one(ctx, cluster, name)
	if err != nil {
		return err
	}
	inspected, err := d.client.ContainerInspect(ctx, r.machine.ID, client.ContainerInspectOptions{})
	if err != nil {
		return d.classify(err)
	}
	logs, err := d.client.ContainerLogs(ctx, r.machine.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return d.classify(err)
	}
	defer func() { _ = logs.Close() }() // only read
	if c := inspected.Container.Config; c != nil && c.Tty {
		_, err = io.Copy(to, logs)
	} else {
		_, err = stdcopy.StdCopy(to, to, logs)
	}
	return d.classify(err)
}

// DiskSizes implements machines.Sight. Volumes of an engine that keeps them
// elsewhere than on its own disks have no size.
func (d *Driver) DiskSizes(ctx context.Context) (map[string]int64, error) {
	usage, err := d.client.DiskUsage(ctx, client.DiskUsageOptions{Volumes: true, Verbose: true})
	if err != nil {
		return nil, fmt.Errorf("asking for the sizes of volumes: %w", d.classify(err))
	}
	sizes := map[string]int64{}
	for _, v := range usage.Volumes.Items {
		if v.Labels[LabelInstance] == d.instance && v.UsageData != nil && v.UsageData.Size >= 0 {
			sizes[v.Name] = v.UsageData.Size
		}
	}
	return sizes, nil
}

// MissingCapabilities returns those that the engine cannot give to a container,
// as far as its process tells without one being made. Faults: Waiting when the
// engine is not on this host.
func (d *Driver) MissingCapabilities(ctx context.Context) ([]string, error) {
	socket := d.localSocket()
	if socket == "" {
		return nil, fault.New(fault.Waiting, "the container engine at %s is not on this host", d.client.DaemonHost())
	}
	return capability.MissingFromPeer(ctx, socket)
}

// Nodes counts the containers that are machines of any installation of Loam and
// run. Faults: Transient, Denied.
func (d *Driver) Nodes(ctx context.Context) (int, error) {
	result, err := d.client.ContainerList(ctx, client.ContainerListOptions{Filters: client.Filters{}.Add("label", LabelMachine)})
	if err != nil {
		return 0, fmt.Errorf("counting machines: %w", d.classify(err))
	}
	return len(result.Items), nil
}
