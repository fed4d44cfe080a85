package server

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/store"
)

func TestDescribe(t *testing.T) {
	full := fault.Wrap(fault.Exhausted, &os.PathError{Op: "write", Path: "/secret/x", Err: syscall.ENOSPC})
	for name, tc := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"not there":            {fault.New(fault.Missing, "no"), 404, codeBlobUnknown},
		"not allowed":          {fault.New(fault.Denied, "no"), 403, codeDenied},
		"an upstream's limit":  {fault.New(fault.Exhausted, "no"), 429, codeTooManyRequests},
		"a full disk":          {fmt.Errorf("writing: %w", full), 507, codeUnknown},
		"an upstream is down":  {fault.New(fault.Transient, "no"), 503, codeUnknown},
		"somebody else writes": {fault.Wrap(fault.Waiting, store.ErrBusy), 409, codeUploadInvalid},
		"another digest":       {fault.Wrap(fault.Invalid, store.ErrDigest), 400, codeDigestInvalid},
		"no manifest":          {fault.Wrap(fault.Invalid, &store.ManifestError{Reason: "no"}), 400, codeManifestInvalid},
		"parts are missing":    {fault.Wrap(fault.Invalid, &store.ManifestError{Unknown: []digest.Digest{"sha256:1", "sha256:2"}}), 404, codeManifestBlobUnknown},
		"a refusal":            {fmt.Errorf("so: %w", refuse(http.StatusConflict, codeUnsupported, "no")), 409, codeUnsupported},
		"a defect":             {errors.New("no"), 500, codeUnknown},
		"a lost file":          {fault.Wrap(fault.Missing, &os.PathError{Op: "open", Path: "/secret/x", Err: syscall.ENOENT}), 404, codeBlobUnknown},
		"a broken disk":        {&os.LinkError{Op: "rename", Old: "/secret/x", New: "/secret/y", Err: syscall.EIO}, 500, codeUnknown},
		"a refusal for a file": {refuse(http.StatusConflict, codeUnsupported, "no: %w", &os.PathError{Op: "open", Path: "/secret/x", Err: syscall.EIO}), 409, codeUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			status, problems := describe(codeBlobUnknown, tc.err)
			if status != tc.status || problems[0].Code != tc.code {
				t.Errorf("got %d %+v, want %d %s", status, problems, tc.status, tc.code)
			}
			if strings.Contains(problems[0].Message, "/secret") {
				t.Errorf("a client is told where files are: %s", problems[0].Message)
			}
		})
	}
}
