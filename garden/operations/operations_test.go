package operations_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/go-logr/logr"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/client-go/rest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/operations"
)

// fake is a garden whose operations say something and then end as they are told.
type fake struct {
	says []string
	err  error
}

func (f fake) Backup(_ context.Context, w io.Writer, recipients ...age.Recipient) error {
	if len(recipients) != 1 {
		return errors.New("want one recipient")
	}
	for _, part := range f.says {
		if _, err := io.WriteString(w, part); err != nil {
			return err
		}
	}
	return f.err
}

func (f fake) RotateEncryptionKey(_ context.Context, progress func(string)) error {
	for _, step := range f.says {
		progress(step)
	}
	return f.err
}

func (f fake) RotateCertificates(context.Context) error { return f.err }

func serve(t *testing.T, garden operations.Garden) *rest.Config {
	t.Helper()
	paths := mux.NewPathRecorderMux("operations")
	operations.Serve(paths, garden, logr.Discard())
	server := httptest.NewServer(paths)
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}
}

// TestAnswers wants the client to learn what became of an operation: done, not
// begun because of the user or of the garden, or broken off.
func TestAnswers(t *testing.T) {
	refused, broken := fault.New(fault.Invalid, "not here"), errors.New("disk full")
	for name, test := range map[string]struct {
		garden       fake
		backup       fault.Kind
		key          fault.Kind
		certificates fault.Kind
	}{
		"done":         {garden: fake{says: []string{"a", "b"}}},
		"refused":      {garden: fake{err: refused}, backup: fault.Invalid, key: fault.Internal, certificates: fault.Invalid},
		"not begun":    {garden: fake{err: broken}, backup: fault.Internal, key: fault.Internal, certificates: fault.Internal},
		"broken off":   {garden: fake{says: []string{strings.Repeat("a", 1<<20)}, err: broken}, backup: fault.Transient, key: fault.Internal, certificates: fault.Internal},
		"refused late": {garden: fake{says: []string{strings.Repeat("a", 1<<20)}, err: refused}, backup: fault.Transient, key: fault.Internal, certificates: fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			config := serve(t, test.garden)
			var file bytes.Buffer
			check := func(what string, err error, want fault.Kind) {
				t.Helper()
				if got := fault.KindOf(err); got != want {
					t.Errorf("%s: %v (%s), want %q", what, err, got, want)
				}
				if test.garden.err != nil && want != fault.Transient && !strings.Contains(err.Error(), test.garden.err.Error()) {
					t.Errorf("%s: %v does not say why", what, err)
				}
			}
			check("backup", operations.Backup(t.Context(), config, &file, nil, "correct horse"), test.backup)
			if test.backup == "" && file.String() != "ab" {
				t.Errorf("received %q", file.String())
			}
			var told []string
			check("key", operations.RotateEncryptionKey(t.Context(), config, func(step string) { told = append(told, step) }), test.key)
			if !slices.Equal(told, test.garden.says) {
				t.Errorf("told %q", told)
			}
			check("certificates", operations.RotateCertificates(t.Context(), config), test.certificates)
		})
	}
}

func TestWhoMayOpenABackup(t *testing.T) {
	config := serve(t, fake{})
	const key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
	for _, test := range []struct {
		recipients []string
		passphrase string
		valid      bool
	}{
		{recipients: []string{key}, valid: true},
		{passphrase: "correct horse", valid: true},
		{},
		{recipients: []string{key}, passphrase: "correct horse"},
		{recipients: []string{"age1"}},
	} {
		if err := operations.Backup(t.Context(), config, io.Discard, test.recipients, test.passphrase); (err == nil) != test.valid || err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestRequests wants nothing but well-formed POST requests, and what they hold
// not repeated.
func TestRequests(t *testing.T) {
	config := serve(t, fake{})
	const path = "/operations/backup"
	answer, err := http.Get(config.Host + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != http.MethodPost {
		t.Errorf("GET: %s, allowed %q, %v", answer.Status, answer.Header.Get("Allow"), err)
	}
	answer, err = http.Post(config.Host+path, "application/json", strings.NewReader(`{"passphrase":"secret"`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if closing := answer.Body.Close(); errors.Join(err, closing) != nil || answer.StatusCode != http.StatusBadRequest || bytes.Contains(text, []byte("secret")) {
		t.Errorf("no JSON: %s, %q, %v", answer.Status, text, errors.Join(err, closing))
	}
}

func TestIsLong(t *testing.T) {
	long := operations.IsLong(func(r *http.Request, _ *request.RequestInfo) bool { return r.URL.Path == "/watch" })
	for path, want := range map[string]bool{
		"/operations/backup": true, "/operations/rotate-encryption-key": true, "/watch": true,
		"/operations/rotate-certificates": false, "/apis": false,
	} {
		if got := long(httptest.NewRequest(http.MethodPost, path, nil), nil); got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
}
