package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/loam-cloud/loam/fault"
)

// explain says what an answer that is no success means, and what can be done.
// A status of 0 is none.
func (c *Client) explain(what string, status int, err error) error {
	host := c.server.Host()
	detail := said(err)
	if detail != "" {
		detail = ": " + detail
	}
	switch {
	case status == 0:
		return c.unreached(what, err)
	case status == http.StatusForbidden:
		return fault.New(fault.Denied, "%s: vault %s refuses it: its token is not valid any more, or no policy allows it%s", what, host, detail)
	case status == http.StatusServiceUnavailable && strings.Contains(detail, "sealed"):
		return fault.New(fault.Transient, "%s: vault %s is sealed: unseal it", what, host)
	case status == http.StatusTooManyRequests:
		return fault.New(fault.Transient, "%s: vault %s has had too many requests%s", what, host, detail)
	case status >= 300 && status < 400:
		return fault.New(fault.Transient, "%s: vault %s leads on more than once: does each of its servers know the active one's api_addr?", what, host)
	case status >= 500:
		return fault.New(fault.Transient, "%s: vault %s answers %d%s", what, host, status, detail)
	default:
		return fault.New(fault.Invalid, "%s: vault %s answers %d%s", what, host, status, detail)
	}
}

// unreached explains a request that has got no answer.
func (c *Client) unreached(what string, err error) error {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Transient, "%s: %w", what, err)
	case errors.As(err, &certificate):
		return fault.New(fault.Invalid, "%s: the certificate of vault %s is not to be trusted; caFile names its authority, serverName its name: %w", what, c.server.Host(), certificate.Err)
	case err != nil && strings.Contains(err.Error(), "protocol downgrade"):
		return fault.New(fault.Invalid, "%s: vault %s leads from https to http: correct the api_addr of its servers", what, c.server.Host())
	}
	return fault.New(fault.Transient, "%s: vault %s: %w", what, c.server.Host(), err)
}

// said is what the server says itself. A body that is not its JSON comes from
// something in between, and is not repeated.
func said(err error) string {
	var answered *api.ResponseError
	if !errors.As(err, &answered) || answered.RawError {
		return ""
	}
	return strings.Join(strings.Fields(strings.Join(answered.Errors, "; ")), " ")
}

func statusOf(err error) int {
	var answered *api.ResponseError
	if errors.As(err, &answered) {
		return answered.StatusCode
	}
	return 0
}

func refused(err error) bool { return errors.Is(err, fault.Denied) }
