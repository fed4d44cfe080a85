package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/snapshot"
	etcdutlsnapshot "go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/loam-cloud/loam/fault"
)

const (
	// revisionBump lifts the revision of a restored store above every one that a
	// client may have seen: more than a billion writes after a snapshot would be
	// needed to pass it. etcd's page on disaster recovery advises this number.
	revisionBump = 1_000_000_000
	dialTimeout  = 5 * time.Second
)

func (s *Server) clientConfig() clientv3.Config {
	return clientv3.Config{
		Endpoints:   []string{"http://" + nowhere + ":2379"},
		DialTimeout: dialTimeout,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.Dial(ctx) })},
		Logger:      zap.NewNop(),
	}
}

// Client opens a client of the member. The caller closes it.
func (s *Server) Client() (*clientv3.Client, error) {
	client, err := clientv3.New(s.clientConfig())
	if err != nil {
		return nil, fmt.Errorf("opening a client of etcd: %w", err)
	}
	return client, nil
}

// Snapshot writes the whole store as of one moment to path, mode 0600, while
// writes go on. The file ends in a checksum, which Restore proves.
func (s *Server) Snapshot(ctx context.Context, path string) error {
	if _, err := snapshot.SaveWithVersion(ctx, zap.NewNop(), s.clientConfig(), path); err != nil {
		return fmt.Errorf("taking a snapshot of etcd: %w", err)
	}
	return os.Chmod(path, 0o600)
}

// Restore makes dir, which must not exist, a store with what a snapshot holds.
// Clients that remember revisions of before are told to read everything anew.
// Faults: Invalid when the snapshot is not whole.
func Restore(path, dir string) error {
	peer := "http://" + nowhere + ":2380"
	if _, err := types.NewURLs([]string{peer}); err != nil {
		return fmt.Errorf("restoring etcd: %w", err)
	}
	err := etcdutlsnapshot.NewV3(zap.NewNop()).Restore(etcdutlsnapshot.RestoreConfig{
		SnapshotPath: path, OutputDataDir: dir,
		Name: memberName, PeerURLs: []string{peer}, InitialCluster: memberName + "=" + peer, InitialClusterToken: "etcd-cluster",
		RevisionBump: revisionBump, MarkCompacted: true,
	})
	if err != nil {
		return fault.New(fault.Invalid, "restoring etcd from %q: %w", path, err)
	}
	return nil
}

// Usage is how full the store is.
type Usage struct {
	// FileBytes is the size of the file, UsedBytes what of it is in use. The rest
	// is used again, and given back by Defragment.
	FileBytes, UsedBytes int64
	// QuotaBytes is what the file may have.
	QuotaBytes int64
	// Full tells that the quota was passed: the store refuses everything but
	// deletions until Recover.
	Full bool
	// Revision is the latest.
	Revision int64
}

// Usage asks how full the store is.
func (s *Server) Usage(ctx context.Context) (Usage, error) {
	client, err := s.Client()
	if err != nil {
		return Usage{}, err
	}
	defer func() { _ = client.Close() }() // nothing was left to send
	status, err := client.Status(ctx, nowhere+":2379")
	if err != nil {
		return Usage{}, fmt.Errorf("asking etcd for its size: %w", err)
	}
	alarms, err := client.AlarmList(ctx)
	if err != nil {
		return Usage{}, fmt.Errorf("asking etcd for its alarms: %w", err)
	}
	usage := Usage{FileBytes: status.DbSize, UsedBytes: status.DbSizeInUse, QuotaBytes: s.quota, Revision: status.Header.Revision}
	for _, alarm := range alarms.Alarms {
		usage.Full = usage.Full || alarm.Alarm == etcdserverpb.AlarmType_NOSPACE
	}
	return usage, nil
}

// Defragment gives back what of the file is not in use. Reads and writes wait
// meanwhile, about a second for each 100 MB in use.
func (s *Server) Defragment(ctx context.Context) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // nothing was left to send
	if _, err := client.Defragment(ctx, nowhere+":2379"); err != nil {
		return fmt.Errorf("defragmenting etcd: %w", err)
	}
	return nil
}

// Compact forgets all revisions but the latest, so that nobody can read what was
// written before, and a defragmentation has something to give back.
func (s *Server) Compact(ctx context.Context, revision int64) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // nothing was left to send
	_, err = client.Compact(ctx, revision, clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("compacting etcd: %w", err)
	}
	return nil
}

// Recover makes a full store accept writes again, if there is room.
func (s *Server) Recover(ctx context.Context) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // nothing was left to send
	if _, err := client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		return fmt.Errorf("ending etcd's alarm: %w", err)
	}
	return nil
}
