package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/images"
)

const shootFile = `apiVersion: core.gardener.cloud/v1beta1
kind: Shoot
metadata: {name: filed}
spec:
  kubernetes: {version: v1.35.4}
  provider:
    workers: [{name: w, minimum: 3, maximum: 3, machine: {type: local}}]
`

const kindFile = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nname: kindly\nnodes: [{role: control-plane}, {role: worker}]\n"

func TestShoot(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		write(t, path, text, 0o600)
		return path
	}
	shoots, kinds := file("shoot.yaml", shootFile), file("kind.yaml", kindFile)
	elsewhere := file("elsewhere.yaml", strings.Replace(shootFile, "name: filed", "name: filed, namespace: garden-dev", 1))
	nowhere := file("nowhere.yaml", strings.Replace(shootFile, "name: filed", "name: filed, namespace: default", 1))
	for name, tc := range map[string]struct {
		options createOptions
		args    []string
		stdin   string
		given   []string
		// want is the Shoot in a line, or a part of the error after "error: ".
		want string
	}{
		"a name":                  {args: []string{"demo"}, want: "garden-local/demo -"},
		"workers and version":     {options: createOptions{workers: 2, version: "v1.36.3"}, args: []string{"demo"}, want: "garden-local/demo 1.36.3 worker"},
		"fewer than none":         {options: createOptions{workers: -1}, args: []string{"demo"}, want: "error: --workers: -1 must not be negative"},
		"a file":                  {options: createOptions{file: shoots}, want: "garden-local/filed 1.35.4 w"},
		"a file, another name":    {options: createOptions{file: shoots, version: "1.36.3"}, args: []string{"other"}, want: "garden-local/other 1.36.3 w"},
		"a file of kind":          {options: createOptions{file: kinds}, want: "garden-local/kindly - control-plane worker"},
		"standard input":          {options: createOptions{file: "-"}, stdin: shootFile, want: "garden-local/filed 1.35.4 w"},
		"standard input of kind":  {options: createOptions{file: "-"}, stdin: kindFile, want: "garden-local/kindly - control-plane worker"},
		"another project":         {options: createOptions{file: elsewhere}, want: "garden-dev/filed 1.35.4 w"},
		"another project, twice":  {options: createOptions{file: elsewhere}, given: []string{"project"}, want: "error: contradicts metadata.namespace"},
		"no project":              {options: createOptions{file: nowhere}, want: `error: metadata.namespace: "default"`},
		"a file and workers":      {options: createOptions{file: shoots, workers: 1}, given: []string{"workers"}, want: "error: --workers cannot be used with a file"},
		"three control planes":    {options: createOptions{controlPlanes: 3, workers: 2}, args: []string{"demo"}, given: []string{"control-planes"}, want: "garden-local/demo - control-plane worker"},
		"two control planes":      {options: createOptions{controlPlanes: 2}, args: []string{"demo"}, given: []string{"control-planes"}, want: "error: --control-planes: 2 must be 1, 3 or 5"},
		"a file, control planes":  {options: createOptions{file: shoots, controlPlanes: 3}, given: []string{"control-planes"}, want: "error: --control-planes cannot be used with a file"},
		"both families":           {options: createOptions{family: "dual"}, args: []string{"demo"}, given: []string{"ip-family"}, want: "garden-local/demo - [IPv4 IPv6]"},
		"IPv6":                    {options: createOptions{family: "ipv6"}, args: []string{"demo"}, given: []string{"ip-family"}, want: "garden-local/demo - [IPv6]"},
		"no family":               {options: createOptions{family: "ipx"}, args: []string{"demo"}, given: []string{"ip-family"}, want: `error: --ip-family: "ipx" must be ipv4, ipv6 or dual`},
		"a file and a family":     {options: createOptions{file: kinds, family: "dual"}, given: []string{"ip-family"}, want: "error: --ip-family cannot be used with a file"},
		"bounded":                 {options: createOptions{workers: 1, machineType: "local-2c-2g"}, args: []string{"demo"}, want: "garden-local/demo - control-plane=local-2c-2g worker=local-2c-2g"},
		"bounded control plane":   {options: createOptions{workers: 1, controlPlaneType: "local-2c-4g"}, args: []string{"demo"}, want: "garden-local/demo - control-plane=local-2c-4g worker"},
		"a bounded file of kind":  {options: createOptions{file: kinds, machineType: "a", controlPlaneType: "b"}, given: []string{"machine-type"}, want: "garden-local/kindly - control-plane=b worker=a"},
		"a bounded Shoot":         {options: createOptions{file: shoots, machineType: "a"}, given: []string{"machine-type"}, want: "error: --machine-type cannot be used with a Shoot"},
		"no such file":            {options: createOptions{file: shoots + ".none"}, want: "error: no such file"},
		"no name":                 {options: createOptions{file: "-"}, stdin: "apiVersion: core.gardener.cloud/v1beta1\nkind: Shoot\n", want: "error: names no cluster"},
		"another kind":            {options: createOptions{file: "-"}, stdin: "apiVersion: v1\nkind: Pod\n", want: `error: is "v1, Pod", must be apiVersion core.gardener.cloud/v1beta1, kind Shoot, or kind's apiVersion kind.x-k8s.io/v1alpha4, kind Cluster`},
		"an unknown field":        {options: createOptions{file: "-"}, stdin: shootFile + "  workers: 3\n", want: `error: unknown field "spec.workers"`},
		"an unknown field, kind":  {options: createOptions{file: "-"}, stdin: kindFile + "workers: 3\n", want: `error: unknown field "workers"`},
		"several clusters":        {options: createOptions{file: "-"}, stdin: shootFile + "---\n" + shootFile, want: "error: it holds 2 documents"},
		"several kinds' clusters": {options: createOptions{file: "-"}, stdin: kindFile + "---\n" + kindFile, want: "error: it holds 2 documents"},
		"nothing":                 {options: createOptions{file: "-"}, want: `error: is ", ", must be`},
	} {
		t.Run(name, func(t *testing.T) {
			p := &project{name: "local"}
			shoot, err := tc.options.shoot(strings.NewReader(tc.stdin), p, tc.args, func(flag string) bool { return slices.Contains(tc.given, flag) })
			if want, bad := strings.CutPrefix(tc.want, "error: "); bad {
				if err == nil || !strings.Contains(err.Error(), want) || fault.KindOf(err) != fault.Invalid {
					t.Errorf("got %v, want an Invalid that says %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			version := shoot.Spec.Kubernetes.Version
			if version == "" {
				version = "-"
			}
			got := shoot.Namespace + "/" + shoot.Name + " " + version
			for _, w := range shoot.Spec.Provider.Workers {
				got += " " + w.Name
				if w.Machine.Type != "local" {
					got += "=" + w.Machine.Type
				}
			}
			if n := shoot.Spec.Networking; n != nil && len(n.IPFamilies) > 0 {
				got += fmt.Sprintf(" %v", n.IPFamilies)
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if p.namespace() != shoot.Namespace {
				t.Errorf("the cluster is in %q, and looked for in %q", shoot.Namespace, p.namespace())
			}
			if s := shoot.Spec; s.CloudProfile.Name != "local" || s.Provider.Type != "local" || s.Region != "local" || s.SeedName != nil {
				t.Errorf("the spec is %+v", s)
			}
		})
	}
}

// TestWhoMayNotChooseASeed gets the one that the scheduler chooses.
func TestWhoMayNotChooseASeed(t *testing.T) {
	denied := apierrors.NewForbidden(gardencorev1beta1.Resource("shoots"), "demo", errors.New("cannot patch shoots/binding"))
	for name, tc := range map[string]struct {
		named   string
		may     bool
		refused error
		want    string
	}{
		"who may":                         {may: true, want: "local"},
		"who may not":                     {want: ""},
		"who may not, of a seed he names": {named: "far", refused: denied, want: "far"},
	} {
		t.Run(name, func(t *testing.T) {
			api := clientfake.NewClientBuilder().WithScheme(scheme.Client()).WithInterceptorFuncs(interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
					if !tc.may && o.(*gardencorev1beta1.Shoot).Spec.SeedName != nil {
						return denied
					}
					return c.Create(ctx, o, options...)
				},
			}).Build()
			shoot := &gardencorev1beta1.Shoot{}
			shoot.Namespace, shoot.Name = "garden-local", "demo"
			if tc.named != "" {
				shoot.Spec.SeedName = &tc.named
			}
			if err := (&createOptions{}).create(t.Context(), api, shoot); !errors.Is(err, tc.refused) {
				t.Errorf("got %v, want %v", err, tc.refused)
			}
			if got := ptr.Deref(shoot.Spec.SeedName, ""); got != tc.want {
				t.Errorf("the seed is %q, want %q", got, tc.want)
			}
		})
	}
}

func TestWhatAFileSaysStays(t *testing.T) {
	text := strings.Replace(shootFile, "spec:\n", "spec:\n  region: there\n  seedName: far\n  cloudProfile: {kind: CloudProfile, name: mine}\n  networking: {type: none}\n", 1)
	c := createOptions{file: "-"}
	shoot, err := c.shoot(strings.NewReader(text), &project{name: "local"}, nil, func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	if s := shoot.Spec; s.Region != "there" || *s.SeedName != "far" || s.CloudProfile.Name != "mine" || *s.Networking.Type != "none" {
		t.Errorf("the spec is %+v", s)
	}
}

// TestVersionAdvice wants help where the garden refuses a version, and none to
// build what cannot be built.
func TestVersionAdvice(t *testing.T) {
	garden := clientfake.NewClientBuilder().WithScheme(scheme.Client()).Build()
	refused := func(fields ...string) error {
		var errs field.ErrorList
		for _, f := range fields {
			errs = append(errs, field.Invalid(field.NewPath(f), "", "no"))
		}
		return apierrors.NewInvalid(gardencorev1beta1.SchemeGroupVersion.WithKind("Shoot").GroupKind(), "demo", errs)
	}
	buildable := images.Supported()[0]
	for name, tc := range map[string]struct {
		version string
		err     error
		want    string
	}{
		"can be built":          {strings.TrimPrefix(buildable, "v"), refused("spec.region", "spec.kubernetes.version"), "loam image build --kubernetes-version " + buildable},
		"cannot be built":       {"1.30.0", refused("spec.kubernetes.version"), "can be built for " + strings.Join(images.Supported(), ", ")},
		"no image on this host": {"", refused("spec.kubernetes.version"), `build one with "loam image build"`},
		"another problem":       {"1.30.0", refused("spec.region"), ""},
		"no answer":             {"1.30.0", errors.New("connection refused"), ""},
	} {
		got := versionAdvice(t.Context(), garden, tc.version, tc.err)
		if !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
		if tc.version == "1.30.0" && strings.Contains(got, "loam image build") {
			t.Errorf("%s: advises to build what cannot be built: %q", name, got)
		}
	}
}
