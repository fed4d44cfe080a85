package enroll

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/nodeconfig"
)

// Path is what machines ask: POST, a form with machine, uuid and ticket.
const Path = nodeconfig.FirstBootPath

const (
	// mostForm bounds what is read of a request, in bytes.
	mostForm = 4 << 10
	// Each address may ask ten times at once, and then every two seconds; all of
	// them together a hundred times, and then twenty times a second.
	eachEvery, eachBurst = 2 * time.Second, 10
	allRate, allBurst    = 20, 100
	// mostAddresses bounds how many are remembered.
	mostAddresses = 4096
	// retryAfter is what machines are told that come too often or too early.
	retryAfter = "5"
	// patience is how long making a machine's files may take.
	patience = 30 * time.Second
)

// Contents makes what a machine is given, at the moment it is given. The fault
// Transient, or Waiting, makes the machine ask again.
type Contents func(ctx context.Context, machine string) ([]nodeconfig.File, error)

// Desk answers machines at their first boot. Every field but Log is needed.
type Desk struct {
	Tickets  *Tickets
	Contents Contents
	Clock    clock.PassiveClock
	Log      logr.Logger

	mu        sync.Mutex
	all       *rate.Limiter
	addresses map[netip.Addr]*rate.Limiter
}

// TLS is the configuration that the desk needs: a machine shows a certificate that
// it made itself, which proves that it holds the key; nothing else in it counts.
func TLS(certificate tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
}

// ServeHTTP implements http.Handler. All refusals look the same from outside.
func (d *Desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := address(r)
	if !d.admit(from) {
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return
	}
	switch {
	case r.URL.Path != Path:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "ask with POST", http.StatusMethodNotAllowed)
		return
	case r.TLS == nil || len(r.TLS.PeerCertificates) == 0:
		http.Error(w, "show a certificate", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "send a form", http.StatusBadRequest)
		return
	}
	// Only the body counts: addresses are written to logs on the way.
	form := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	claim := Claim{
		Machine: Machine{Name: form("machine"), UUID: form("uuid")}, Ticket: form("ticket"),
		Key: sha256.Sum256(r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo),
	}
	log := d.Log.WithValues("machine", printable(claim.Name), "address", from.String(), "key", hex.EncodeToString(claim.Key[:8]))
	if err := d.Tickets.Claim(claim); err != nil {
		if !errors.Is(err, fault.Denied) {
			log.Error(err, "A boot ticket cannot be claimed")
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		log.Info("Boot data refused", "reason", err.Error())
		http.Error(w, "refused", http.StatusForbidden)
		return
	}
	d.give(w, r, claim.Name, log)
}

// give makes the files and sends them as an archive, which every machine can unpack.
func (d *Desk) give(w http.ResponseWriter, r *http.Request, machine string, log logr.Logger) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	files, err := d.Contents(ctx, machine)
	var packed []byte
	if err == nil {
		packed, err = pack(files)
	}
	if err != nil {
		// The machine asks again; meanwhile somebody may mend it.
		log.Info("Boot data cannot be made yet", "reason", err.Error())
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	log.Info("Boot data given", "files", len(files))
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", fmt.Sprint(len(packed)))
	_, _ = w.Write(packed) // a machine that has gone asks again
}

func pack(files []nodeconfig.File) ([]byte, error) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, f := range files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path {
			return nil, fmt.Errorf("packing boot data: %q is no absolute path", f.Path)
		}
		header := tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Path, "/"), Mode: int64(f.Mode.Perm()), Size: int64(len(f.Content))}
		if err := w.WriteHeader(&header); err != nil {
			return nil, fmt.Errorf("packing boot data: %w", err)
		}
		if _, err := w.Write(f.Content); err != nil {
			return nil, fmt.Errorf("packing boot data: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing boot data: %w", err)
	}
	return packed.Bytes(), nil
}

// address is where a request comes from; of IPv6 the subnet, of which one machine
// may have all.
func address(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	a := from.Addr().Unmap()
	if a.Is6() {
		prefix, _ := a.WithZone("").Prefix(64) // 64 bits are never too many
		return prefix.Addr()
	}
	return a
}

func (d *Desk) admit(from netip.Addr) bool {
	now := d.Clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil || len(d.addresses) > mostAddresses {
		d.addresses = map[netip.Addr]*rate.Limiter{}
	}
	if d.all == nil {
		d.all = rate.NewLimiter(allRate, allBurst)
	}
	each, ok := d.addresses[from]
	if !ok {
		each = rate.NewLimiter(rate.Every(eachEvery), eachBurst)
		d.addresses[from] = each
	}
	return each.AllowN(now, 1) && d.all.AllowN(now, 1)
}

// printable bounds a name that anybody may have sent.
func printable(name string) string {
	if len(name) > 63 {
		name = name[:63]
	}
	return strings.ToValidUTF8(name, "?")
}
