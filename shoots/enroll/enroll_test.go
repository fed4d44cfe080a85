package enroll_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/nodeconfig"
	"github.com/loam-cloud/loam/shoots/enroll"
)

const (
	uuid  = "4c4c4544-0042-3510-8052-b4c04f4d3333"
	token = "abcdef.0123456789abcdef"
)

var one = enroll.Machine{Name: "worker-1", UUID: uuid}

// rig is a desk and what it logged.
type rig struct {
	t       *testing.T
	clock   *clocktesting.FakeClock
	file    string
	tickets *enroll.Tickets
	desk    *httptest.Server
	roots   *x509.CertPool

	mu   sync.Mutex
	log  strings.Builder
	fail error
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, clock: clocktesting.NewFakeClock(time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)), file: filepath.Join(t.TempDir(), "tickets.json")}
	r.open()
	certificate, err := enroll.Certificate(t.TempDir(), []string{"127.0.0.1"}, r.clock)
	if err != nil {
		t.Fatal(err)
	}
	r.roots = x509.NewCertPool()
	r.roots.AppendCertsFromPEM(enroll.Authority(certificate))
	r.desk = httptest.NewUnstartedServer(nil)
	r.desk.TLS = enroll.TLS(certificate)
	r.serve()
	r.desk.StartTLS()
	t.Cleanup(r.desk.Close)
	return r
}

// open reads the tickets as after a restart.
func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.tickets, err = enroll.Open(r.file, r.clock); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) serve() {
	r.desk.Config.Handler = &enroll.Desk{
		Tickets: r.tickets, Clock: r.clock,
		Contents: func(_ context.Context, machine string) ([]nodeconfig.File, error) {
			return []nodeconfig.File{{Path: "/etc/loam/discovery.conf", Content: []byte(machine + " " + token), Mode: 0o600}}, r.fail
		},
		Log: funcr.New(func(_, args string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.log.WriteString(args + "\n")
		}, funcr.Options{}),
	}
}

func (r *rig) issue(m enroll.Machine) string {
	r.t.Helper()
	ticket, err := r.tickets.Issue(m, 10*time.Minute)
	if err != nil {
		r.t.Fatal(err)
	}
	return ticket
}

// machine is a client with a key of its own.
func (r *rig) machine() *http.Client {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: r.roots, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		Time: r.clock.Now,
	}}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (r *rig) ask(c *http.Client, m enroll.Machine, ticket string) (int, []byte) {
	r.t.Helper()
	resp, err := c.PostForm(r.desk.URL+enroll.Path, url.Values{"machine": {m.Name}, "uuid": {m.UUID + "\n"}, "ticket": {ticket}})
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	// A second between two requests, so that none is one too many.
	r.clock.Step(2 * time.Second)
	return resp.StatusCode, body
}

func (r *rig) wants(c *http.Client, m enroll.Machine, ticket string, status int, reason string) {
	r.t.Helper()
	got, body := r.ask(c, m, ticket)
	if got != status {
		r.t.Errorf("answered %d %s, want %d", got, body, status)
	}
	if status == http.StatusForbidden && string(body) != "refused\n" {
		r.t.Errorf("says %q: refusals must not differ", body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(r.log.String()), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, reason) {
		r.t.Errorf("logged %s, want %q", last, reason)
	}
	if all := r.log.String(); ticket != "" && strings.Contains(all, ticket) || strings.Contains(all, token) {
		r.t.Errorf("a secret is in the log: %s", all)
	}
}

func TestATicketIsWorthSomethingOnceToOneMachine(t *testing.T) {
	r := newRig(t)
	ticket := r.issue(one)
	first, second := r.machine(), r.machine()
	r.wants(first, one, "wrong-ticket-of-somebody", http.StatusForbidden, "the ticket is wrong")
	r.wants(first, one, "", http.StatusForbidden, "the ticket is wrong")
	r.wants(first, enroll.Machine{Name: "worker-2", UUID: uuid}, ticket, http.StatusForbidden, "no ticket was issued")
	r.wants(first, enroll.Machine{Name: "worker-1", UUID: strings.Repeat("0", 36)}, ticket, http.StatusForbidden, "UUID is another")
	status, body := r.ask(first, enroll.Machine{Name: one.Name, UUID: strings.ToUpper(uuid)}, ticket)
	if status != http.StatusOK {
		t.Fatalf("answered %d %s", status, body)
	}
	archive := tar.NewReader(bytes.NewReader(body))
	header, err := archive.Next()
	if err != nil || header.Name != "etc/loam/discovery.conf" || header.Mode != 0o600 || header.Uid != 0 {
		t.Fatalf("got %+v, %v", header, err)
	}
	if content, err := io.ReadAll(archive); err != nil || string(content) != "worker-1 "+token {
		t.Errorf("got %q, %v", content, err)
	}
	// The answer may have been lost; and a token ends before a machine is a node.
	r.wants(first, one, ticket, http.StatusOK, "Boot data given")
	r.wants(first, one, "", http.StatusOK, "Boot data given")
	r.wants(second, one, ticket, http.StatusForbidden, "the ticket is used")
	r.wants(second, one, "", http.StatusForbidden, "another key")
	if err := r.tickets.Done(one.Name); err != nil {
		t.Fatal(err)
	}
	r.wants(first, one, "", http.StatusForbidden, "is a node already")
}

func TestTicketsEnd(t *testing.T) {
	r := newRig(t)
	late := r.machine()
	ticket := r.issue(one)
	r.clock.Step(10 * time.Minute)
	r.wants(late, one, ticket, http.StatusForbidden, "has expired")
	// A new one takes the place of the old one.
	fresh := r.issue(one)
	r.wants(late, one, ticket, http.StatusForbidden, "the ticket is wrong")
	r.wants(late, one, fresh, http.StatusOK, "Boot data given")
	r.clock.Step(23 * time.Hour)
	r.wants(late, one, "", http.StatusOK, "Boot data given")
	r.clock.Step(2 * time.Hour)
	r.wants(late, one, "", http.StatusForbidden, "the time to ask again is over")
	again := r.issue(one)
	if err := r.tickets.Revoke(one.Name); err != nil {
		t.Fatal(err)
	}
	r.wants(late, one, again, http.StatusForbidden, "no ticket was issued")
	if _, err := r.tickets.Issue(enroll.Machine{Name: "a"}, time.Minute); !errors.Is(err, fault.Invalid) {
		t.Errorf("a ticket for any machine: %v", err)
	}
}

func TestTicketsSurviveARestartAndAreNotInTheFile(t *testing.T) {
	r := newRig(t)
	claimed, open := r.issue(one), r.issue(enroll.Machine{Name: "worker-2", UUID: uuid})
	first := r.machine()
	r.wants(first, one, claimed, http.StatusOK, "Boot data given")
	r.open()
	r.serve()
	r.wants(first, one, "", http.StatusOK, "Boot data given")
	r.wants(r.machine(), one, claimed, http.StatusForbidden, "the ticket is used")
	r.wants(r.machine(), enroll.Machine{Name: "worker-2", UUID: uuid}, open, http.StatusOK, "Boot data given")
	content, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(content), claimed) || strings.Contains(string(content), open) {
		t.Errorf("a ticket is in the file: %s", content)
	}
	if info, err := os.Stat(r.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	for _, broken := range []string{"{", `{"a": null}`} {
		if err := os.WriteFile(r.file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := enroll.Open(r.file, r.clock); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", broken, err)
		}
	}
}

func TestOneOfManyWins(t *testing.T) {
	r := newRig(t)
	ticket := r.issue(one)
	const many = 6
	machines := make([]*http.Client, many)
	for i := range machines {
		machines[i] = r.machine()
	}
	results := make(chan int, many)
	for _, c := range machines {
		go func() {
			resp, err := c.PostForm(r.desk.URL+enroll.Path, url.Values{"machine": {one.Name}, "uuid": {one.UUID}, "ticket": {ticket}})
			if err != nil {
				results <- 0
				return
			}
			_ = resp.Body.Close()
			results <- resp.StatusCode
		}()
	}
	counts := map[int]int{}
	for range many {
		counts[<-results]++
	}
	if counts[http.StatusOK] != 1 || counts[http.StatusForbidden] != many-1 {
		t.Errorf("got %v", counts)
	}
}

func TestNothingIsGivenThatCannotBeMadeOrWritten(t *testing.T) {
	r := newRig(t)
	first := r.machine()
	ticket := r.issue(one)
	r.fail = fault.New(fault.Transient, "reading secret a/b: vault v is sealed: unseal it")
	r.wants(first, one, ticket, http.StatusServiceUnavailable, "vault v is sealed")
	r.fail = nil
	r.wants(first, one, ticket, http.StatusOK, "Boot data given")
	other := enroll.Machine{Name: "worker-2", UUID: uuid}
	ticket = r.issue(other)
	if err := os.RemoveAll(filepath.Dir(r.file)); err != nil {
		t.Fatal(err)
	}
	r.wants(first, other, ticket, http.StatusServiceUnavailable, "cannot be claimed")
}

func TestSecretsAreReadWhenTheyAreGiven(t *testing.T) {
	value, broken := "one", error(nil)
	contents := enroll.WithSecrets(
		func(context.Context, string) ([]nodeconfig.File, error) { return []nodeconfig.File{{Path: "/a"}}, nil },
		func(machine string) []enroll.Secret {
			return []enroll.Secret{
				{Path: "/etc/" + machine, Mode: 0o400, Read: func(context.Context) (string, error) { return value, nil }},
				{Path: "/etc/other", Mode: 0o400, Read: func(context.Context) (string, error) { return "two", broken }},
			}
		})
	for _, value = range []string{"one", "changed"} {
		files, err := contents(t.Context(), "worker-1")
		if err != nil || len(files) != 3 || files[1].Path != "/etc/worker-1" || string(files[1].Content) != value || files[1].Mode != 0o400 {
			t.Errorf("got %v, %v", files, err)
		}
	}
	broken = fault.New(fault.Denied, "no policy allows it")
	if files, err := contents(t.Context(), "worker-1"); files != nil || !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "/etc/other: no policy") {
		t.Errorf("got %v, %v", files, err)
	}
}

func TestWhoAsksTooOftenWaits(t *testing.T) {
	r := newRig(t)
	c := r.machine()
	tooMany := 0
	for range 30 {
		resp, err := c.PostForm(r.desk.URL+enroll.Path, url.Values{"machine": {"guess"}})
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "" {
			tooMany++
		}
	}
	if tooMany != 20 {
		t.Errorf("%d of 30 had to wait, want 20", tooMany)
	}
	r.clock.Step(time.Minute)
	r.wants(c, one, r.issue(one), http.StatusOK, "Boot data given")
}

func TestWhatIsNoQuestion(t *testing.T) {
	r := newRig(t)
	c := r.machine()
	for _, tc := range []struct {
		method, path, body string
		want               int
	}{
		{http.MethodGet, enroll.Path, "", http.StatusMethodNotAllowed},
		{http.MethodPost, "/", "", http.StatusNotFound},
		{http.MethodPost, enroll.Path, "machine=" + strings.Repeat("a", 5000), http.StatusBadRequest},
		// Addresses are written to logs: what is in one does not count.
		{http.MethodPost, enroll.Path + "?machine=worker-1&uuid=" + uuid + "&ticket=" + r.issue(one), "", http.StatusForbidden},
	} {
		req, err := http.NewRequest(tc.method, r.desk.URL+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%s %.60s: %d, want %d", tc.method, tc.path, resp.StatusCode, tc.want)
		}
	}
	// Without a key there is no connection.
	bare := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: r.roots, Time: r.clock.Now}}}
	if resp, err := bare.PostForm(r.desk.URL+enroll.Path, nil); err == nil {
		_ = resp.Body.Close()
		t.Errorf("answered %d", resp.StatusCode)
	}
}

func TestTheCertificateIsKept(t *testing.T) {
	folder := t.TempDir()
	clock := clocktesting.NewFakeClock(time.Now())
	get := func(hosts ...string) string {
		c, err := enroll.Certificate(folder, hosts, clock)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", c.Certificate[0])
	}
	first := get("127.0.0.1")
	if get("127.0.0.1") != first {
		t.Error("it was made anew")
	}
	second := get("127.0.0.1", "boot.example")
	if second == first {
		t.Error("it is not for another name")
	}
	clock.Step(340 * 24 * time.Hour)
	if get("boot.example") == second {
		t.Error("it ends soon and was kept")
	}
	if info, err := os.Stat(filepath.Join(folder, "boot.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
}
