package cli

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images"
	"github.com/loam-cloud/loam/nodeconfig/profile"
)

// variant is what of a node two sides of a comparison may differ in.
type variant struct {
	role, kubernetes, containerd string
	container                    bool
}

// nodeFlags say which node is meant.
type nodeFlags struct {
	profile, settings string
	variant
	to                 variant
	flags              *pflag.FlagSet
	cgroup             int
	diskMBps, diskIOPS string
	cpus               float64
	memory, name       string
	hypervisor         time.Duration
	mirrors, networks  []string
	keys               []string
}

// ourContainerd is the version that node images of Loam have.
const ourContainerd = "2.2.1"

// roles by the words of the command line.
var nodeRoles = []string{"worker", "control-plane"}

func (f *nodeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.profile, "profile", profile.Kubernetes, "name of a profile, "+strings.Join(profile.Names(), ", ")+", or a file such as ./mine.yaml")
	// The flag exists: it was made in the line above.
	_ = cmd.RegisterFlagCompletionFunc("profile", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return profile.Names(), cobra.ShellCompDirectiveDefault
	})
	f.addMachine(cmd)
}

// addCompared adds what a comparison takes, whose profiles are its arguments.
func (f *nodeFlags) addCompared(cmd *cobra.Command) {
	f.addMachine(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.to.role, "to-role", "", "role of the second node (default that of the first)")
	flags.StringVar(&f.to.kubernetes, "to-kubernetes-version", "", "Kubernetes version of the second node")
	flags.StringVar(&f.to.containerd, "to-containerd-version", "", "containerd version of the second node")
	flags.BoolVar(&f.to.container, "to-container", false, "whether the second node is a container")
	completeFlag(cmd, "to-role", nodeRoles)
}

func (f *nodeFlags) addMachine(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.flags = flags
	flags.StringVar(&f.role, "role", nodeRoles[0], "role of the node: "+strings.Join(nodeRoles, ", "))
	flags.StringVar(&f.kubernetes, "kubernetes-version", images.Default, "Kubernetes version")
	flags.StringVar(&f.containerd, "containerd-version", ourContainerd, "containerd version")
	flags.BoolVar(&f.container, "container", false, "a node that is a container, as those of loam cluster")
	flags.IntVar(&f.cgroup, "cgroup-version", 2, "version of control groups of a virtual machine")
	flags.StringVar(&f.settings, "settings", "", "file of settings that win over the profile's, as a Shoot has them in providerConfig.node")
	flags.StringVar(&f.diskMBps, "disk-mbps", "", "what the disk may do in MB/s, as READ/WRITE")
	flags.StringVar(&f.diskIOPS, "disk-iops", "", "how many reads and writes a second the disk may do, as READ/WRITE")
	flags.Float64Var(&f.cpus, "cpus", 0, "processors of the machine")
	flags.StringVar(&f.memory, "memory", "", "memory of the machine, such as 4Gi")
	flags.DurationVar(&f.hypervisor, "hypervisor-shutdown", 0, "how long the hypervisor waits for the machine to end, such as 600s")
	flags.StringArrayVar(&f.mirrors, "mirror", nil, "where containerd asks first: REGISTRY=URL[,ca=FILE][,server-name=NAME][,upstream=URL][,offline=true]")
	flags.StringVar(&f.name, "name", "", "name of the host")
	flags.StringArrayVar(&f.keys, "ssh-key", nil, "public key, or a file of them, of the image's own user")
	flags.StringArrayVar(&f.networks, "network", nil, "a card: mac=MAC or name=PATTERN, then address=, gateway=, dns=, search=, mtu=; without an address it asks for one")
	completeFlag(cmd, "role", nodeRoles)
}

func completeFlag(cmd *cobra.Command, name string, words []string) {
	// The flag exists: callers have made it.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// other is the second node of a comparison.
func (f *nodeFlags) other() *nodeFlags {
	second := *f
	for flag, set := range map[string]func(){
		"to-role":               func() { second.role = f.to.role },
		"to-kubernetes-version": func() { second.kubernetes = f.to.kubernetes },
		"to-containerd-version": func() { second.containerd = f.to.containerd },
		"to-container":          func() { second.container = f.to.container },
	} {
		if f.flags.Changed(flag) {
			set()
		}
	}
	return &second
}

// render renders the node of a profile, that of the flag when it is empty.
func (f *nodeFlags) render(name string) (*profile.Rendered, error) {
	p, in, err := f.read(name)
	if err != nil {
		return nil, err
	}
	out, err := p.Render(in)
	return out, fault.Wrap(fault.Invalid, err)
}

func (f *nodeFlags) values() ([]profile.Value, error) {
	p, in, err := f.read("")
	if err != nil {
		return nil, err
	}
	r, err := p.Resolve(in)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return r.Values(), nil
}

// read takes in the profile, settings and flags.
func (f *nodeFlags) read(name string) (*profile.Profile, profile.Input, error) {
	if name == "" {
		name = f.profile
	}
	p, err := readProfile(name)
	if err != nil {
		return nil, profile.Input{}, err
	}
	if f.settings != "" {
		text, err := os.ReadFile(f.settings)
		if err != nil {
			return nil, profile.Input{}, fault.New(fault.Invalid, "--settings: %w", err)
		}
		with, problems := p.With(f.settings, nil, text)
		if len(problems) > 0 {
			return nil, profile.Input{}, fault.New(fault.Invalid, "--settings %s: %w", f.settings, problems.ToAggregate())
		}
		p = with
	}
	in, err := f.input()
	return p, in, fault.Wrap(fault.Invalid, err)
}

// readProfile reads a profile by its name or, where it looks like one, its path.
func readProfile(name string) (*profile.Profile, error) {
	if slices.Contains(profile.Names(), name) {
		return profile.Load(name)
	}
	if !strings.ContainsAny(name, "/.") {
		return nil, fault.New(fault.Invalid, "there is no profile %q: the names are %s, and a file is written as ./%s", name, strings.Join(profile.Names(), ", "), name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "reading the profile: %w", err)
	}
	p, err := profile.Parse(name, text)
	return p, fault.Wrap(fault.Invalid, err)
}

// input reads the flags, and names every problem.
func (f *nodeFlags) input() (profile.Input, error) {
	var problems []error
	keep := func(flag string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	in := profile.Input{
		KubernetesVersion: f.kubernetes, ContainerdVersion: f.containerd, Container: f.container,
		CPUs: f.cpus, HypervisorShutdown: f.hypervisor, Name: f.name,
	}
	switch f.role {
	case "control-plane":
		in.Role = v1alpha1.RoleControlPlane
	case "worker":
		in.Role = v1alpha1.RoleWorker
	default:
		keep("role", fmt.Errorf("%q must be one of %s", f.role, strings.Join(nodeRoles, ", ")))
	}
	if !f.container {
		in.CgroupVersion = f.cgroup
	}
	var err error
	in.Disk.ReadMBps, in.Disk.WriteMBps, err = pair(f.diskMBps)
	keep("disk-mbps", err)
	in.Disk.ReadIOPS, in.Disk.WriteIOPS, err = pair(f.diskIOPS)
	keep("disk-iops", err)
	if f.memory != "" {
		amount, err := resource.ParseQuantity(f.memory)
		keep("memory", err)
		in.MemoryBytes = amount.Value()
	}
	for _, text := range f.mirrors {
		m, err := parseMirror(text)
		keep("mirror", err)
		in.Mirrors = append(in.Mirrors, m)
	}
	for _, text := range f.networks {
		n, err := parseNetwork(text)
		keep("network", err)
		in.Networks = append(in.Networks, n)
	}
	for _, text := range f.keys {
		keys, err := readKeys(text)
		keep("ssh-key", err)
		in.SSHKeys = append(in.SSHKeys, keys...)
	}
	return in, errors.Join(problems...)
}

// pair reads READ/WRITE.
func pair(text string) (read, write float64, err error) {
	if text == "" {
		return 0, 0, nil
	}
	first, second, _ := strings.Cut(text, "/")
	read, err = strconv.ParseFloat(first, 64)
	if err == nil {
		write, err = strconv.ParseFloat(second, 64)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%q must be READ/WRITE such as 60/60, where 0 is no cap", text)
	}
	return read, write, nil
}

// words reads NAME=VALUE,NAME=VALUE.
func words(text string, take map[string]func(value string) error) error {
	var problems []error
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		set, known := take[name]
		if !known || value == "" {
			problems = append(problems, fmt.Errorf("%q is none of %s", part, strings.Join(slices.Sorted(maps.Keys(take)), "=, ")+"="))
			continue
		}
		if err := set(value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(problems...)
}

func parseMirror(text string) (profile.Mirror, error) {
	first, rest, more := strings.Cut(text, ",")
	var m profile.Mirror
	m.Registry, m.Endpoint, _ = strings.Cut(first, "=")
	if !more {
		return m, nil
	}
	err := words(rest, map[string]func(string) error{
		"ca":          func(v string) (err error) { m.CA, err = os.ReadFile(v); return err },
		"server-name": func(v string) error { m.ServerName = v; return nil },
		"upstream":    func(v string) error { m.Upstream = v; return nil },
		"offline":     func(v string) (err error) { m.Offline, err = strconv.ParseBool(v); return err },
	})
	return m, err
}

func parseNetwork(text string) (profile.Network, error) {
	var n profile.Network
	addr := func(into *[]netip.Addr) func(string) error {
		return func(v string) error {
			a, err := netip.ParseAddr(v)
			*into = append(*into, a)
			return err
		}
	}
	err := words(text, map[string]func(string) error{
		"mac":  func(v string) error { n.MAC = v; return nil },
		"name": func(v string) error { n.Name = v; return nil },
		"address": func(v string) error {
			p, err := netip.ParsePrefix(v)
			n.Addresses = append(n.Addresses, p)
			return err
		},
		"gateway": addr(&n.Gateways),
		"dns":     addr(&n.DNS),
		"search":  func(v string) error { n.Search = append(n.Search, v); return nil },
		"mtu":     func(v string) (err error) { n.MTU, err = strconv.Atoi(v); return err },
	})
	return n, err
}

// readKeys takes a key, or reads a file that has one on each line.
func readKeys(text string) ([]string, error) {
	if strings.Contains(text, " ") {
		return []string{text}, nil
	}
	content, err := os.ReadFile(text)
	if err != nil {
		return nil, err
	}
	var keys []string
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	return keys, nil
}
