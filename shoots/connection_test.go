package shoots_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/shoots"
)

// serve answers every question with an empty list of nodes, as an API server of
// the cluster, and counts the connections that are open.
func serve(t *testing.T, a shoots.Authorities) (at netip.AddrPort, open *atomic.Int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := keyutil.ParsePrivateKeyPEM(a["ca.key"])
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, &template, certificate(t, a["ca.crt"]), key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	open = &atomic.Int64{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) != 1 {
			w.WriteHeader(http.StatusUnauthorized)
		}
		w.Header().Set("Content-Type", "application/json")
		body := `{"kind":"NodeList","apiVersion":"v1","items":[]}`
		if r.URL.Path == "/api/v1" {
			body = `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[{"name":"nodes","singularName":"node","kind":"Node","verbs":["list"]}]}`
		}
		_, _ = w.Write([]byte(body))
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientAuth: tls.RequestClientCert}
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return netip.MustParseAddrPort(server.Listener.Addr().String()), open
}

// TestConnectionsAreClosed looks at a cluster as care does all the time: nothing
// that was opened for one look may stay.
func TestConnectionsAreClosed(t *testing.T) {
	w := newWorld(t, 0)
	at, open := serve(t, w.authorities)
	w.cluster.APIServer.HostAddress, w.cluster.APIServer.HostPort = at.Addr(), at.Port()
	flow := &shoots.Flow{Machines: fake.New(), Clock: clock.RealClock{}}
	// The machine is made, and its boot fails: there is an endpoint.
	w.machines.Fail = func(c fake.Call) error {
		if c.Method == fake.Start {
			return http.ErrServerClosed
		}
		return nil
	}
	if err := w.reconcile(t.Context()); err == nil {
		t.Fatal("the machine was started")
	}
	flow.Machines = w.machines
	for range 5 {
		c, err := flow.Connection(t.Context(), w.cluster, w.authorities)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.List(t.Context(), &corev1.NodeList{}); err != nil {
			t.Fatal(err)
		}
		if open.Load() == 0 {
			t.Fatal("nothing was opened")
		}
		c.Close()
	}
	for end := now().Add(10 * time.Second); open.Load() > 0; time.Sleep(5 * time.Millisecond) {
		if now().After(end) {
			t.Fatalf("%d connections are still open", open.Load())
		}
	}
}
