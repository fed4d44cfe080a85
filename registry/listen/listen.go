// Package listen opens the image cache's listeners, plain or TLS with
// certificates that are read again when they change, and serves on all of them
// until it is told to stop. The wiring calls it.
//
// It must not know what is served.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/loam-cloud/loam/fault"
)

// Door is an address with what answers there.
type Door struct {
	// Name says in logs what it is for.
	Name, Address string
	Handler       http.Handler
	// Socket is the path of a Unix socket instead of an address, for the owner of
	// its folder alone; it does not speak TLS. One that a killed process left is
	// replaced.
	Socket string
}

func (d Door) listen() (net.Listener, error) {
	if d.Socket == "" {
		return net.Listen("tcp", d.Address)
	}
	if c, err := net.Dial("unix", d.Socket); err == nil {
		return nil, errors.Join(fmt.Errorf("another process listens on %s", d.Socket), c.Close())
	}
	if err := os.Remove(d.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", d.Socket)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(d.Socket, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Options say how doors are opened.
type Options struct {
	// CertFile and KeyFile make doors speak TLS, when they are not empty.
	CertFile, KeyFile string
	// Yield leaves doors out, and says so, whose address somebody else has.
	Yield bool
	Log   logr.Logger
}

// Doors are open listeners.
type Doors struct {
	log       logr.Logger
	names     []string
	listeners []net.Listener
	servers   []*http.Server
}

const (
	// headerLimit is how long a client may take for the head of a request.
	headerLimit = 10 * time.Second
	// idleLimit is how long a connection may wait for the next request.
	idleLimit = 2 * time.Minute
	// stopLimit is how long answers that are under way may take when all is stopped;
	// clients resume what is cut.
	stopLimit = 5 * time.Second
)

// Open opens all doors, or none: Invalid when an address or the certificate cannot
// be used. Doors that are left out are not counted.
func Open(doors []Door, o Options) (*Doors, error) {
	d := &Doors{log: o.Log}
	var config *tls.Config
	if o.CertFile != "" {
		pair := &keyPair{certFile: o.CertFile, keyFile: o.KeyFile, log: o.Log, now: time.Now}
		if err := pair.load(); err != nil {
			return nil, fault.New(fault.Invalid, "loading the certificate: %w", err)
		}
		config = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get}
	}
	for _, door := range doors {
		l, err := door.listen()
		if err != nil && o.Yield {
			o.Log.Info("Not listening, since the address cannot be had", "for", door.Name, "problem", err.Error())
			continue
		}
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, errors.Join(fmt.Errorf("opening the listener of %s: %w", door.Name, err), d.close()))
		}
		server := &http.Server{Handler: door.Handler, ReadHeaderTimeout: headerLimit, IdleTimeout: idleLimit, ErrorLog: quiet(o.Log)}
		if config != nil && door.Socket == "" {
			server.TLSConfig = config.Clone()
		}
		d.names, d.listeners, d.servers = append(d.names, door.Name), append(d.listeners, l), append(d.servers, server)
		o.Log.Info("Listening", "for", door.Name, "address", l.Addr().String(), "tls", server.TLSConfig != nil)
	}
	return d, nil
}

func (d *Doors) close() (err error) {
	for _, l := range d.listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}

// Address is where a door, by its number, listens.
func (d *Doors) Address(i int) string { return d.listeners[i].Addr().String() }

// Addresses are where doors listen, by their names; sockets are not among them.
func (d *Doors) Addresses() map[string]string {
	all := map[string]string{}
	for i, l := range d.listeners {
		if l.Addr().Network() == "tcp" {
			all[d.names[i]] = l.Addr().String()
		}
	}
	return all
}

// Serve answers until the context ends, or a listener fails; then it gives what
// is under way a few seconds.
func (d *Doors) Serve(ctx context.Context) error {
	failed := make(chan error, len(d.servers))
	for i, server := range d.servers {
		go func() {
			if server.TLSConfig != nil {
				failed <- server.ServeTLS(d.listeners[i], "", "")
			} else {
				failed <- server.Serve(d.listeners[i])
			}
		}()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	var all sync.WaitGroup
	for _, server := range d.servers {
		all.Go(func() {
			if server.Shutdown(stop) != nil {
				// What is still under way is cut; there is nobody to tell.
				_ = server.Close()
			}
		})
	}
	all.Wait()
	return err
}

// keyPair is a certificate that is read again when its files change.
type keyPair struct {
	certFile, keyFile string
	log               logr.Logger
	now               func() time.Time

	mu     sync.Mutex
	looked time.Time
	seen   [2]time.Time
	pair   *tls.Certificate
}

// lookEvery is how often the files are looked at, when somebody connects.
const lookEvery = time.Second

func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.now(); now.Sub(k.looked) >= lookEvery {
		k.looked = now
		if seen, err := k.times(); err == nil && seen != k.seen {
			// Half a change, a certificate without its key, is no reason to answer nobody.
			if err := k.load(); err != nil {
				k.log.Error(err, "Kept the certificate that was loaded")
			} else {
				k.log.Info("Loaded the certificate again", "file", k.certFile)
			}
		}
	}
	return k.pair, nil
}

func (k *keyPair) times() (times [2]time.Time, err error) {
	for i, path := range []string{k.certFile, k.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return times, err
		}
		times[i] = info.ModTime()
	}
	return times, nil
}

func (k *keyPair) load() error {
	seen, err := k.times()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err != nil {
		return err
	}
	k.pair, k.seen = &pair, seen
	return nil
}
