package container

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/machines/container/internal/capability"
)

// missingCapabilities returns those that the daemon cannot give to a container.
// It asks the daemon's process when that is on this host, and otherwise a
// container of the image, once.
func (d *Driver) missingCapabilities(ctx context.Context, image string) ([]string, error) {
	d.capabilities.Lock()
	defer d.capabilities.Unlock()
	if d.missing != nil {
		return *d.missing, nil
	}
	if socket := d.localSocket(); socket != "" {
		if missing, err := capability.MissingFromPeer(ctx, socket); err == nil {
			d.missing = &missing
			return missing, nil
		}
	}
	missing, err := d.probe(ctx, image)
	if err != nil {
		return nil, fmt.Errorf("asking a container for the capabilities of the daemon's host: %w", err)
	}
	d.missing = &missing
	return missing, nil
}

// probe reads the bounding set of the host's first process through a container
// that shares the host's processes and has no rights of its own.
func (d *Driver) probe(ctx context.Context, image string) ([]string, error) {
	created, err := d.client.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config: &container.Config{
			Image: image, Entrypoint: []string{"cat"}, Cmd: []string{"/proc/1/status", "/proc/sys/kernel/cap_last_cap"},
			Labels: map[string]string{LabelInstance: d.instance, labelPurpose: "capabilities"},
		},
		HostConfig: &container.HostConfig{
			PidMode: "host", NetworkMode: "none", LogConfig: container.LogConfig{Type: "json-file"},
		},
	})
	if err != nil {
		return nil, d.classify(err)
	}
	defer d.removeProbe(ctx, created.ID)
	waited := d.client.ContainerWait(ctx, created.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := d.client.ContainerStart(ctx, created.ID, client.ContainerStartOptions{}); err != nil {
		return nil, d.classify(err)
	}
	select {
	case err := <-waited.Error:
		return nil, d.classify(err)
	case <-waited.Result:
	}
	logs, err := d.client.ContainerLogs(ctx, created.ID, client.ContainerLogsOptions{ShowStdout: true})
	if err != nil {
		return nil, d.classify(err)
	}
	defer func() { _ = logs.Close() }() // only read
	var output bytes.Buffer
	if _, err := stdcopy.StdCopy(&output, &output, logs); err != nil {
		return nil, d.classify(err)
	}
	text := strings.TrimSpace(output.String())
	newline := strings.LastIndexByte(text, '\n')
	return capability.Missing(text[:newline+1], text[newline+1:])
}

func (d *Driver) removeProbe(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	// One that stays is removed once a minute has passed.
	_, _ = d.client.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
}

// removeOldProbe removes what a process left that was killed while it asked. A
// young one may be at work.
func (d *Driver) removeOldProbe(ctx context.Context, item container.Summary) {
	if time.Since(time.Unix(item.Created, 0)) > time.Minute {
		d.removeProbe(ctx, item.ID)
	}
}
