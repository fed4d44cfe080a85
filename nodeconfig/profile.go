package nodeconfig

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/nodeconfig/profile"
)

// ProfileOf is what nodes of a cluster are configured with: the profile kubernetes, and
// in what its user wants them to differ, as JSON of v1alpha1.NodeSettings: of all nodes
// of the cluster, and of some of them.
func ProfileOf(cluster, some []byte) (*profile.Profile, error) {
	p, err := profile.Load(profile.Kubernetes)
	if err != nil {
		return nil, err
	}
	p, problems := p.With("the cluster", field.NewPath("controlPlaneConfig", "node"), cluster)
	if len(problems) > 0 {
		return nil, problems.ToAggregate()
	}
	p, problems = p.With("its pool", field.NewPath("providerConfig", "node"), some)
	return p, problems.ToAggregate()
}

// profileInput is what a profile has to know of a node.
func profileInput(c Cluster, n Node) profile.Input {
	return profile.Input{
		Role: n.Role, KubernetesVersion: c.KubernetesVersion, Container: !n.VirtualMachine, CPUs: n.CPUs, MemoryBytes: n.MemoryBytes,
	}
}

// resolve is the profile of one node.
func resolve(c Cluster, n Node) (*profile.Resolved, error) {
	p, err := ProfileOf(c.NodeSettings, n.Settings)
	if err != nil {
		return nil, err
	}
	return p.Resolve(profileInput(c, n))
}

// withFlags sets flags of a program to the values of a profile.
func withFlags(args []arg, flags map[string]string) []arg {
	all := slices.DeleteFunc(slices.Clone(args), func(a arg) bool {
		_, is := flags[a.Name]
		return is
	})
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		all = append(all, arg{name, flags[name]})
	}
	return all
}

// ContainerdFiles renders how the container runtime of a container node differs from
// what the node image has, which takes it in when it starts.
func ContainerdFiles(c Cluster, n Node) ([]File, error) {
	settings, err := resolve(c, n)
	if err != nil {
		return nil, err
	}
	files, err := settings.ContainerdFiles(profileInput(c, n))
	var all []File
	for _, f := range files {
		all = append(all, File{Path: f.Path, Content: f.Content, Mode: f.Mode})
	}
	return all, err
}
