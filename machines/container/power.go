package container

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// Start implements machines.Power.
func (d *Driver) Start(ctx context.Context, cluster, name string) error {
	if err := d.start(ctx, cluster, name); err != nil {
		return fmt.Errorf("starting machine %q of cluster %q: %w", name, cluster, err)
	}
	return nil
}

func (d *Driver) start(ctx context.Context, cluster, name string) error {
	r, err := d.one(ctx, cluster, name)
	if err != nil {
		return err
	}
	if err := d.takeName(ctx, r); err != nil {
		return err
	}
	if r.state == container.StatePaused {
		_, err := d.client.ContainerUnpause(ctx, r.machine.ID, client.ContainerUnpauseOptions{})
		return d.classify(err)
	}
	_, err = d.client.ContainerStart(ctx, r.machine.ID, client.ContainerStartOptions{})
	if networkLost(err) {
		if err := d.reattach(ctx, r); err != nil {
			return err
		}
		_, err = d.client.ContainerStart(ctx, r.machine.ID, client.ContainerStartOptions{})
	}
	return d.classifyStart(err)
}

// networkLost tells that the container's network was removed or made anew,
// which daemons allow while all its containers are switched off, or that there
// are two of its name until one of two processes has removed its own.
func networkLost(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	return errdefs.IsNotFound(err) && strings.Contains(text, "network") ||
		strings.Contains(text, "is ambiguous") ||
		strings.Contains(text, "does not belong to any of this network's subnets")
}

func (d *Driver) classifyStart(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "port is already allocated"),
		strings.Contains(text, "address already in use"),
		strings.Contains(text, "Address already in use"):
		return fault.Wrap(fault.Exhausted, err)
	case strings.Contains(text, "is not a shared"):
		return fault.New(fault.Invalid, "a mount that propagates needs a shared one on the host, see `mount --make-rshared`: %w", err)
	case errdefs.IsNotFound(err) && strings.Contains(text, "No such container"):
		return fault.Wrap(fault.Missing, err)
	case errdefs.IsNotFound(err), errdefs.IsInvalidArgument(err):
		// What the image or the kernel cannot do is no fault of the call.
		return fault.Wrap(fault.Transient, err)
	}
	return d.classify(err)
}

// Stop implements machines.Power.
func (d *Driver) Stop(ctx context.Context, cluster, name string, grace time.Duration) error {
	if err := d.stop(ctx, cluster, name, grace); err != nil {
		return fmt.Errorf("stopping machine %q of cluster %q: %w", name, cluster, err)
	}
	return nil
}

func (d *Driver) stop(ctx context.Context, cluster, name string, grace time.Duration) error {
	r, err := d.one(ctx, cluster, name)
	if err != nil || r.machine.State != machines.StateRunning {
		return err
	}
	// The daemon counts in seconds, and takes a negative number for ever.
	seconds := int(math.Ceil(max(grace, 0).Seconds()))
	_, err = d.client.ContainerStop(ctx, r.machine.ID, client.ContainerStopOptions{Timeout: &seconds})
	return d.classify(err)
}
