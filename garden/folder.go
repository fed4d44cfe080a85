package garden

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/backup"
	"github.com/loam-cloud/loam/garden/internal/lock"
	"github.com/loam-cloud/loam/garden/internal/pki"
	"github.com/loam-cloud/loam/garden/kinds"
)

// What is in the data folder beside the lock; docs/design/0002-disk-format.md.
const (
	etcdDir        = "etcd"
	pkiDir         = "pki"
	encryptionFile = "encryption.yaml"
	kubeconfigFile = "kubeconfig"
	auditFile      = "audit.log"
)

func (g *Garden) path(name string) string { return filepath.Join(g.config.DataDir, name) }

// ReadLock tells whether a garden runs on dataDir and under which process id.
// The id is 0 when none runs, or when it starts at this very moment and has not
// written it yet. A missing folder means that none runs.
func ReadLock(dataDir string) (pid int, running bool, err error) { return lock.Read(dataDir) }

// claim takes the data folder and the port, the two things that a user may have
// to change.
func (g *Garden) claim(ctx context.Context) error {
	if g.config.DataDir == "" {
		return fault.New(fault.Invalid, "no data folder is given")
	}
	var err error
	if g.config.DataDir, err = filepath.Abs(g.config.DataDir); err != nil {
		return fault.New(fault.Invalid, "data folder %q cannot be used: %w", g.config.DataDir, err)
	}
	if g.config.Audit.Path == "" {
		g.config.Audit.Path = g.path(auditFile)
	}
	if g.made, err = makeFolder(g.config.DataDir); err != nil {
		return fault.New(fault.Invalid, "data folder %q cannot be made: %w", g.config.DataDir, err)
	}
	if g.lock, err = lock.Take(ctx, g.config.DataDir); err != nil {
		// What was made is perhaps used by whoever has the lock.
		return err
	}
	if g.listener, err = listen(ctx, g.config.Listen); err != nil {
		g.removeMade()
		return withUnlock(err, g.lock)
	}
	return nil
}

// makeFolder makes path with mode 0700. It returns what a start that fails has
// to remove again: the topmost folder that was missing, or path itself if that
// was there but empty.
func makeFolder(path string) (made string, err error) {
	for at := path; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil || !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		made = at
	}
	if err := os.MkdirAll(path, 0o700); err != nil || made != "" {
		return made, err
	}
	entries, err := os.ReadDir(path)
	if err == nil && len(entries) == 0 {
		made = path
	}
	return made, err
}

// removeMade takes back what this start made, as long as it holds the lock. The
// start's own error is the one to tell.
func (g *Garden) removeMade() {
	if g.made != g.config.DataDir {
		if g.made != "" {
			_ = os.RemoveAll(g.made)
		}
		return
	}
	for _, name := range []string{etcdDir, pkiDir, encryptionFile, kubeconfigFile, auditFile, backup.KeyFile, lock.File} {
		_ = os.RemoveAll(g.path(name))
	}
	// It stays when it was there before, or holds what is not ours.
	_ = os.Remove(g.config.DataDir)
}

// withUnlock gives the lock back after an error and keeps that error alone
// unless the lock adds one.
func withUnlock(err error, taken *flock.Flock) error {
	if unlock := taken.Close(); unlock != nil {
		return errors.Join(err, unlock)
	}
	return err
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.New(fault.Invalid, "address %s is taken by another process: choose another with --listen", address)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "listening on %q: %w", address, err)
	}
	return listener, nil
}

// prepareFiles makes keys, certificates and the encryption key.
func (g *Garden) prepareFiles() error {
	err := g.removeStaging()
	if err != nil {
		return err
	}
	if g.hosts, err = servingHosts(g.listener); err != nil {
		return err
	}
	if g.files, err = pki.Ensure(g.path(pkiDir), g.hosts, time.Now()); err != nil {
		return err
	}
	// A new key would make a server that cannot read the secrets it has.
	_, storeErr := os.Stat(g.path(etcdDir))
	_, keyErr := os.Stat(g.path(encryptionFile))
	if storeErr == nil && errors.Is(keyErr, os.ErrNotExist) {
		return fault.New(fault.Invalid, "%q is missing, without which the secrets in %q cannot be read: put it back", g.path(encryptionFile), g.path(etcdDir))
	}
	return pki.EnsureEncryption(g.path(encryptionFile), append([]string{"secrets"}, kinds.Encrypted()...))
}

// servingHosts are the names that the server's certificate has to cover.
func servingHosts(listener net.Listener) ([]string, error) {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	ips := []net.IP{listenIP(listener)}
	if ips[0].IsUnspecified() {
		addresses, err := net.InterfaceAddrs()
		if err != nil {
			return nil, fmt.Errorf("asking for the host's addresses: %w", err)
		}
		ips = nil
		for _, address := range addresses {
			if network, ok := address.(*net.IPNet); ok {
				ips = append(ips, network.IP)
			}
		}
	}
	for _, ip := range ips {
		if !slices.Contains(hosts, ip.String()) {
			hosts = append(hosts, ip.String())
		}
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("asking for the host's name: %w", err)
	}
	return append(hosts, name), nil
}

func listenIP(listener net.Listener) net.IP { return listener.Addr().(*net.TCPAddr).IP }
