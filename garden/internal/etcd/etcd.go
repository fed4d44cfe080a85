// Package etcd runs the garden's store inside this process: one etcd member
// without a single socket, reachable through an in-memory pipe only.
//
// The garden starts it before its API server. It must not know what is stored.
package etcd

import (
	"context"
	"fmt"
	"net"
	"net/url"

	"github.com/go-logr/logr"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"
)

const (
	// pipeBytes is the buffer of each direction of a connection. With 1 MiB the
	// API server's hundred connections cost 50 MB more than with 64 KiB, at the
	// same speed.
	pipeBytes = 64 << 10
	// tickMillis is short because the election and the first commit of a single
	// member wait for whole ticks: the default of 100 costs half a second.
	tickMillis = 20
	// DefaultQuotaBytes is the largest file that etcd's documentation advises.
	DefaultQuotaBytes = 8 << 30
	// defragMiB is how much must be free in the file before a start shrinks it.
	// Nothing else does: compaction frees pages but keeps the file.
	defragMiB = 64
	// snapshotEvery is after how many writes etcd may forget its log, keepEntries
	// how many it then keeps for members that lag, of which there are none. Both
	// are held in memory, and read again at each start: etcd's own 10,000 and
	// 5,000 writes of a Shoot are 100 MB.
	snapshotEvery, keepEntries = 2_000, 100
	memberName                 = "garden"
	// nowhere is advertised because etcd insists on host:port; nothing dials it.
	nowhere = "garden.invalid"
)

// Server is a running member.
type Server struct {
	level zap.AtomicLevel
	quota int64
	etcd  *embed.Etcd
	rpc   *grpc.Server
	pipe  *bufconn.Listener
}

// Start runs etcd on dir, which it creates with mode 0700, and returns when it
// accepts writes. The caller has to see to it that no other process uses dir:
// etcd would wait for ever without a word. quotaBytes bounds the store's file.
func Start(ctx context.Context, dir string, quotaBytes int64, log logr.Logger) (*Server, error) {
	// A start warns about settings that make sense with sockets only, and a first
	// one calls an empty store an error; what stops it is returned.
	level := zap.NewAtomicLevelAt(zap.DPanicLevel)
	config := embed.NewConfig()
	config.Dir = dir
	config.Name = memberName
	config.ListenClientUrls, config.ListenPeerUrls = nil, nil
	config.AdvertiseClientUrls = []url.URL{{Scheme: "http", Host: nowhere + ":2379"}}
	config.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: nowhere + ":2380"}}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.TickMs, config.ElectionMs = tickMillis, 10*tickMillis
	config.QuotaBackendBytes = quotaBytes
	config.SnapshotCount, config.SnapshotCatchUpEntries = snapshotEvery, keepEntries
	// Zero, which only etcd's flags replace, would warn of every request.
	config.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration
	config.BootstrapDefragThresholdMegabytes = defragMiB
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(newCore(log, level)))

	member, err := embed.StartEtcd(config)
	if err != nil {
		return nil, fmt.Errorf("starting etcd on %q: %w", dir, err)
	}
	select {
	case <-member.Server.ReadyNotify():
	case <-member.Server.StopNotify():
		return nil, fmt.Errorf("starting etcd on %q: it stopped at once", dir)
	case <-ctx.Done():
		member.Close()
		return nil, fmt.Errorf("waiting for etcd on %q: %w", dir, ctx.Err())
	}
	// The API server's clients ask for a sign of life far more often than gRPC
	// lets them by default, which would end their connections again and again.
	pings := grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: embed.DefaultGRPCKeepAliveMinTime, PermitWithoutStream: true})
	server := &Server{level: level, quota: quotaBytes, etcd: member, rpc: v3rpc.Server(member.Server, nil, nil, pings), pipe: bufconn.Listen(pipeBytes)}
	// Serve returns once Stop has closed the pipe, and only then.
	go func() { _ = server.rpc.Serve(server.pipe) }()
	return server, nil
}

// LogWarnings makes the member log warnings and errors from now on. Before, it
// logs nothing but its end.
func (s *Server) LogWarnings() { s.level.SetLevel(zap.WarnLevel) }

// Dial opens a connection for an etcd client.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) { return s.pipe.DialContext(ctx) }

// Stopped is closed when the member has ended, by Stop or by itself.
func (s *Server) Stopped() <-chan struct{} { return s.etcd.Server.StopNotify() }

// Stop closes all connections and the store. Everything acknowledged is on disk
// before and after.
func (s *Server) Stop() {
	s.level.SetLevel(zap.DPanicLevel)
	s.rpc.Stop()
	s.etcd.Close()
}
