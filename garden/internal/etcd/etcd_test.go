package etcd_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/loam-cloud/loam/garden/internal/etcd"
)

const patience = 30 * time.Second

func open(t *testing.T, dir string, log logr.Logger) (*etcd.Server, *clientv3.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, err := etcd.Start(ctx, dir, etcd.DefaultQuotaBytes, log)
	if err != nil {
		t.Fatal(err)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{"http://test.invalid:2379"},
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return server.Dial(ctx) })},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return server, client
}

// TestRestart wants what was written to be there after a restart, and nothing
// in the log of an ordinary life.
func TestRestart(t *testing.T) {
	ctx, dir := context.Background(), filepath.Join(t.TempDir(), "etcd")
	log := funcr.New(func(prefix, args string) { t.Error("logged:", prefix, args) }, funcr.Options{})
	server, client := open(t, dir, log)
	server.LogWarnings()
	if _, err := client.Put(ctx, "key", "value"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info, err)
	}
	server.Stop()
	select {
	case <-server.Stopped():
	default:
		t.Error("Stopped is not closed after Stop")
	}
	server, client = open(t, dir, log)
	defer server.Stop()
	answer, err := client.Get(ctx, "key")
	if err != nil || len(answer.Kvs) != 1 || string(answer.Kvs[0].Value) != "value" {
		t.Errorf("got %v, %v", answer, err)
	}
}

// TestNoSockets wants the member to listen nowhere but in memory.
func TestNoSockets(t *testing.T) {
	before := listeners(t)
	server, _ := open(t, filepath.Join(t.TempDir(), "etcd"), logr.Discard())
	defer server.Stop()
	if after := listeners(t); after > before {
		t.Errorf("%d listening sockets, %d before", after, before)
	}
}

// listeners counts this process's listening sockets, TCP and Unix.
func listeners(t *testing.T) int {
	t.Helper()
	mine := map[string]bool{}
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, descriptor := range descriptors {
		target, _ := os.Readlink("/proc/self/fd/" + descriptor.Name())
		if inode, found := strings.CutPrefix(target, "socket:["); found {
			mine[strings.TrimSuffix(inode, "]")] = true
		}
	}
	count := 0
	// In these tables a listening socket has state 0A, or the flags 00010000.
	for path, columns := range map[string]struct {
		state, inode int
		listening    string
	}{"/proc/self/net/tcp": {3, 9, "0A"}, "/proc/self/net/tcp6": {3, 9, "0A"}, "/proc/self/net/unix": {3, 6, "00010000"}} {
		text, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) > columns.inode && fields[columns.state] == columns.listening && mine[fields[columns.inode]] {
				count++
			}
		}
	}
	return count
}

func TestStartOnAFileFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.Start(context.Background(), path, etcd.DefaultQuotaBytes, logr.Discard()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names the path", err)
	}
}
