package container

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// Replace implements machines.Inventory. A container's image and labels cannot
// be changed, so the machine gets another container on the same volumes:
//
//	old                     the machine is old
//	old (off), new          still: new is being filled, and thrown away if that ends
//	new                     the machine is new: it was whole before old went
//
// So whichever is found tells how far it came.
func (d *Driver) Replace(ctx context.Context, spec machines.Spec, r machines.Replacement) (machines.Machine, error) {
	machine, err := d.replace(ctx, spec, r)
	if err != nil {
		return machines.Machine{}, fmt.Errorf("replacing machine %q of cluster %q: %w", spec.Name, spec.Cluster, err)
	}
	return machine, nil
}

func (d *Driver) replace(ctx context.Context, spec machines.Spec, r machines.Replacement) (machines.Machine, error) {
	if err := errors.Join(spec.Validate(), r.Validate()); err != nil {
		return machines.Machine{}, fault.Wrap(fault.Invalid, err)
	}
	d.making.RLock()
	defer d.making.RUnlock()
	old, err := d.one(ctx, spec.Cluster, spec.Name)
	if err != nil {
		return machines.Machine{}, err
	}
	if old.machine.Image == spec.Image && maps.Equal(old.machine.Labels, spec.Labels) {
		return old.machine, d.takeName(ctx, old)
	}
	image, err := d.image(ctx, spec.Image)
	if err != nil {
		return machines.Machine{}, err
	}
	if err := d.stop(ctx, spec.Cluster, spec.Name, r.Grace); err != nil {
		return machines.Machine{}, err
	}
	made, err := d.successor(ctx, old, spec, image)
	if err != nil {
		return machines.Machine{}, err
	}
	for _, kept := range r.Keep {
		if err := d.carry(ctx, old.machine.ID, made, kept); err != nil {
			return machines.Machine{}, fmt.Errorf("carrying %s over: %w", kept, err)
		}
	}
	if err := d.place(ctx, made, r.Files); err != nil {
		return machines.Machine{}, err
	}
	if err := d.removeContainer(ctx, old.machine.ID); err != nil {
		return machines.Machine{}, err
	}
	replaced, err := d.one(ctx, spec.Cluster, spec.Name)
	if err != nil {
		return machines.Machine{}, err
	}
	return replaced.machine, d.takeName(ctx, replaced)
}

// successor makes the container that is to take the place of a machine's, in the
// place of one that an earlier attempt left. It returns its ID.
func (d *Driver) successor(ctx context.Context, old *record, spec machines.Spec, image nodeImage) (string, error) {
	all, err := d.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: d.filters(spec.Cluster, spec.Name)})
	if err != nil {
		return "", d.classify(err)
	}
	for _, item := range all.Items {
		if item.ID == old.machine.ID {
			continue
		}
		if err := d.removeContainer(ctx, item.ID); err != nil {
			return "", fmt.Errorf("removing container %q: %w", containerName(item), err)
		}
	}
	missing, err := d.missingCapabilities(ctx, spec.Image)
	if err != nil {
		return "", err
	}
	place := old.place
	spec.Hostname = old.machine.Hostname
	labels, err := d.labels(spec, place)
	if err != nil {
		return "", err
	}
	labels[labelGeneration] = strconv.Itoa(old.generation + 1)
	for _, volume := range d.volumes(spec, image) {
		if err := d.createVolume(ctx, spec, place, volume.name); err != nil {
			return "", err
		}
	}
	options := d.shape(spec, image, place, missing)
	options.Config.Labels = labels
	options.Name += ".next"
	created, err := d.client.ContainerCreate(ctx, options)
	if err != nil {
		return "", d.classify(err)
	}
	return created.ID, nil
}

// carry copies a file or folder from one container to another, both switched
// off. One that is not there is passed over.
func (d *Driver) carry(ctx context.Context, from, to, name string) error {
	copied, err := d.client.CopyFromContainer(ctx, from, client.CopyFromContainerOptions{SourcePath: name})
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return d.classify(err)
	}
	defer func() { _ = copied.Content.Close() }() // it was read
	parent := path.Dir(name)
	if _, err := d.client.ContainerStatPath(ctx, to, client.ContainerStatPathOptions{Path: parent}); errdefs.IsNotFound(err) {
		return fault.New(fault.Invalid, "the new image has no folder %s", parent)
	}
	_, err = d.client.CopyToContainer(ctx, to, client.CopyToContainerOptions{DestinationPath: parent, Content: copied.Content})
	return d.classify(err)
}

// takeName gives a machine's container its proper name after that of the one
// before it has gone.
func (d *Driver) takeName(ctx context.Context, r *record) error {
	proper := d.containerName(r.machine.Cluster, r.machine.Name)
	if r.name == proper {
		return nil
	}
	_, err := d.client.ContainerRename(ctx, r.machine.ID, client.ContainerRenameOptions{NewName: proper})
	return d.classify(err)
}
