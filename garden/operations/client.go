package operations

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/loam-cloud/loam/fault"
)

// Backup asks a running garden for a backup and copies it to w. One of
// recipients and passphrase says who may open it.
func Backup(ctx context.Context, config *rest.Config, w io.Writer, recipients []string, passphrase string) error {
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

// RotateEncryptionKey asks a running garden to rotate its encryption key and tells
// its progress.
func RotateEncryptionKey(ctx context.Context, config *rest.Config, progress func(string)) error {
	answer, err := operate(ctx, config, keyPath, struct{}{})
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

// RotateCertificates asks a running garden to rotate its certificates.
func RotateCertificates(ctx context.Context, config *rest.Config) error {
	answer, err := operate(ctx, config, certificatesPath, struct{}{})
	if err != nil {
		return err
	}
	return answer.Close()
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
	switch answer.StatusCode {
	case http.StatusForbidden, http.StatusUnauthorized:
		kind = fault.Denied
	case http.StatusInternalServerError:
		kind = fault.Internal
	}
	return nil, fault.New(kind, "the garden refuses: %s", bytes.TrimSpace(said))
}
