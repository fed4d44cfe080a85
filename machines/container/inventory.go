package container

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// Removing a container that has many mounts may fail a few times with a busy
// device; the kernel lets go of them within a second or two.
const (
	removeAttempts = 20
	removeDelay    = 250 * time.Millisecond
)

// Get implements machines.Inventory.
func (d *Driver) Get(ctx context.Context, cluster, name string) (machines.Machine, error) {
	r, err := d.one(ctx, cluster, name)
	if err != nil {
		return machines.Machine{}, fmt.Errorf("getting machine %q of cluster %q: %w", name, cluster, err)
	}
	return r.machine, nil
}

// List implements machines.Inventory.
func (d *Driver) List(ctx context.Context, cluster string) ([]machines.Machine, error) {
	records, err := d.records(ctx, cluster, "")
	if err != nil {
		return nil, fmt.Errorf("listing machines of cluster %q: %w", cluster, err)
	}
	list := []machines.Machine{}
	for _, r := range records {
		if !r.leaving() {
			list = append(list, r.machine)
		}
	}
	return list, nil
}

// Delete implements machines.Inventory.
func (d *Driver) Delete(ctx context.Context, cluster, name string) error {
	if err := d.delete(ctx, cluster, name); err != nil {
		return fmt.Errorf("deleting machine %q of cluster %q: %w", name, cluster, err)
	}
	return nil
}

func (d *Driver) delete(ctx context.Context, cluster, name string) error {
	// An empty name would select every machine.
	if cluster == "" || name == "" {
		return fault.New(fault.Invalid, "a machine to be deleted needs a cluster and a name")
	}
	if err := d.removeContainers(ctx, cluster, name); err != nil {
		return err
	}
	if err := d.removeVolumes(ctx, cluster, name); err != nil {
		return err
	}
	return d.removeUnusedNetwork(ctx)
}

// removeContainers removes a machine's container and returns when it is gone.
func (d *Driver) removeContainers(ctx context.Context, cluster, name string) error {
	result, err := d.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: d.filters(cluster, name)})
	if err != nil {
		return d.classify(err)
	}
	for _, item := range result.Items {
		if err := d.removeContainer(ctx, item.ID); err != nil {
			return fmt.Errorf("removing container %q: %w", containerName(item), err)
		}
	}
	return nil
}

func (d *Driver) removeContainer(ctx context.Context, id string) error {
	options := client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}
	return d.untilGone(ctx, func() error {
		if _, err := d.client.ContainerRemove(ctx, id, options); err != nil {
			return err
		}
		// Some daemons answer before the container is gone: only not finding it
		// is certain.
		_, err := d.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err == nil {
			err = errStillThere
		}
		return err
	})
}

var errStillThere = errors.New("it is still there")

// untilGone repeats a removal until the daemon no longer knows the thing.
func (d *Driver) untilGone(ctx context.Context, remove func() error) error {
	var last error
	for range removeAttempts {
		last = remove()
		if errdefs.IsNotFound(last) {
			return nil
		}
		if client.IsErrConnectionFailed(last) {
			break
		}
		if err := pause(ctx, removeDelay); err != nil {
			return d.classify(err)
		}
	}
	return d.classify(last)
}

// removeVolumes removes a machine's disks.
func (d *Driver) removeVolumes(ctx context.Context, cluster, name string) error {
	left, err := d.leftVolumes(ctx, cluster, name)
	if err != nil {
		return err
	}
	for _, volume := range left {
		if err := d.removeVolume(ctx, volume.Name); err != nil {
			return fmt.Errorf("removing volume %q: %w", volume.Name, err)
		}
	}
	return nil
}

func (d *Driver) removeVolume(ctx context.Context, name string) error {
	return d.untilGone(ctx, func() error {
		if _, err := d.client.VolumeRemove(ctx, name, client.VolumeRemoveOptions{}); err != nil {
			return err
		}
		return errdefs.ErrNotFound
	})
}

func pause(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
