package insight

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots"
)

// Machines is what a Looker needs of a driver.
type Machines interface {
	List(ctx context.Context, cluster string) ([]machines.Machine, error)
	Run(ctx context.Context, cluster, name string, command machines.Command) error
	machines.Sight
}

// Looker looks at clusters.
type Looker struct {
	Machines Machines
	Clock    clock.PassiveClock
	// Connect makes a client for a cluster; nil means a real one.
	Connect func(*rest.Config) (kubernetes.Interface, error)
}

// View is a page and what it was made from, for those who look further.
type View struct {
	Page    Page
	Objects Objects
	// Config reaches the cluster as its administrator; nil when there is no way to.
	Config *rest.Config
	// Machines are those of the cluster, the control plane first.
	Machines []machines.Description
}

const (
	kubernetesFolder = "/etc/kubernetes"
	kubeletFolder    = "/var/lib/kubelet/pki"
	manifestsFolder  = kubernetesFolder + "/manifests"
	adminKubeconfig  = kubernetesFolder + "/admin.conf"
	// fileLimit is how much of a file is read: those that count are small.
	fileLimit = 1 << 20
	// insideLimit bounds what is asked inside one node, sizeLimit the measuring of
	// disks.
	insideLimit = 15 * time.Second
	sizeLimit   = 30 * time.Second
)

const (
	controlPlane = string(v1alpha1.RoleControlPlane)
	balancer     = string(v1alpha1.RoleBalancer)
)

// Look looks at a cluster. What cannot be seen is on the page, and no error.
// Faults: Missing when it has no machine, Transient, Denied (the engine).
func (l *Looker) Look(ctx context.Context, known Known) (*View, error) {
	list, err := l.Machines.List(ctx, known.ID)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New(fault.Missing, "cluster %q has no machine on this host", known.Name)
	}
	v := &View{Page: Page{
		Name: known.Name, Project: known.Project, ID: known.ID, State: known.State, KubernetesVersion: known.KubernetesVersion,
		Seen: l.Clock.Now().UTC(), Nodes: []Node{},
	}}
	for _, m := range list {
		d, err := l.Machines.Describe(ctx, m.Cluster, m.Name)
		if err != nil {
			v.unseen("machine "+m.Name, err)
			continue
		}
		v.Machines = append(v.Machines, d)
	}
	slices.SortStableFunc(v.Machines, func(a, b machines.Description) int {
		return rank(a) - rank(b)
	})
	found := make([]*inside, len(v.Machines))
	for i, m := range v.Machines {
		found[i] = l.enter(ctx, v, m)
	}
	l.askCluster(ctx, v, found)
	sizes := l.sizes(ctx, v)
	for i, m := range v.Machines {
		v.Page.Nodes = append(v.Page.Nodes, v.node(m, found[i], sizes))
	}
	v.Page.Services, v.Page.Ports = v.Objects.services(), ports(v.Machines, v.Objects.Services)
	return v, nil
}

func rank(m machines.Description) int {
	switch m.Labels[shoots.LabelRole] {
	case controlPlane:
		return 0
	case balancer:
		return 1
	}
	return 2
}

func (v *View) unseen(what string, err error) {
	v.Page.Unseen = append(v.Page.Unseen, Unseen{What: what, Why: err.Error()})
}

// inside is what was found in one machine.
type inside struct {
	certificates []Certificate
	kubeconfig   []byte
	kubeconfigs  []string
	static       []string
	// probe is nil for a machine that is off.
	probe *probe
}

// enter looks into a machine: at its files whatever it does, at its processes
// when it runs.
func (l *Looker) enter(ctx context.Context, v *View, m machines.Description) *inside {
	found := &inside{}
	now := l.Clock.Now()
	for _, folder := range []string{kubernetesFolder, kubeletFolder} {
		err := l.Machines.ReadFolder(ctx, m.Cluster, m.Name, folder, func(file string, content io.Reader) error {
			text, err := io.ReadAll(io.LimitReader(content, fileLimit))
			if err == nil {
				found.file(file, text, now)
			}
			return err
		})
		// What kubeadm has not made yet is told by the files that are missing.
		if err != nil && !errors.Is(err, fault.Missing) {
			v.unseen("files of "+m.Hostname, err)
		}
	}
	found.certificates = current(found.certificates)
	slices.Sort(found.static)
	if m.State != machines.StateRunning {
		v.unseen("processes of "+m.Hostname, fmt.Errorf("its machine is %s", strings.ToLower(string(m.State))))
		return found
	}
	p, err := l.probe(ctx, m)
	if err != nil {
		v.unseen("processes of "+m.Hostname, err)
		return found
	}
	found.probe = p
	return found
}

func (f *inside) file(file string, text []byte, now time.Time) {
	f.certificates = append(f.certificates, Certificates(file, text, now)...)
	switch {
	case path.Dir(file) == manifestsFolder:
		f.static = append(f.static, programs(text)...)
	case file == adminKubeconfig:
		f.kubeconfig = text
	}
	if path.Dir(file) == kubernetesFolder && strings.HasSuffix(file, ".conf") {
		f.kubeconfigs = append(f.kubeconfigs, file)
	}
}

// programs are the containers of a static pod.
func programs(manifest []byte) []string {
	var pod corev1.Pod
	if err := yaml.Unmarshal(manifest, &pod); err != nil {
		return nil
	}
	var names []string
	for _, c := range pod.Spec.Containers {
		names = append(names, c.Name)
	}
	return names
}

// probe runs the script in a machine.
func (l *Looker) probe(ctx context.Context, m machines.Description) (*probe, error) {
	ctx, cancel := context.WithTimeout(ctx, insideLimit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	err := l.Machines.Run(ctx, m.Cluster, m.Name, machines.Command{
		Args:   append([]string{"/bin/sh", "-c", probeScript, "loam"}, paths()...),
		Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil {
		return nil, fmt.Errorf("%w %s", err, strings.TrimSpace(stderr.String()))
	}
	p := parseProbe(stdout.String())
	return &p, nil
}

// askCluster asks the API server, with the administrator's kubeconfig of a
// control plane.
func (l *Looker) askCluster(ctx context.Context, v *View, found []*inside) {
	api := &v.Page.API
	fail := func(err error) {
		v.Objects.Problem = err
		api.Problem = err.Error()
		v.unseen("what the cluster says (its nodes, pods and services)", err)
	}
	server, err := endpoint(v.Machines)
	if err != nil {
		fail(err)
		return
	}
	api.Address = server
	var kubeconfig []byte
	for _, f := range found {
		if len(kubeconfig) == 0 {
			kubeconfig = f.kubeconfig
		}
	}
	if len(kubeconfig) == 0 {
		fail(fault.New(fault.Waiting, "no control plane has %s yet", adminKubeconfig))
		return
	}
	config, inside, err := clientConfig(kubeconfig, server)
	if err != nil {
		fail(err)
		return
	}
	api.Inside, v.Config = inside, config
	connect := l.Connect
	if connect == nil {
		connect = func(config *rest.Config) (kubernetes.Interface, error) { return kubernetes.NewForConfig(config) }
	}
	c, err := connect(config)
	if err != nil {
		fail(err)
		return
	}
	v.Objects = ask(ctx, c)
	api.Version = v.Objects.Version
	if v.Objects.Problem != nil {
		fail(v.Objects.Problem)
		return
	}
	api.Ready = true
}

func (l *Looker) sizes(ctx context.Context, v *View) map[string]int64 {
	ctx, cancel := context.WithTimeout(ctx, sizeLimit)
	defer cancel()
	sizes, err := l.Machines.DiskSizes(ctx)
	if err != nil {
		v.unseen("sizes of disks", err)
	}
	return sizes
}

// FromNodes asks each node that runs whether it reaches the API server, as its
// kubelet does. What it answers is empty, or why not, by the name of the node.
func (l *Looker) FromNodes(ctx context.Context, v *View) map[string]string {
	answers := map[string]string{}
	for _, m := range v.Machines {
		if m.State != machines.StateRunning || m.Labels[shoots.LabelRole] == balancer {
			continue
		}
		answers[m.Hostname] = ""
		ctx, cancel := context.WithTimeout(ctx, insideLimit)
		var out bytes.Buffer
		err := l.Machines.Run(ctx, m.Cluster, m.Name, machines.Command{
			Args:   []string{"kubectl", "--kubeconfig=" + kubernetesFolder + "/kubelet.conf", "get", "--raw", "/readyz", "--request-timeout=5s"},
			Stdout: &out, Stderr: &out,
		})
		cancel()
		if err != nil {
			answers[m.Hostname] = cmp.Or(strings.TrimSpace(out.String()), err.Error())
		}
	}
	return answers
}
