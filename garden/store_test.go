package garden_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/go-logr/logr"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	kubev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/internal/etcd"
	"github.com/loam-cloud/loam/garden/scheme"
)

const (
	startTimeout = time.Minute
	stopTimeout  = 10 * time.Second
	clearText    = "clear-text-that-must-not-be-on-disk"
)

// start runs a garden of its own on dataDir, beside the shared one.
func start(tb testing.TB, dataDir string) *garden.Garden {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	g, err := garden.Start(ctx, gardentest.Config(dataDir, tb.Log))
	if err != nil {
		tb.Fatalf("starting a garden: %v", err)
	}
	return g
}

func stop(tb testing.TB, g *garden.Garden) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := g.Stop(ctx); err != nil {
		tb.Fatalf("stopping the garden: %v", err)
	}
}

func clientOf(tb testing.TB, g *garden.Garden) client.Client {
	tb.Helper()
	c, err := client.New(g.RESTConfig(), client.Options{Scheme: scheme.Client()})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// rawStore reads everything in a stopped garden's etcd.
func rawStore(t *testing.T, dataDir string) map[string][]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	store, err := etcd.Start(ctx, filepath.Join(dataDir, "etcd"), etcd.DefaultQuotaBytes, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Stop()
	c, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{"http://raw.invalid:2379"},
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return store.Dial(ctx) })},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answer, err := c.Get(ctx, "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	content := map[string][]byte{}
	for _, kv := range answer.Kvs {
		content[string(kv.Key)] = kv.Value
	}
	return content
}

// TestDiskFormat holds the store to docs/design/0002-disk-format.md, and a
// second start to what the first one stored.
func TestDiskFormat(t *testing.T) {
	ctx, dataDir := context.Background(), t.TempDir()
	g := start(t, dataDir)
	c := clientOf(t, g)
	secretData := map[string][]byte{"key": []byte(clearText)}
	meta := metav1.ObjectMeta{Namespace: "garden-local", Name: "disk"}
	for _, object := range []client.Object{
		newShoot("garden-local", "disk"),
		&kubev1.Secret{ObjectMeta: meta, Data: secretData},
		&v1beta1.InternalSecret{ObjectMeta: meta, Data: secretData},
		&kubev1.ConfigMap{ObjectMeta: meta},
	} {
		if err := c.Create(ctx, object); err != nil {
			t.Fatalf("creating %T: %v", object, err)
		}
	}
	all := server{config: g.RESTConfig()}.samples()
	for _, s := range all {
		if err := c.Create(ctx, s.object(t, "garden-local", "disk-"+s.resource.Version)); err != nil {
			t.Fatalf("creating %s: %v", s.kind, err)
		}
	}
	stop(t, g)

	content := rawStore(t, dataDir)
	for _, s := range all {
		wantStored(t, content, s, "disk-"+s.resource.Version)
	}
	protobuf, encrypted := []byte("k8s\x00"), []byte("k8s:enc:secretbox:v1:")
	for key, prefix := range map[string][]byte{
		"/registry/core.gardener.cloud/shoots/garden-local/disk":                   protobuf,
		"/registry/core.gardener.cloud/projects/local":                             protobuf,
		"/registry/core.gardener.cloud/internalsecrets/garden-local/disk":          encrypted,
		"/registry/secrets/garden-local/disk":                                      encrypted,
		"/registry/configmaps/garden-local/disk":                                   protobuf,
		"/registry/apiregistration.k8s.io/apiservices/v1beta1.core.gardener.cloud": nil,
	} {
		value, found := content[key]
		if !found || !bytes.HasPrefix(value, prefix) {
			t.Errorf("%s: got %.40q (found: %v), want it to begin with %q", key, value, found, prefix)
		}
	}
	for key, value := range content {
		if bytes.Contains(value, []byte(clearText)) {
			t.Errorf("%s holds a secret in clear", key)
		}
		if group, _, _ := strings.Cut(strings.TrimPrefix(key, "/registry/"), "/"); slices.Contains([]string{"shoots", "quotas", "machines", "seeds"}, group) {
			t.Errorf("%s has no group", key)
		}
	}

	again := start(t, dataDir)
	defer stop(t, again)
	secret := &v1beta1.InternalSecret{}
	if err := clientOf(t, again).Get(ctx, client.ObjectKey{Namespace: "garden-local", Name: "disk"}, secret); err != nil || string(secret.Data["key"]) != clearText {
		t.Errorf("after a restart: got %q, %v", secret.Data["key"], err)
	}
}

// wantStored wants a sample of that name in its group's folder, as protobuf of
// the version that is stored. InternalSecrets are encrypted, and the kinds of
// loam.dev have no protobuf.
func wantStored(t *testing.T, content map[string][]byte, s sample, name string) {
	t.Helper()
	key := "/registry/" + s.resource.Group + "/" + s.resource.Resource + "/"
	if s.namespaced {
		key += s.namespace("garden-local") + "/"
	}
	value, found := content[key+name]
	version := s.resource.GroupVersion().String()
	if s.kind == "ControllerDeployment" {
		version = "core.gardener.cloud/v1"
	}
	stored := runtime.Unknown{}
	switch {
	case !found:
		t.Errorf("%s %s is not at %s", version, s.kind, key+name)
		return
	case s.kind == "InternalSecret":
		if !bytes.HasPrefix(value, []byte("k8s:enc:secretbox:v1:")) {
			t.Errorf("%s: got %.40q, want it encrypted", key+name, value)
		}
		return
	case s.resource.Group == "loam.dev":
		unmarshal(t, value, &stored.TypeMeta)
	default:
		encoded, isProtobuf := bytes.CutPrefix(value, []byte("k8s\x00"))
		if err := stored.Unmarshal(encoded); err != nil || !isProtobuf {
			t.Errorf("%s: got %.40q, want protobuf: %v", key+name, value, err)
		}
	}
	if stored.APIVersion != version || stored.Kind != s.kind {
		t.Errorf("%s: is stored as %s %s, want %s %s", key+name, stored.APIVersion, stored.Kind, version, s.kind)
	}
}

func TestFilesArePrivate(t *testing.T) {
	g := gardentest.Start(t)
	root := filepath.Dir(g.KubeconfigPath())
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if path != root && strings.HasSuffix(path, ".crt") {
			return nil
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			t.Errorf("%s has mode %o", path, mode)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kubeconfig", "encryption.yaml"} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestBootstrapIsIdempotent starts twice on one folder and expects the second
// start to write nothing into what the first one made.
func TestBootstrapIsIdempotent(t *testing.T) {
	ctx, dataDir := context.Background(), t.TempDir()
	state := func(g *garden.Garden) string {
		c := clientOf(t, g)
		seed, project, profile := &v1beta1.Seed{}, &v1beta1.Project{}, &v1beta1.CloudProfile{}
		for _, object := range []client.Object{seed, project, profile} {
			if err := c.Get(ctx, client.ObjectKey{Name: "local"}, object); err != nil {
				t.Fatal(err)
			}
		}
		if project.Status.Phase != v1beta1.ProjectReady || *project.Spec.Namespace != "garden-local" || project.Spec.Owner.Name != "loam:admin" {
			t.Errorf("project: %+v %+v", project.Spec, project.Status)
		}
		var versions []string
		for _, version := range profile.Spec.Kubernetes.Versions {
			versions = append(versions, version.Version)
		}
		return fmt.Sprint(seed.ResourceVersion, project.ResourceVersion, profile.ResourceVersion, versions)
	}
	g := start(t, dataDir)
	first := state(g)
	stop(t, g)
	g = start(t, dataDir)
	defer stop(t, g)
	if second := state(g); first != second {
		t.Errorf("first start %s, second start %s", first, second)
	}
	if !strings.Contains(first, "[1.36.3 1.35.4]") {
		t.Errorf("versions of the cloud profile: %s", first)
	}
}
