package forward

import (
	"bufio"
	"bytes"
	"context"
	_ "embed" // the script
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// relayScript connects its streams to an address. It is in the one language
// besides the shell's that every Debian has, and so every node image.
//
//go:embed relay.pl
var relayScript string

// relayEnd is how long a relay is given to end by itself; then it is killed.
const relayEnd = 2 * time.Second

// relayed is a connection through a command in a machine.
type relayed struct {
	stdin  *io.PipeWriter
	stdout *bufio.Reader
	// framed says that each read and write is a datagram.
	framed bool
	writes sync.Mutex
	close  func()
}

// relay runs a relay in a machine, and returns once it is connected. For TCP the
// end of what the node says ends the connection in both directions.
func relay(ctx context.Context, guest machines.Guest, cluster, machine string, protocol corev1.Protocol, to netip.AddrPort) (io.ReadWriteCloser, error) {
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	running, kill := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	var problem bytes.Buffer
	go func() {
		defer close(ended)
		err := guest.Run(running, cluster, machine, machines.Command{
			Args:  []string{"perl", "-e", relayScript, strings.ToLower(string(protocol)), to.Addr().String(), strconv.Itoa(int(to.Port()))},
			Stdin: in, Stdout: out, Stderr: &problem,
		})
		if err == nil {
			err = io.EOF
		}
		_ = out.CloseWithError(err)
		_ = in.CloseWithError(err)
	}()
	c := &relayed{stdin: stdin, stdout: bufio.NewReader(stdout), framed: protocol == corev1.ProtocolUDP}
	c.close = sync.OnceFunc(func() {
		_ = stdin.Close() // the relay ends at that
		_ = stdout.Close()
		go func() {
			defer kill()
			select {
			case <-ended:
			case <-time.After(relayEnd):
			}
		}()
	})
	// A caller that does not wait any longer is not to be held.
	stop := context.AfterFunc(ctx, func() { _ = stdout.CloseWithError(context.Cause(ctx)) })
	defer stop()
	if greeting, err := c.stdout.ReadByte(); err != nil || greeting != '+' {
		c.close()
		select {
		case <-ended: // only then is what it said complete
			if said := strings.TrimSpace(problem.String()); said != "" {
				err = errors.New(said)
			}
		default:
		}
		return nil, fault.New(fault.Transient, "through machine %q: %w", machine, err)
	}
	return c, nil
}

func (c *relayed) Read(p []byte) (int, error) {
	if !c.framed {
		return c.stdout.Read(p)
	}
	var head [2]byte
	if _, err := io.ReadFull(c.stdout, head[:]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n > len(p) {
		return 0, io.ErrShortBuffer
	}
	return io.ReadFull(c.stdout, p[:n])
}

func (c *relayed) Write(p []byte) (int, error) {
	if !c.framed {
		return c.stdin.Write(p)
	}
	if len(p) > maxDatagram {
		return 0, fmt.Errorf("a datagram of %d bytes is too long", len(p))
	}
	c.writes.Lock()
	defer c.writes.Unlock()
	frame := binary.BigEndian.AppendUint16(make([]byte, 0, len(p)+2), uint16(len(p)))
	if _, err := c.stdin.Write(append(frame, p...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite says the end of what is written.
func (c *relayed) CloseWrite() error { return c.stdin.Close() }

// Close ends the connection. The relay has gone soon after.
func (c *relayed) Close() error {
	c.close()
	return nil
}
