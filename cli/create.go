package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/cli/kindfile"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images"
)

// createOptions are the flags of loam cluster create.
type createOptions struct {
	controlPlanes int
	workers       int
	version       string
	machineType   string
	family        string
	// controlPlaneType is machineType when empty.
	controlPlaneType string
	file             string
	wait             bool
	retain           bool
	timeout          time.Duration
	kubeconfig       string
}

func newClusterCreate(o *options, p *project) *cobra.Command {
	var c createOptions
	cmd := &cobra.Command{
		Use:   "create [NAME]",
		Short: "Grow a Kubernetes cluster on this host",
		Long: `Grow a Kubernetes cluster whose nodes are containers on this host: a Shoot in
the garden, which is started if none runs yet. Shows each step with its time,
and puts access into your kubeconfig as context loam-NAME.

A cluster that does not come up is removed again, unless --retain is given.
A file may be a Shoot, or a cluster file of kind (v1alpha4).`,
		Example: `  loam cluster create demo
  loam cluster create demo --workers 2 --kubernetes-version 1.36.3
  loam cluster create solid --control-planes 3 --workers 3
  loam cluster create small --workers 2 --machine-type local-2c-2g
  loam cluster create both --ip-family dual
  loam cluster create -f kind.yaml
  loam cluster create test --wait=false`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 0 && c.file == "" {
				return fault.New(fault.Invalid, "loam cluster create takes the name of the new cluster, or a file: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd, o, p, args)
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.controlPlanes, "control-planes", 1, "number of machines of the control plane: 1, or 3 or 5 behind a load balancer")
	f.IntVar(&c.workers, "workers", 0, "number of workers; with none, pods run on the control plane")
	f.StringVar(&c.version, "kubernetes-version", "", "Kubernetes version, or the beginning of one, of those that have a node image (default the newest)")
	f.StringVar(&c.machineType, "machine-type", "", "machine type of all nodes, which bounds their CPU and memory, such as local-2c-4g (default without bounds)")
	f.StringVar(&c.controlPlaneType, "control-plane-machine-type", "", "machine type of the control plane (default that of all nodes)")
	f.StringVar(&c.family, "ip-family", kindfile.FamilyIPv4, "addresses of nodes, pods and services: ipv4, ipv6 or dual")
	f.StringVarP(&c.file, "filename", "f", "", "file with a Shoot or a cluster of kind; - is standard input")
	f.BoolVar(&c.wait, "wait", true, "return once the cluster is ready")
	f.BoolVar(&c.retain, "retain", false, "keep the nodes of a cluster that does not come up")
	f.DurationVar(&c.timeout, "timeout", 10*time.Minute, "how long to wait")
	kubeconfigFlag(cmd, &c.kubeconfig)
	// The flags exist: they were made above.
	for _, flag := range []string{"machine-type", "control-plane-machine-type"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, o.completeMachineTypes)
	}
	_ = cmd.RegisterFlagCompletionFunc("ip-family", cobra.FixedCompletions([]string{kindfile.FamilyIPv4, kindfile.FamilyIPv6, kindfile.FamilyDual}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// completeMachineTypes completes what the cloud profile of this host offers.
func (o *options) completeMachineTypes(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := o.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var profile gardencorev1beta1.CloudProfile
	if err := c.Get(cmd.Context(), client.ObjectKey{Name: localProfile}, &profile); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, t := range profile.Spec.MachineTypes {
		names = append(names, fmt.Sprintf("%s\t%s CPU, %s memory", t.Name, &t.CPU, &t.Memory))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (c *createOptions) run(cmd *cobra.Command, o *options, p *project, args []string) error {
	out := cmd.ErrOrStderr()
	say := printer(out)
	shoot, err := c.shoot(cmd.InOrStdin(), p, args, cmd.Flags().Changed)
	if err != nil {
		return err
	}
	if err := passProxy(shoot, os.Getenv, say); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), c.timeout)
	defer cancel()
	api, err := o.connectOrStart(ctx, say)
	if err != nil {
		return err
	}
	if err := c.create(ctx, api, shoot); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return fault.New(fault.Invalid, "%s exists already: choose another name, or delete it with \"loam cluster delete %s\"", p.describe(shoot.Name), shoot.Name)
		}
		return fault.New(fault.Invalid, "creating %s: %w%s", p.describe(shoot.Name), err, versionAdvice(ctx, api, shoot.Spec.Kubernetes.Version, err))
	}
	if !c.wait {
		say("%s is being created; follow it with \"loam cluster get %s\"", p.describe(shoot.Name), shoot.Name)
		return nil
	}
	say("Creating %s with Kubernetes %s", p.describe(shoot.Name), shoot.Spec.Kubernetes.Version)
	if err := follow(ctx, api, shoot, nil, out); err != nil {
		return errors.Join(err, c.giveUp(cmd.Context(), api, p, shoot.Name, say))
	}
	text, err := clusterKubeconfig(ctx, api, p, shoot.Name)
	if err != nil {
		return err
	}
	return mergeKubeconfig(c.kubeconfig, p.contextName(shoot.Name), text, say)
}

// create asks for this host, and leaves the choice to the scheduler where only
// that one may choose.
func (c *createOptions) create(ctx context.Context, api client.Client, shoot *gardencorev1beta1.Shoot) error {
	chosen := shoot.Spec.SeedName != nil
	if !chosen {
		shoot.Spec.SeedName = ptr.To(app.SeedName)
	}
	unbound := shoot.DeepCopy()
	err := api.Create(ctx, shoot)
	if chosen || !apierrors.IsForbidden(err) {
		return err
	}
	unbound.Spec.SeedName = nil
	unbound.DeepCopyInto(shoot)
	return api.Create(ctx, shoot)
}

// removeLimit bounds the removal of a cluster that did not come up.
const removeLimit = 2 * time.Minute

// giveUp removes a cluster that did not come up, or says where its logs are. It
// works although the command was interrupted.
func (c *createOptions) giveUp(ctx context.Context, api client.WithWatch, p *project, name string, say sayer) error {
	if c.retain {
		say("The nodes are kept. \"loam cluster export logs %s\" gathers their logs; look at them with \"loam cluster inspect %s\":", name, name)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
		defer cancel()
		return sayMachines(ctx, api, p, name, say)
	}
	say("Removing what was made (keep it with --retain)")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
	defer cancel()
	return deleteShoot(ctx, api, p, name, true, say)
}

// shoot builds the Shoot that is asked for; given tells which flags were. What
// a file says of the project is the project from then on.
func (c *createOptions) shoot(stdin io.Reader, p *project, args []string, given func(flag string) bool) (*gardencorev1beta1.Shoot, error) {
	shoot := &gardencorev1beta1.Shoot{}
	shoot.Spec.Networking = &gardencorev1beta1.Networking{Type: ptr.To("flannel")}
	if given("control-planes") && (c.controlPlanes < 1 || c.controlPlanes > 5 || c.controlPlanes%2 == 0) {
		return nil, fault.New(fault.Invalid, "--control-planes: %d must be 1, 3 or 5", c.controlPlanes)
	}
	if c.workers < 0 {
		return nil, fault.New(fault.Invalid, "--workers: %d must not be negative", c.workers)
	}
	if c.file != "" {
		for _, flag := range []string{"control-planes", "workers", "ip-family"} {
			if given(flag) {
				return nil, fault.New(fault.Invalid, "--%s cannot be used with a file: write it into %s", flag, c.file)
			}
		}
		if err := readCluster(c.file, stdin, shoot); err != nil {
			return nil, err
		}
		// A file of kind has no word for it.
		for _, flag := range []string{"machine-type", "control-plane-machine-type"} {
			if given(flag) && shoot.Kind != "" {
				return nil, fault.New(fault.Invalid, "--%s cannot be used with a Shoot: write machine.type of its workers into %s", flag, c.file)
			}
		}
		if shoot.Kind == "" && (c.machineType != "" || c.controlPlaneType != "") {
			shoot.Spec.Provider.Workers = withControlPlane(shoot.Spec.Provider.Workers)
		}
	} else {
		shoot.Spec.Provider.Workers = c.pools()
		if given("ip-family") {
			families, known := kindfile.Families(c.family)
			if !known || c.family == "" {
				return nil, fault.New(fault.Invalid, "--ip-family: %q must be %s, %s or %s", c.family, kindfile.FamilyIPv4, kindfile.FamilyIPv6, kindfile.FamilyDual)
			}
			shoot.Spec.Networking.IPFamilies = families
		}
	}
	c.bound(shoot.Spec.Provider.Workers)
	if len(args) == 1 {
		shoot.Name = args[0]
	}
	if shoot.Name == "" {
		return nil, fault.New(fault.Invalid, "the file names no cluster: give a name")
	}
	if err := p.adopt(shoot.Namespace, given("project")); err != nil {
		return nil, err
	}
	shoot.Namespace = p.namespace()
	c.fill(&shoot.Spec)
	return shoot, nil
}

// pools are those that the flags ask for. A control plane of one machine needs none.
func (c *createOptions) pools() []gardencorev1beta1.Worker {
	var pools []gardencorev1beta1.Worker
	add := func(name string, count int) *gardencorev1beta1.Worker {
		n := int32(count)
		pools = append(pools, gardencorev1beta1.Worker{Name: name, Minimum: n, Maximum: n, Machine: gardencorev1beta1.Machine{Type: "local"}})
		return &pools[len(pools)-1]
	}
	if c.controlPlanes > 1 || c.machineType != "" || c.controlPlaneType != "" {
		add("control-plane", c.controlPlanes).ControlPlane = &gardencorev1beta1.WorkerControlPlane{}
	}
	if c.workers > 0 {
		add("worker", c.workers)
	}
	return pools
}

// localProfile is the cloud profile of this host.
const localProfile = "local"

// withControlPlane names the pool that a cluster gets when it names none.
func withControlPlane(pools []gardencorev1beta1.Worker) []gardencorev1beta1.Worker {
	if slices.ContainsFunc(pools, func(w gardencorev1beta1.Worker) bool { return w.ControlPlane != nil }) {
		return pools
	}
	own := gardencorev1beta1.Worker{Name: "control-plane", Minimum: 1, Maximum: 1, Machine: gardencorev1beta1.Machine{Type: "local"}, ControlPlane: &gardencorev1beta1.WorkerControlPlane{}}
	return append([]gardencorev1beta1.Worker{own}, pools...)
}

// bound gives pools the machine types that the flags ask for.
func (c *createOptions) bound(pools []gardencorev1beta1.Worker) {
	for i := range pools {
		wanted := c.machineType
		if pools[i].ControlPlane != nil {
			wanted = cmp.Or(c.controlPlaneType, c.machineType)
		}
		if wanted != "" {
			pools[i].Machine.Type = wanted
		}
	}
}

// fill sets what a cluster on this host needs and the user left open.
func (c *createOptions) fill(s *gardencorev1beta1.ShootSpec) {
	if c.version != "" {
		s.Kubernetes.Version = c.version
	}
	s.Kubernetes.Version = strings.TrimPrefix(s.Kubernetes.Version, "v")
	if s.CloudProfile == nil && s.CloudProfileName == nil {
		s.CloudProfile = &gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: localProfile}
	}
	if s.Provider.Type == "" {
		s.Provider.Type = "local"
	}
	if s.Region == "" {
		s.Region = "local"
	}
}

func readCluster(path string, stdin io.Reader, shoot *gardencorev1beta1.Shoot) error {
	text, err := readFile(path, stdin)
	if err != nil {
		return fault.New(fault.Invalid, "reading the cluster file: %w", err)
	}
	if err := onlyDocument(text); err != nil {
		return fault.New(fault.Invalid, "cluster file %s: %w", path, err)
	}
	if kindfile.Is(text) {
		folder, err := os.Getwd()
		if err != nil {
			return fmt.Errorf("finding the current folder: %w", err)
		}
		return kindfile.Read(text, folder, shoot)
	}
	var head metav1.TypeMeta
	if _, err := decodeStrict(text, &head); err != nil {
		return fault.New(fault.Invalid, "cluster file %s: %w", path, err)
	}
	want := gardencorev1beta1.SchemeGroupVersion.WithKind("Shoot")
	if got := head.GroupVersionKind(); got != want {
		return fault.New(fault.Invalid, "cluster file %s: is %q, must be apiVersion %s, kind Shoot, or kind's apiVersion %s, kind %s",
			path, got.GroupVersion().String()+", "+got.Kind, want.GroupVersion(), kindfile.APIVersion, kindfile.Kind)
	}
	var read gardencorev1beta1.Shoot
	problems, err := decodeStrict(text, &read)
	if err := errors.Join(append(problems, err)...); err != nil {
		return fault.New(fault.Invalid, "cluster file %s: %w", path, err)
	}
	*shoot = read
	return nil
}

func readFile(path string, stdin io.Reader) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(path)
}

// seedProblem says what keeps this host from making machines; empty when nothing
// is known to.
func seedProblem(ctx context.Context, api client.Client) string {
	var seed gardencorev1beta1.Seed
	if err := api.Get(ctx, client.ObjectKey{Name: app.SeedName}, &seed); err != nil {
		return "" // only used to help with a message
	}
	for _, c := range seed.Status.Conditions {
		if c.Type == gardencorev1beta1.SeedSystemComponentsHealthy && c.Status != gardencorev1beta1.ConditionTrue {
			return c.Message
		}
	}
	return ""
}

// versionAdvice says how to get a version that the garden refused for not being
// on offer; empty when that was not the reason.
func versionAdvice(ctx context.Context, api client.Client, version string, err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return ""
	}
	refused := false
	for _, c := range status.Status().Details.Causes {
		if c.Field != "spec.kubernetes.version" {
			continue
		}
		if c.Type == metav1.CauseTypeForbidden {
			return "" // an image would not help
		}
		refused = true
	}
	if !refused {
		return ""
	}
	if version != "" {
		return "; " + images.Advice("v"+strings.TrimPrefix(version, "v"))
	}
	if problem := seedProblem(ctx, api); problem != "" {
		return ": " + problem
	}
	return "; this host has no node image: build one with \"loam image build\""
}
