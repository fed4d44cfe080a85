package container_test

import (
	"context"
	"strings"
	"testing"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/container"
	"github.com/loam-cloud/loam/machines/machinetest"
	"github.com/loam-cloud/loam/test/docker"
)

func TestConformance(t *testing.T) {
	tests := map[string]map[string]string{
		"OwnImage":   own(),
		"OtherImage": nil,
	}
	for name, labels := range tests {
		t.Run(name, func(t *testing.T) {
			daemon := docker.Require(t)
			machinetest.Run(t, machinetest.Harness{
				Driver: func(t *testing.T, instance string) machines.Driver {
					return newDriver(t, container.Config{Instance: instance})
				},
				Image:   docker.Image(t, daemon, labels),
				Objects: func(t *testing.T, instance string) []string { return objects(t, daemon, instance) },
				Occupy: func(t *testing.T, instance, cluster, name string) func() bool {
					return occupy(t, daemon, instance+"-"+cluster+"-"+name)
				},
				Lose: func(t *testing.T, instance, cluster, name string) { lose(t, daemon, instance+"-"+cluster+"-"+name) },
			})
		})
	}
}

func newDriver(t *testing.T, config container.Config) *container.Driver {
	t.Helper()
	driver, err := container.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	return driver
}

// objects lists everything whose name or label is of the installation.
func objects(t *testing.T, daemon *client.Client, instance string) []string {
	t.Helper()
	ctx := context.Background()
	var found []string
	add := func(kind, name string, labels map[string]string) {
		if labels[container.LabelInstance] == instance || strings.HasPrefix(name, instance) {
			found = append(found, kind+" "+name)
		}
	}
	containers, err := daemon.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range containers.Items {
		add("container", strings.Join(item.Names, ","), item.Labels)
	}
	networks, err := daemon.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range networks.Items {
		add("network", item.Name, item.Labels)
	}
	volumes, err := daemon.VolumeList(ctx, client.VolumeListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range volumes.Items {
		add("volume", item.Name, item.Labels)
	}
	return found
}

// lose removes a container as its user does by hand: volumes with a name stay.
func lose(t *testing.T, daemon *client.Client, name string) {
	t.Helper()
	if _, err := daemon.ContainerRemove(context.Background(), name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
		t.Fatal(err)
	}
}

// occupy makes a container that is not Loam's.
func occupy(t *testing.T, daemon *client.Client, name string) func() bool {
	t.Helper()
	ctx := context.Background()
	created, err := daemon.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: name, Config: &dockercontainer.Config{Image: docker.Image(t, daemon, nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = daemon.ContainerRemove(context.Background(), created.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	})
	return func() bool {
		_, err := daemon.ContainerInspect(ctx, created.ID, client.ContainerInspectOptions{})
		return err == nil
	}
}
