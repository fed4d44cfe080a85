package capability

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// MissingFromPeer returns what the process that listens on a Unix socket
// lacks. It is an error when that process cannot be seen from here, as across
// PID namespaces.
func MissingFromPeer(ctx context.Context, socket string) ([]string, error) {
	pid, err := peer(ctx, socket)
	if err != nil {
		return nil, fmt.Errorf("finding who listens on %s: %w", socket, err)
	}
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return nil, err
	}
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return nil, err
	}
	return Missing(string(status), string(last))
}

func peer(ctx context.Context, socket string) (int, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return 0, err
	}
	// The kernel gives 0 for a process outside of this PID namespace.
	if cred.Pid == 0 {
		return 0, errors.New("it is in another PID namespace")
	}
	return int(cred.Pid), nil
}
