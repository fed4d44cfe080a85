package shoots

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
	"github.com/loam-cloud/loam/nodeconfig/patching"
)

// connectOutside puts into a machine, before its first boot, where it finds the
// image cache, and what its user wants of proxies and of containerd. Of the cache
// it asks before every boot: where that is found somebody has to listen.
func (r *run) connectOutside(ctx context.Context, m machines.Machine) error {
	var cache netip.AddrPort
	if r.Cache != nil {
		var err error
		if cache, err = r.Cache(m); err != nil {
			return fmt.Errorf("leading machine %q to the image cache: %w", m.Name, err)
		}
	}
	if m.State != machines.StateCreated {
		return nil
	}
	c := r.cluster
	near := slices.Concat(strings.Split(c.PodCIDR, ","), strings.Split(c.ServiceCIDR, ","))
	for _, network := range m.Networks {
		near = append(near, network.String())
	}
	var resolver netip.Addr
	if ipv4, ipv6 := c.families(); ipv6 && !ipv4 {
		resolver = c.addresses(m)[0]
	}
	files, err := nodeconfig.Outside{
		Resolver:          resolver,
		Proxy:             c.Proxy,
		Near:              near,
		DNSDomain:         c.DNSDomain,
		ContainerdPatches: c.ContainerdPatches,
		Cache:             cache,
	}.Files()
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	runtime, err := r.containerdFiles(m)
	if err != nil {
		return err
	}
	if files = append(files, runtime...); len(files) == 0 {
		return nil
	}
	return r.put(ctx, m, files)
}

// containerdFiles are what a node's container runtime takes in; none for the balancer.
func (r *run) containerdFiles(m machines.Machine) ([]nodeconfig.File, error) {
	at := slices.IndexFunc(r.cluster.Pools, func(p Pool) bool { return p.Name == m.Labels[LabelPool] })
	if at < 0 {
		return nil, nil
	}
	pool := r.cluster.Pools[at]
	// The rest of the cluster is not known yet.
	files, err := nodeconfig.ContainerdFiles(
		nodeconfig.Cluster{KubernetesVersion: r.cluster.KubernetesVersion, NodeSettings: r.cluster.NodeSettings},
		nodeconfig.Node{Role: pool.Role, Settings: pool.NodeSettings, CPUs: pool.CPUs, MemoryBytes: pool.MemoryBytes},
	)
	return files, fault.Wrap(fault.Invalid, err)
}

// containerdPatched says that the main configuration of containerd is as the
// user wants it. It goes with the root folder of a machine, as that does.
const containerdPatched = "/etc/containerd/loam-patched"

// readContainerdScript prints the image's configuration of containerd unless it
// was patched. A copy is kept: patches are not to be made to what is patched.
const readContainerdScript = `
test ! -e ` + containerdPatched + ` || exit 0
original=` + nodeconfig.ContainerdConfigPath + `.original
test -e $original || { cp ` + nodeconfig.ContainerdConfigPath + ` $original.new; mv $original.new $original; }
cat $original
`

// patchContainerd patches what the node image has for containerd, which is known
// only once the machine runs.
func (r *run) patchContainerd(ctx context.Context, m machines.Machine) error {
	c := r.cluster
	if len(c.ContainerdPatches)+len(c.ContainerdPatchesJSON6902) == 0 {
		return nil
	}
	config, err := r.script(ctx, m, readContainerdScript)
	if err != nil || strings.TrimSpace(config) == "" {
		return err
	}
	patched, err := patching.Containerd([]byte(config), c.ContainerdPatchesJSON6902)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if string(patched) != config {
		if err := r.put(ctx, m, []nodeconfig.File{{Path: nodeconfig.ContainerdConfigPath, Content: patched, Mode: 0o644}}); err != nil {
			return err
		}
		if _, err := r.script(ctx, m, nodeconfig.AwaitContainerd+"systemctl restart containerd"); err != nil {
			return err
		}
	}
	return r.put(ctx, m, []nodeconfig.File{{Path: containerdPatched, Mode: 0o644}})
}
