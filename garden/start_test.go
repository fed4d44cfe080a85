package garden_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestSecondStartIsRefused(t *testing.T) {
	dataDir := filepath.Dir(gardentest.Start(t).KubeconfigPath())
	pid, running, err := garden.ReadLock(dataDir)
	if err != nil || !running || pid != os.Getpid() {
		t.Errorf("ReadLock: got %d, %v, %v; want %d, true", pid, running, err, os.Getpid())
	}
	_, err = garden.Start(context.Background(), gardentest.Config(dataDir, t.Log))
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("second start: got %v, want fault.Invalid with the process id", err)
	}
	if _, running, _ := garden.ReadLock(dataDir); !running {
		t.Error("the refused start took the lock away")
	}
}

func TestReadLockOfNoGarden(t *testing.T) {
	empty, stale := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(stale, "loam.lock"), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{empty, stale, filepath.Join(empty, "missing")} {
		if pid, running, err := garden.ReadLock(dir); pid != 0 || running || err != nil {
			t.Errorf("%s: got %d, %v, %v", dir, pid, running, err)
		}
	}
}

// TestStartsThatCannotWork checks that each is refused in one clear sentence
// and leaves nothing behind.
func TestStartsThatCannotWork(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	for name, test := range map[string]struct {
		change func(*garden.Config)
		want   string
	}{
		"port taken":          {func(c *garden.Config) { c.Listen = taken.Addr().String() }, "is taken by another process: choose another with --listen"},
		"address not here":    {func(c *garden.Config) { c.Listen = "192.0.2.1:1" }, "192.0.2.1:1"},
		"address no address":  {func(c *garden.Config) { c.Listen = "nonsense" }, "nonsense"},
		"folder is a file":    {func(c *garden.Config) { c.DataDir = file }, "cannot be"},
		"folder below a file": {func(c *garden.Config) { c.DataDir = filepath.Join(file, "a", "b") }, "cannot be made"},
		"folder is on /proc":  {func(c *garden.Config) { c.DataDir = "/proc/loam" }, "cannot be made"},
		"no folder":           {func(c *garden.Config) { c.DataDir = "" }, "no data folder"},
		"unreadable versions": {func(c *garden.Config) { c.KubernetesVersions = []string{"newest"} }, "newest"},
		"app's start fails": {func(c *garden.Config) {
			c.PostStart = func(context.Context, *rest.Config) error { return errors.New("app says no") }
		}, "app says no"},
	} {
		t.Run(name, func(t *testing.T) {
			config := gardentest.Config(filepath.Join(parent, "a", "b"), t.Log)
			test.change(&config)
			g, err := garden.Start(context.Background(), config)
			if err == nil {
				stop(t, g)
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line with %q", err, test.want)
			}
			if _, err := os.Stat(filepath.Join(parent, "a")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("something is left behind in %s", parent)
			}
		})
	}
}

func TestMissingEncryptionKeyIsNotReplaced(t *testing.T) {
	dataDir := t.TempDir()
	stop(t, start(t, dataDir))
	key := filepath.Join(dataDir, "encryption.yaml")
	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := garden.Start(context.Background(), gardentest.Config(dataDir, t.Log)); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), key) {
		t.Errorf("start without the key: got %v, want fault.Invalid naming %s", err, key)
	}
	if err := os.WriteFile(key, content, 0o600); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, dataDir))
}

func TestPostStartRunsAndEndsWithTheGarden(t *testing.T) {
	config := gardentest.Config(t.TempDir(), t.Log)
	var fleet context.Context
	config.PostStart = func(ctx context.Context, cfg *rest.Config) error {
		fleet = ctx
		if cfg.QPS >= 0 || cfg.ContentType != "" {
			t.Errorf("client configuration: QPS %v, content type %q", cfg.QPS, cfg.ContentType)
		}
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	g, err := garden.Start(ctx, config)
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	if fleet.Err() != nil {
		t.Error("the fleet's context ended with the start's")
	}
	stop(t, g)
	if fleet.Err() == nil {
		t.Error("the fleet's context outlives the garden")
	}
	select {
	case <-g.Done():
	default:
		t.Error("Done is not closed after Stop")
	}
	if err := g.Err(); err != nil {
		t.Error(err)
	}
}

// TestFailedStartOnAnEmptyFolder expects a folder that was there to stay, empty.
func TestFailedStartOnAnEmptyFolder(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	config := gardentest.Config(t.TempDir(), t.Log)
	config.Listen = taken.Addr().String()
	if _, err := garden.Start(context.Background(), config); err == nil {
		t.Fatal("it started")
	}
	entries, err := os.ReadDir(config.DataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
