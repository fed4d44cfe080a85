package garden

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/internal/etcd"
)

// What the disk below the data folder must have free, in bytes. etcd ends the
// process when it cannot write, and sets 64 MiB aside for each of two files of
// its log: one in use and the next.
const (
	roomForNew   = 256 << 20
	roomForStart = 80 << 20
	// roomForNewObjects leaves room for changes and deletions.
	roomForNewObjects = 128 << 20
	// roomToWarn is when the log tells of it.
	roomToWarn = 512 << 20
)

// openStore starts the garden's own store, or waits for that of others.
func (g *Garden) openStore(ctx context.Context) error {
	if g.config.Etcd.Used() {
		return g.config.Etcd.await(ctx)
	}
	_, err := os.Stat(g.path(etcdDir))
	if err := g.checkRoom(errors.Is(err, fs.ErrNotExist)); err != nil {
		return err
	}
	g.store, err = etcd.Start(ctx, g.path(etcdDir), g.config.StoreQuotaBytes, g.config.Logger.WithName("etcd"))
	return err
}

// freeOnDisk is what users without privileges may still write below a folder.
func freeOnDisk(folder string) (int64, error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(folder, &disk); err != nil {
		return 0, fmt.Errorf("asking for the free space of %q: %w", folder, err)
	}
	return int64(disk.Bavail) * disk.Bsize, nil
}

// checkRoom refuses to start a store on a disk that has no room for it: etcd
// would end in a panic. The fault is Exhausted.
func (g *Garden) checkRoom(fresh bool) error {
	free, err := g.keeper.free(g.config.DataDir)
	if err != nil {
		return err
	}
	need := int64(roomForStart)
	if fresh {
		need = roomForNew
	}
	if free < need {
		return fault.New(fault.Exhausted, "the disk of data folder %q has %d MiB free, the garden needs %d MiB to start: make room, or choose another folder with --data-dir",
			g.config.DataDir, free>>20, need>>20)
	}
	return nil
}
