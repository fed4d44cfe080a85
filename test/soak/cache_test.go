package soak_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/registry/faulty"
	"github.com/loam-cloud/loam/test/tools"
)

const (
	// commandEnv makes this binary `loam` with the arguments that it has.
	commandEnv = "LOAM_SOAK_COMMAND"
	// Pulls of the image cache, in `make test` and in `make soak`.
	somePulls, manyPulls = 10_000, 40_000
	pullers              = 24
)

// TestSoakCache pulls through the image cache while its upstream does everything
// wrong and the process is killed every few seconds. No answer that is complete
// may be wrong, nothing that was pulled once may be lost, and the log has to say
// why whenever a client saw an error.
func TestSoakCache(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some minutes")
	}
	pulls := somePulls
	if os.Getenv(durationEnv) != "" {
		pulls = manyPulls
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d pulls with seed %d", pulls, seed)
	u := faulty.New(seed)
	u.Login("loam", "secret")
	u.Pace(8 << 20)
	u.Pause(time.Second)
	u.Mix(0.3, faulty.All()...)
	server := httptest.NewServer(u)
	defer server.Close()
	defer u.Close()

	cache := newCache(t, server.URL)
	cache.start()
	p := &puller{t: t, seed: seed, base: "http://" + cache.address, things: stock(u, seed, pulls/8)}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	ended := p.run(ctx, pulls)
	random := rand.New(rand.NewPCG(seed, 1))
	for alive := true; alive; {
		select {
		case <-ended:
			alive = false
		case <-time.After(time.Second + time.Duration(random.Int64N(int64(2*time.Second)))):
			cache.kill()
			cache.start()
		}
	}
	if ctx.Err() != nil {
		t.Error("the pulls have not come to an end")
	}

	// What came to a client once comes again, without the upstream.
	u.Down(true)
	cache.kill()
	cache.start()
	p.again()
	cache.kill()
	cache.checkFiles()
	p.explain(cache.deaths, cache.logged())
	n := u.Counts()
	t.Logf("%d complete answers, %d errors; %d deaths; the upstream answered %d requests for blobs and %d for manifests, and did wrong: %v",
		p.complete, len(p.troubles), len(cache.deaths), n.Blobs, n.Manifests, n.Faults)
}

// stock fills the upstream, and returns what can be pulled from it.
func stock(u *faulty.Upstream, seed uint64, n int) []thing {
	random := rand.New(rand.NewPCG(seed, 2))
	bytes := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	blob := func() []byte {
		most := []int64{1, 64 << 10, 64 << 10, 64 << 10, 512 << 10, 512 << 10, 4 << 20}[random.IntN(7)]
		b := make([]byte, random.Int64N(most))
		_, _ = bytes.Read(b)
		return b
	}
	var all []thing
	for i := range n {
		repository := fmt.Sprintf("some/repository-%d", i%7)
		layer, tag := blob(), fmt.Sprintf("v%d", i)
		d := u.AddBlob(repository, layer)
		all = append(all, thing{path: repository + "/blobs/" + d.String(), digest: d})
		if i%4 == 0 {
			image := u.AddImage(repository, tag, layer)
			all = append(all,
				thing{path: repository + "/manifests/" + tag, digest: image},
				thing{path: repository + "/manifests/" + image.String(), digest: image})
		}
	}
	return all
}

// cache is `loam registry serve` in a process of its own.
type cache struct {
	t            *testing.T
	dir, address string
	log          *os.File
	running      *exec.Cmd
	deaths       []span
}

// span is from when to when it was not there.
type span struct{ from, to time.Time }

func newCache(t *testing.T, upstream string) *cache {
	t.Helper()
	c := &cache{t: t, dir: t.TempDir(), address: tools.FreeAddress(t)}
	config := fmt.Sprintf(`apiVersion: loam.dev/v1alpha1
kind: RegistryConfiguration
dataDir: %s
listen: %s
adminListen: %s
upstreams:
- name: faulty.example
  url: %s
  listen: %s
  ttl: 10ms
  stall: 500ms
  patience: 500ms
  credentials:
    file: %s
`, filepath.Join(c.dir, "data"), tools.FreeAddress(t), tools.FreeAddress(t), upstream, c.address, filepath.Join(c.dir, "credentials"))
	for name, content := range map[string]string{"config.yaml": config, "credentials": "loam:secret\n"} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if c.log, err = os.Create(filepath.Join(c.dir, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.kill()
		_ = c.log.Close() // nothing is written any more
	})
	return c
}

// start returns when it answers.
func (c *cache) start() {
	c.t.Helper()
	c.running = exec.Command(os.Args[0], "registry", "serve", "--config", filepath.Join(c.dir, "config.yaml"))
	c.running.Env = append(os.Environ(), commandEnv+"=1")
	c.running.Stdout, c.running.Stderr = c.log, c.log
	if err := c.running.Start(); err != nil {
		c.t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", c.address)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Since(began) > time.Minute {
			c.t.Fatalf("the image cache does not start: %v\n%s", err, c.logged())
		}
	}
	if n := len(c.deaths); n > 0 {
		c.deaths[n-1].to = time.Now()
	}
}

// kill leaves it no time for a last word.
func (c *cache) kill() {
	if c.running == nil {
		return
	}
	c.deaths = append(c.deaths, span{from: time.Now(), to: time.Now()})
	_ = c.running.Process.Kill() // it may have ended already
	_ = c.running.Wait()
	c.running = nil
}

func (c *cache) logged() string {
	c.t.Helper()
	text, err := os.ReadFile(c.log.Name())
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// checkFiles reads what lies in the folder under its digest.
func (c *cache) checkFiles() {
	c.t.Helper()
	found := 0
	err := filepath.WalkDir(filepath.Join(c.dir, "data", "blobs"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found++
		if d := digest.FromBytes(content); !strings.HasSuffix(path, d.Encoded()) {
			c.t.Errorf("%s has the digest %s", path, d)
		}
		return nil
	})
	if err != nil || found == 0 {
		c.t.Errorf("looked at %d files: %v", found, err)
	}
}
