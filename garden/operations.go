package garden

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"filippo.io/age"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/client-go/rest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/backup"
)

// Paths of what an administrator asks a running garden for. RBAC knows them as
// non-resource URLs, and by default nobody below system:masters has them.
const (
	backupPath = "/operations/backup"
	rotatePath = "/operations/rotate-encryption-key"
)

// longOperations take longer than the server lets other requests.
func longOperations() sets.Set[string] { return sets.New(backupPath, rotatePath) }

// isLong extends the server's own idea of requests without a time limit.
func isLong(theirs request.LongRunningRequestCheck) request.LongRunningRequestCheck {
	paths := longOperations()
	return func(r *http.Request, info *request.RequestInfo) bool {
		return paths.Has(r.URL.Path) || theirs(r, info)
	}
}

// serveOperations adds the operations to a server.
func (g *Garden) serveOperations(server *mux.PathRecorderMux) {
	server.HandleFunc(backupPath, post(g.serveBackup))
	server.HandleFunc(rotatePath, post(g.serveRotation))
	server.HandleFunc(certificatesPath, post(g.serveCertificates))
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

func (g *Garden) serveBackup(w http.ResponseWriter, r *http.Request) {
	var asked backupRequest
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, requestLimit)).Decode(&asked)
	if err != nil {
		// Never with the text: it may hold a passphrase.
		http.Error(w, "the request is no JSON", http.StatusBadRequest)
		return
	}
	recipients, err := asked.recipients()
	if err == nil && g.store == nil {
		err = g.Backup(r.Context(), io.Discard, recipients...)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := g.Backup(r.Context(), w, recipients...); err != nil {
		g.config.Logger.Error(err, "A backup failed")
		// What was sent is no whole backup, and the client has to notice.
		panic(http.ErrAbortHandler)
	}
}

// rotationLine is one line of the answer to a rotation: progress, or its failure.
type rotationLine struct {
	Progress string `json:"progress,omitempty"`
	Error    string `json:"error,omitempty"`
	Done     bool   `json:"done,omitempty"`
}

func (g *Garden) serveRotation(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	lines := json.NewEncoder(w)
	tell := func(line rotationLine) {
		// A client that has gone away does not stop a rotation.
		_ = lines.Encode(line)
		_ = http.NewResponseController(w).Flush()
	}
	err := g.RotateEncryptionKey(context.WithoutCancel(r.Context()), func(step string) { tell(rotationLine{Progress: step}) })
	if err != nil {
		tell(rotationLine{Error: err.Error()})
		return
	}
	tell(rotationLine{Done: true})
}

// RequestBackup asks a running garden for a backup and copies it to w. One of
// recipients and passphrase says who may open it.
func RequestBackup(ctx context.Context, config *rest.Config, w io.Writer, recipients []string, passphrase string) error {
	answer, err := operate(ctx, config, backupPath, backupRequest{recipients, passphrase})
	if err != nil {
		return err
	}
	defer func() { _ = answer.Close() }() // was read to its end
	if _, err := io.Copy(w, answer); err != nil {
		return fault.New(fault.Transient, "receiving the backup: %w", err)
	}
	return nil
}

// RequestRotation asks a running garden to rotate its encryption key and tells
// its progress.
func RequestRotation(ctx context.Context, config *rest.Config, progress func(string)) error {
	answer, err := operate(ctx, config, rotatePath, struct{}{})
	if err != nil {
		return err
	}
	defer func() { _ = answer.Close() }() // was read to its end
	lines := json.NewDecoder(answer)
	for {
		var line rotationLine
		if err := lines.Decode(&line); errors.Is(err, io.EOF) {
			return fault.New(fault.Transient, "the garden ended before the rotation did: ask again, it goes on where it was")
		} else if err != nil {
			return fault.New(fault.Transient, "following the rotation: %w", err)
		}
		switch {
		case line.Error != "":
			return errors.New(line.Error)
		case line.Done:
			return nil
		default:
			progress(line.Progress)
		}
	}
}

func operate(ctx context.Context, config *rest.Config, path string, body any) (io.ReadCloser, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encoding a request: %w", err)
	}
	config = rest.CopyConfig(config)
	config.Timeout = 0
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the garden: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(config.Host, "/")+path, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("asking the garden: %w", err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, fault.New(fault.Transient, "asking the garden: %w", err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, nil
	}
	defer func() { _ = answer.Body.Close() }() // only read
	said, err := io.ReadAll(io.LimitReader(answer.Body, requestLimit))
	if err != nil {
		return nil, fault.New(fault.Transient, "asking the garden: %w", err)
	}
	kind := fault.Invalid
	if answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusUnauthorized {
		kind = fault.Denied
	}
	return nil, fault.New(kind, "the garden refuses: %s", bytes.TrimSpace(said))
}
