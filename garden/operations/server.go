// Package operations is what an administrator asks a running garden for, beside
// its API: a backup, new keys, new certificates.
//
// The garden serves it, command line tools ask. It must not know how a garden
// does what it is asked for.
package operations

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"filippo.io/age"
	"github.com/go-logr/logr"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server/mux"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/backup"
)

// Paths of the operations. RBAC knows them as non-resource URLs, and by default
// nobody below system:masters has them.
const (
	backupPath       = "/operations/backup"
	keyPath          = "/operations/rotate-encryption-key"
	certificatesPath = "/operations/rotate-certificates"
)

// Garden carries the operations out. Every one may be asked for again after a
// failure.
type Garden interface {
	// Backup writes the garden as of one moment to w, encrypted for recipients. It
	// is fault.Invalid before the first byte where that cannot be done.
	Backup(ctx context.Context, w io.Writer, recipients ...age.Recipient) error
	// RotateEncryptionKey encrypts every secret with a new key and tells its steps.
	RotateEncryptionKey(ctx context.Context, progress func(step string)) error
	// RotateCertificates replaces the keys and certificates of the server and of
	// the administrator.
	RotateCertificates(ctx context.Context) error
}

// IsLong extends a server's own idea of requests without a time limit.
func IsLong(theirs request.LongRunningRequestCheck) request.LongRunningRequestCheck {
	return func(r *http.Request, info *request.RequestInfo) bool {
		return r.URL.Path == backupPath || r.URL.Path == keyPath || theirs(r, info)
	}
}

// Serve adds the operations to a server. What fails goes to log as well.
func Serve(server *mux.PathRecorderMux, garden Garden, log logr.Logger) {
	s := handlers{garden, log}
	server.HandleFunc(backupPath, post(s.backup))
	server.HandleFunc(keyPath, post(s.rotateKey))
	server.HandleFunc(certificatesPath, post(s.rotateCertificates))
}

type handlers struct {
	garden Garden
	log    logr.Logger
}

func post(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "only POST is allowed", http.StatusMethodNotAllowed)
			return
		}
		serve(w, r)
	}
}

// backupRequest says for whom a backup is encrypted: recipients or a passphrase.
type backupRequest struct {
	Recipients []string `json:"recipients,omitempty"`
	Passphrase string   `json:"passphrase,omitempty"`
}

// requestLimit bounds the body of an operation's request.
const requestLimit = 64 << 10

func (r backupRequest) recipients() ([]age.Recipient, error) {
	switch {
	case (r.Passphrase == "") == (len(r.Recipients) == 0):
		return nil, fault.New(fault.Invalid, "a backup is encrypted for recipients or with a passphrase: give one of them")
	case r.Passphrase == "":
		return backup.ParseRecipients(r.Recipients)
	}
	recipient, err := backup.PassphraseRecipient(r.Passphrase)
	if err != nil {
		return nil, err
	}
	return []age.Recipient{recipient}, nil
}

// body tells whether a part of an answer was sent.
type body struct {
	io.Writer
	begun bool
}

// Write implements io.Writer.
func (b *body) Write(part []byte) (int, error) {
	b.begun = true
	return b.Writer.Write(part)
}

func (h handlers) backup(w http.ResponseWriter, r *http.Request) {
	var asked backupRequest
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, requestLimit)).Decode(&asked)
	if err != nil {
		// Never with the text: it may hold a passphrase.
		http.Error(w, "the request is no JSON", http.StatusBadRequest)
		return
	}
	recipients, err := asked.recipients()
	if err != nil {
		h.refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	answer := &body{Writer: w}
	switch err := h.garden.Backup(r.Context(), answer, recipients...); {
	case err == nil:
	case !answer.begun:
		h.refuse(w, err)
	default:
		h.log.Error(err, "A backup failed")
		// What was sent is no whole backup, and the client has to notice.
		panic(http.ErrAbortHandler)
	}
}

// refuse answers why nothing was done, and logs what the client cannot mend.
func (h handlers) refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, fault.Invalid) {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.log.Error(err, "An operation failed")
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// rotationLine is one line of the answer to a rotation: progress, or its failure.
type rotationLine struct {
	Progress string `json:"progress,omitempty"`
	Error    string `json:"error,omitempty"`
	Done     bool   `json:"done,omitempty"`
}

func (h handlers) rotateKey(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	lines := json.NewEncoder(w)
	tell := func(line rotationLine) {
		// A client that has gone away does not stop a rotation.
		_ = lines.Encode(line)
		_ = http.NewResponseController(w).Flush()
	}
	err := h.garden.RotateEncryptionKey(context.WithoutCancel(r.Context()), func(step string) { tell(rotationLine{Progress: step}) })
	if err != nil {
		tell(rotationLine{Error: err.Error()})
		return
	}
	tell(rotationLine{Done: true})
}

func (h handlers) rotateCertificates(w http.ResponseWriter, r *http.Request) {
	if err := h.garden.RotateCertificates(r.Context()); err != nil {
		h.refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}
