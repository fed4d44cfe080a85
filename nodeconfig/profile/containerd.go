package profile

import (
	"fmt"

	"github.com/pelletier/go-toml/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

// Plugins of containerd, by their names in its configuration.
const (
	collectorPlugin = "io.containerd.gc.v1.scheduler"
	// imagesPlugin and runtimePlugin are those of containerd 2, formerPlugin is that of
	// 1.x, which was both.
	imagesPlugin  = "io.containerd.cri.v1.images"
	runtimePlugin = "io.containerd.cri.v1.runtime"
	formerPlugin  = "io.containerd.grpc.v1.cri"
)

type table = map[string]any

// ContainerdFiles are containerd's configuration: all of it for a virtual machine; for
// a container what its image takes in beside its own, which is of containerd 2.
func (r *Resolved) ContainerdFiles(in Input) ([]File, error) {
	if r.Containerd == nil {
		return nil, nil
	}
	file := File{Path: ContainerdPath, Mode: public, Restart: []string{"containerd.service"}}
	document := table{"version": int64(3)}
	switch {
	case !in.Container && in.ContainerdVersion == "":
		return nil, field.Required(field.NewPath("containerdVersion"), "the form of containerd's configuration depends on it")
	case in.Container:
		file.Path = ContainerdPartPath
		document["plugins"] = withCollector(r.Containerd, table{imagesPlugin: imageSettings(r.Containerd, imageContainerd)})
	case atLeast(in.ContainerdVersion, "2.0.0"):
		document["plugins"] = plugins(r.Containerd, in)
	default:
		document["version"] = int64(2)
		document["plugins"] = formerPlugins(r.Containerd, in)
	}
	text, err := toml.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("writing containerd's configuration: %w", err)
	}
	file.Content = append([]byte(rendered), text...)
	return []File{file}, nil
}

// atLeast compares versions that were checked.
func atLeast(value, least string) bool {
	return version.MustParseSemantic(value).AtLeast(version.MustParseSemantic(least))
}

func plugins(c *v1alpha1.ContainerdSettings, in Input) table {
	images := imageSettings(c, in.ContainerdVersion)
	images["registry"] = table{"config_path": certsPath}
	if c.SandboxImage != "" {
		images["pinned_images"] = table{"sandbox": c.SandboxImage}
	}
	return withCollector(c, table{
		imagesPlugin:  images,
		runtimePlugin: table{"containerd": table{"default_runtime_name": "runc", "runtimes": runc(in)}},
	})
}

// imageContainerd is the oldest version that node images have had.
const imageContainerd = "2.1.0"

// imageSettings are those that a container has, too. From 2.1 on another part of
// containerd pulls, which has a number of its own and discards nothing, unless told.
func imageSettings(c *v1alpha1.ContainerdSettings, version string) table {
	images := table{}
	if (c.MaxConcurrentDownloads != nil || c.DiscardUnpackedLayers != nil) && atLeast(version, "2.1.0") {
		images["use_local_image_pull"] = true
	}
	if n := c.MaxConcurrentDownloads; n != nil {
		images["max_concurrent_downloads"] = int64(*n)
	}
	if on := c.DiscardUnpackedLayers; on != nil {
		images["discard_unpacked_layers"] = *on
	}
	return images
}

func formerPlugins(c *v1alpha1.ContainerdSettings, in Input) table {
	runtimes := table{"default_runtime_name": "runc", "runtimes": runc(in)}
	if on := c.DiscardUnpackedLayers; on != nil {
		runtimes["discard_unpacked_layers"] = *on
	}
	cri := table{"containerd": runtimes, "registry": table{"config_path": certsPath}}
	if n := c.MaxConcurrentDownloads; n != nil {
		cri["max_concurrent_downloads"] = int64(*n)
	}
	if c.SandboxImage != "" {
		cri["sandbox_image"] = c.SandboxImage
	}
	return withCollector(c, table{formerPlugin: cri})
}

// runc leaves control groups to who manages them in the kubelet's view.
func runc(in Input) table {
	return table{"runc": table{
		"runtime_type": "io.containerd.runc.v2",
		"options":      table{"SystemdCgroup": in.CgroupVersion != 1},
	}}
}

// withCollector adds the scheduler of the garbage collection.
func withCollector(c *v1alpha1.ContainerdSettings, all table) table {
	gc := c.Collection
	if gc == nil {
		return all
	}
	settings := table{}
	if d := gc.ScheduleDelay; d != nil {
		settings["schedule_delay"] = seconds(d.Duration)
	}
	if part := gc.PauseThreshold; part != nil {
		settings["pause_threshold"] = *part
	}
	if n := gc.MutationThreshold; n != nil {
		settings["mutation_threshold"] = int64(*n)
	}
	all[collectorPlugin] = settings
	return all
}
