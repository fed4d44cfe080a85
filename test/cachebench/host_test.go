package cachebench_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/prometheus/procfs"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/registry/config"
	"github.com/loam-cloud/loam/registry/daemon"
	"github.com/loam-cloud/loam/test/tools"
)

// serveEnv makes this binary an image cache with the configuration that it names.
const serveEnv = "LOAM_CACHEBENCH_SERVE"

func TestMain(m *testing.M) {
	if file := os.Getenv(serveEnv); file != "" {
		if err := serve(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serve(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c config.Configuration
	if err := yaml.UnmarshalStrict(text, &c); err != nil {
		return err
	}
	c.Default("")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return daemon.Run(ctx, c, daemon.Options{Log: logr.Discard()})
}

// host is where servers run.
type host struct {
	b    *testing.B
	dir  string
	root string // what nginx serves
	// nginxAt is its URL.
	nginxAt string
	running map[string]*process
}

func newHost(b *testing.B) *host {
	b.Helper()
	// Short, for the sockets' sake; readable by nginx's workers.
	dir, err := os.MkdirTemp("", "loam-bench-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		b.Fatal(err)
	}
	h := &host{b: b, dir: dir, root: filepath.Join(dir, "root"), running: map[string]*process{}}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return h
}

// process is a server that listens.
type process struct {
	base string
	cmd  *exec.Cmd
}

func (h *host) write(file, text string) string {
	h.b.Helper()
	path := filepath.Join(h.dir, file)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.b.Fatal(err)
	}
	return path
}

// start returns when the server answers.
func (h *host) start(name, address string, cmd *exec.Cmd) *process {
	h.b.Helper()
	var said strings.Builder
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		h.b.Fatal(err)
	}
	p := &process{"http://" + address, cmd}
	h.running[name] = p
	h.b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return p
		}
		if time.Since(began) > time.Minute {
			h.b.Fatalf("%s does not start: %s", name, said.String())
		}
	}
}

// nginx serves the root, each connection at a rate in bytes a second at most if there
// is one.
func (h *host) nginx(rate int64) (base string) {
	address := tools.FreeAddress(h.b)
	if err := os.MkdirAll(h.root, 0o755); err != nil {
		h.b.Fatal(err)
	}
	file := h.write("nginx.conf", fmt.Sprintf(`daemon off; pid %[1]s/nginx.pid; error_log stderr crit; worker_processes auto;
events {}
http {
  sendfile on; tcp_nopush on; access_log off; keepalive_requests 100000; limit_rate %[2]d;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  server { listen %[3]s; root %[4]s; location = /v2/ { return 200 '{}'; } }
}
`, h.dir, rate, address, h.root))
	h.nginxAt = h.start("nginx", address, exec.Command(tools.Nginx(h.b), "-c", file, "-p", h.dir)).base
	return h.nginxAt
}

// loam is the image cache of an upstream, which is what its listener answers for;
// without one, of private repositories.
func (h *host) loam(upstream string) *process {
	address, private := tools.FreeAddress(h.b), tools.FreeAddress(h.b)
	text := fmt.Sprintf("apiVersion: %s\nkind: %s\ndataDir: %s\nlisten: %s\nadminListen: %s\n", config.APIVersion, config.Kind, filepath.Join(h.dir, "loam"), private, tools.FreeAddress(h.b))
	if upstream == "" {
		address = private
	} else {
		text += fmt.Sprintf("upstreams: [{name: bench.example, url: %q, listen: %s}]\n", upstream, address)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+h.write("loam.yaml", text))
	return h.start("loam", address, cmd)
}

// proxy is distribution as a cache of an upstream.
func (h *host) proxy(upstream string) *process {
	return h.registry("proxy", fmt.Sprintf("proxy: {remoteurl: %q}\n", upstream))
}

// distribution is distribution as a registry.
func (h *host) distribution() *process { return h.registry("distribution", "") }

func (h *host) registry(as, more string) *process {
	address := tools.FreeAddress(h.b)
	file := h.write(as+".yml", fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n%s", filepath.Join(h.dir, as), address, more))
	cmd := exec.Command(tools.Registry(h.b), "serve", file)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	return h.start(as, address, cmd)
}

// counter passes connections on to nginx and counts what comes back.
type counter struct {
	address string
	bytes   atomic.Int64
}

func (h *host) count() *counter {
	h.b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.b.Fatal(err)
	}
	h.b.Cleanup(func() { _ = l.Close() })
	c, to := &counter{address: "http://" + l.Addr().String()}, strings.TrimPrefix(h.nginxAt, "http://")
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			go func() { _, _ = io.Copy(io.MultiWriter(client, c), server); _ = client.Close() }()
		}
	}()
	return c
}

func (c *counter) Write(b []byte) (int, error) {
	c.bytes.Add(int64(len(b)))
	return len(b), nil
}

// residentMiB is the most memory that a server ever had, in MiB, with the pages of
// its program.
func (h *host) residentMiB(server string) float64 {
	h.b.Helper()
	p, err := procfs.NewProc(h.running[server].cmd.Process.Pid)
	if err != nil {
		h.b.Fatal(err)
	}
	status, err := p.NewStatus()
	if err != nil {
		h.b.Fatal(err)
	}
	return float64(status.VmHWM) / (1 << 20)
}

// processorTime is how long a server has had a processor.
func (p *process) processorTime(b *testing.B) time.Duration {
	b.Helper()
	proc, err := procfs.NewProc(p.cmd.Process.Pid)
	if err != nil {
		b.Fatal(err)
	}
	stat, err := proc.Stat()
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(stat.CPUTime() * float64(time.Second))
}

// push pushes a small image.
func (h *host) push(base string) {
	h.b.Helper()
	image, err := random.Image(1000, 3)
	if err != nil {
		h.b.Fatal(err)
	}
	reference, err := name.ParseReference(strings.TrimPrefix(base, "http://") + "/library/thing:v1")
	if err != nil {
		h.b.Fatal(err)
	}
	if err := remote.Write(reference, image); err != nil {
		h.b.Fatal(err)
	}
}

// manifests asks for the manifest of an image for some time, and counts answers.
func (h *host) manifests(base string, length time.Duration) (answers int64, took time.Duration) {
	var n atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range 16 {
		all.Go(func() {
			for time.Since(began) < length {
				response, err := http.Get(base + "/v2/library/thing/manifests/v1")
				if err != nil {
					h.b.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, response.Body)
				if err != nil || response.StatusCode != http.StatusOK {
					h.b.Errorf("status %d, %v", response.StatusCode, err)
				}
				_ = response.Body.Close()
				n.Add(1)
			}
		})
	}
	all.Wait()
	return n.Load(), time.Since(began)
}
