package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/store"
)

// Codes of the OCI distribution specification, "Error Codes".
const (
	codeBlobUnknown         = "BLOB_UNKNOWN"
	codeUploadInvalid       = "BLOB_UPLOAD_INVALID"
	codeUploadUnknown       = "BLOB_UPLOAD_UNKNOWN"
	codeDigestInvalid       = "DIGEST_INVALID"
	codeManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
	codeManifestInvalid     = "MANIFEST_INVALID"
	codeManifestUnknown     = "MANIFEST_UNKNOWN"
	codeNameInvalid         = "NAME_INVALID"
	codeNameUnknown         = "NAME_UNKNOWN"
	codeSizeInvalid         = "SIZE_INVALID"
	codeUnauthorized        = "UNAUTHORIZED"
	codeDenied              = "DENIED"
	codeUnsupported         = "UNSUPPORTED"
	codeTooManyRequests     = "TOOMANYREQUESTS"
	// codeUnknown is none of the specification, which names codes of 4xx only.
	codeUnknown = "UNKNOWN"
)

// refusal is an error with the answer that it gets.
type refusal struct {
	status int
	code   string
	err    error
	detail any
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(status int, code, format string, args ...any) error {
	return &refusal{status: status, code: code, err: fmt.Errorf(format, args...)}
}

type problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// fail answers with an error. missing is the code of what was asked for and is
// not there.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, missing string, err error) {
	status, problems := describe(missing, err)
	var pause interface{ RetryAfter() time.Duration }
	if errors.As(err, &pause) && pause.RetryAfter() > 0 {
		seconds := int64((pause.RetryAfter() + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	switch {
	case status >= http.StatusInternalServerError:
		s.log.Error(err, "Could not answer", "method", r.Method, "path", r.URL.Path, "status", status)
	case status == http.StatusTooManyRequests:
		// It is an upstream that is asked too much, not who asked.
		s.log.Info("The upstream wants to be left alone", "method", r.Method, "path", r.URL.Path, "reason", err.Error())
	}
	body, marshalErr := json.Marshal(map[string][]problem{"errors": problems})
	if marshalErr != nil {
		s.log.Error(marshalErr, "Could not write an error down")
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// The client may have gone; there is nobody else to tell.
		_, _ = w.Write(body)
	}
}

// told is what a client is told of an error: where this host keeps its files is for
// the log alone.
func told(err error) string {
	var file *fs.PathError
	var files *os.LinkError
	switch {
	case errors.As(err, &file):
		return fmt.Sprintf("the cache could not %s a file of its own: %v", file.Op, file.Err)
	case errors.As(err, &files):
		return fmt.Sprintf("the cache could not %s a file of its own: %v", files.Op, files.Err)
	}
	return err.Error()
}

// describe gives an error its status and what the body says.
func describe(missing string, err error) (int, []problem) {
	var refused *refusal
	if errors.As(err, &refused) {
		return refused.status, []problem{{refused.code, told(err), refused.detail}}
	}
	var manifest *store.ManifestError
	if errors.As(err, &manifest) {
		if len(manifest.Unknown) == 0 {
			return http.StatusBadRequest, []problem{{codeManifestInvalid, told(err), nil}}
		}
		problems := make([]problem, len(manifest.Unknown))
		for i, d := range manifest.Unknown {
			problems[i] = problem{codeManifestBlobUnknown, "the repository does not have " + d.String(), map[string]string{"digest": d.String()}}
		}
		return http.StatusNotFound, problems
	}
	one := func(status int, code string) (int, []problem) {
		return status, []problem{{code, told(err), nil}}
	}
	switch kind := fault.KindOf(err); {
	case errors.Is(err, store.ErrDigest), kind == fault.Invalid:
		return one(http.StatusBadRequest, codeDigestInvalid)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		// Not 429: nothing is wrong with the client, nor will it help to send less.
		return one(http.StatusInsufficientStorage, codeUnknown)
	case errors.Is(err, store.ErrBusy):
		return one(http.StatusConflict, codeUploadInvalid)
	case kind == fault.Missing:
		return one(http.StatusNotFound, missing)
	case kind == fault.Denied:
		return one(http.StatusForbidden, codeDenied)
	case kind == fault.Exhausted:
		return one(http.StatusTooManyRequests, codeTooManyRequests)
	case kind == fault.Transient, kind == fault.Waiting:
		return one(http.StatusServiceUnavailable, codeUnknown)
	}
	return one(http.StatusInternalServerError, codeUnknown)
}
