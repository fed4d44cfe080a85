package nodeconfig

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/patching"
)

// Outside is how a node reaches what is not in its cluster, and how its
// container runtime is configured. Flows place its files before the first boot.
type Outside struct {
	Proxy v1alpha1.Proxy
	// Near are the ranges of addresses that are never asked for through a proxy:
	// the cluster's own, and that of its machines.
	Near []string
	// DNSDomain is cluster.local when empty.
	DNSDomain string
	// Resolver is the address at which pods of a cluster of IPv6 find the machine's
	// resolver; not valid where they find it without.
	Resolver netip.Addr
	// ContainerdPatches are TOML documents that containerd takes in.
	ContainerdPatches []string
	// Cache is where containerd asks first for images of all registries; none when it
	// is not valid.
	Cache netip.AddrPort
}

// Paths of files that Outside.Files writes.
const (
	proxyPath = "/etc/systemd/system.conf.d/20-proxy.conf"
	// hostsPath is for registries that have no folder of their own there, as
	// containerd's registry configuration has it (docs/hosts.md).
	hostsPath = "/etc/containerd/certs.d/_default/hosts.toml"
	// ContainerdConfigPath is containerd's main configuration.
	ContainerdConfigPath = "/etc/containerd/config.toml"
	// ContainerdPatchPrefix begins the paths of what it takes in.
	ContainerdPatchPrefix = "/etc/containerd/conf.d/50-user-"
)

// Files renders what the machine needs before it boots.
func (o Outside) Files() ([]File, error) {
	var files []File
	if text := o.environment(); text != "" {
		files = append(files, File{Path: proxyPath, Content: []byte("[Manager]\nDefaultEnvironment=" + text + "\n"), Mode: public})
	}
	if o.Resolver.IsValid() {
		files = append(files, resolverFiles(o.Resolver)...)
	}
	if o.Cache.IsValid() {
		// Without a server of its own the file leads on to the registry that the image
		// names when the cache does not have it, or does not run.
		text := fmt.Sprintf("[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", o.Cache)
		files = append(files, File{Path: hostsPath, Content: []byte(text), Mode: public})
	}
	for i, patch := range o.ContainerdPatches {
		content, err := patching.ContainerdDocument(patch)
		if err != nil {
			return nil, fmt.Errorf("containerdConfigPatches[%d]: %w", i, err)
		}
		files = append(files, File{Path: fmt.Sprintf("%s%03d.toml", ContainerdPatchPrefix, i), Content: content, Mode: public})
	}
	return files, nil
}

// environment has each variable in both spellings, since programs know one or
// the other; empty without a proxy.
func (o Outside) environment() string {
	if o.Proxy.HTTPProxy == "" && o.Proxy.HTTPSProxy == "" {
		return ""
	}
	domain := o.DNSDomain
	if domain == "" {
		domain = defaultDNS
	}
	direct := slices.Concat(o.Proxy.NoProxy, []string{"localhost", "127.0.0.0/8", "::1", ".svc", "." + domain}, o.Near)
	slices.Sort(direct)
	var list []string
	for _, variable := range [][2]string{
		{"HTTP_PROXY", o.Proxy.HTTPProxy}, {"HTTPS_PROXY", o.Proxy.HTTPSProxy}, {"NO_PROXY", strings.Join(slices.Compact(direct), ",")},
	} {
		if variable[1] != "" {
			list = append(list, fmt.Sprintf("%q %q", variable[0]+"="+variable[1], strings.ToLower(variable[0])+"="+variable[1]))
		}
	}
	return strings.Join(list, " ")
}
