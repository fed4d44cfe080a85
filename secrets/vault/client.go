// Package vault reads secrets from the KV engine (version 2) of a Vault server,
// or of one that speaks its API, at the moment they are used. The wiring makes a
// client and hands functions of it to whoever needs a secret: the image cache for
// its upstreams, the agent for the boot data of machines.
//
// It keeps no secret and logs none: what it holds is its own token. It must not
// know what a secret is for.
package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"k8s.io/utils/clock"

	spec "github.com/loam-cloud/loam/api/vault"
	"github.com/loam-cloud/loam/fault"
)

const (
	// patience is how long one request may take; requests that a server did not
	// answer, or with 5xx, are made three times.
	patience = 15 * time.Second
	retries  = 2
	// minWait and maxWait lie between two of them.
	minWait, maxWait = 200 * time.Millisecond, time.Second
)

// Client reads secrets. It logs in when it first has to, renews its token when two
// thirds of its life are over, and logs in again where that does not help.
// It is safe for use by several at once.
type Client struct {
	server spec.Server
	clock  clock.Clock
	// door is for logins, and never has a token.
	door, inside *api.Client
	// turn holds whoever looks after the token, one at a time.
	turn chan struct{}
	held lease
	// forced is when a refusal last led to a login.
	forced time.Time
}

// New makes a client; it asks the server nothing. The configuration is valid. A
// nil clock is the real one. Faults: Invalid for a file of authorities that cannot
// be read.
func New(server spec.Server, c clock.Clock) (*Client, error) {
	if c == nil {
		c = clock.RealClock{}
	}
	transport, err := transport(server)
	if err != nil {
		return nil, err
	}
	made := &Client{server: server, clock: c, turn: make(chan struct{}, 1)}
	if made.door, err = connect(server, transport); err != nil {
		return nil, err
	}
	made.inside, err = connect(server, transport)
	return made, err
}

func transport(server spec.Server) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: server.ServerName}
	if server.CAFile != "" {
		pem, err := os.ReadFile(server.CAFile)
		if err != nil {
			return nil, fault.New(fault.Invalid, "authorities of vault %s: %w", server.Host(), err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Invalid, "authorities of vault %s: %s holds no certificate", server.Host(), server.CAFile)
		}
	}
	dialer := &net.Dialer{Timeout: patience}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: config, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: patience, MaxIdleConns: 4, IdleConnTimeout: time.Minute,
	}, nil
}

func connect(server spec.Server, transport *http.Transport) (*api.Client, error) {
	made, err := api.NewClient(&api.Config{
		Address: server.Address, Timeout: patience, MaxRetries: retries, MinRetryWait: minWait, MaxRetryWait: maxWait,
		HttpClient: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	})
	if err != nil {
		return nil, fault.New(fault.Invalid, "vault %s: %w", server.Host(), err)
	}
	// The library takes both from the environment: a configuration that names a
	// server must not send it what is meant for another.
	made.ClearToken()
	made.ClearNamespace()
	if server.Namespace != "" {
		made.SetNamespace(server.Namespace)
	}
	return made, nil
}

// Secret is what was read, by key.
type Secret struct {
	name   string
	values map[string]any
}

// String says what it is, so that one that is printed by mistake shows nothing.
func (s Secret) String() string { return "secret " + s.name }

// GoString does the same for %#v.
func (s Secret) GoString() string { return s.String() }

// Value returns the value of a key. Faults: Missing without the key, Invalid for
// one that is no text.
func (s Secret) Value(key string) (string, error) {
	value, ok := s.values[key]
	if !ok {
		return "", fault.New(fault.Missing, "vault secret %s has no key %q; its keys: %s", s.name, key, strings.Join(slices.Sorted(maps.Keys(s.values)), ", "))
	}
	text, ok := value.(string)
	if !ok {
		return "", fault.New(fault.Invalid, "vault secret %s: the value of key %q is no text: store it in quotes", s.name, key)
	}
	return text, nil
}

// Read reads a secret. Faults: Denied for credentials that the server refuses and
// for what its policies do not allow, Missing for a secret or a version that is not
// there or deleted, Invalid for what only the user can change, Transient for
// servers that are sealed, too busy or away.
func (c *Client) Read(ctx context.Context, r spec.Reference) (Secret, error) {
	used, err := c.session(ctx, "")
	if err != nil {
		return Secret{}, err
	}
	secret, err := c.read(ctx, r)
	if !refused(err) {
		return secret, err
	}
	// The token may have been revoked. A second one is told the same if it is the
	// policy that refuses.
	if now, again := c.session(ctx, used); again != nil || now == used {
		return Secret{}, err
	}
	return c.read(ctx, r)
}

// Value reads one key of a secret.
func (c *Client) Value(ctx context.Context, r spec.Reference, key string) (string, error) {
	secret, err := c.Read(ctx, r)
	if err != nil {
		return "", err
	}
	return secret.Value(key)
}

// answer is the body of a read, also of one of what was deleted.
type answer struct {
	Data struct {
		Data     map[string]any `json:"data"`
		Metadata struct {
			Deleted   string `json:"deletion_time"`
			Destroyed bool   `json:"destroyed"`
			Version   int    `json:"version"`
		} `json:"metadata"`
	} `json:"data"`
}

func (c *Client) read(ctx context.Context, r spec.Reference) (Secret, error) {
	query := url.Values{}
	if r.Version > 0 {
		query.Set("version", strconv.Itoa(r.Version))
	}
	what := fmt.Sprintf("reading secret %s", r)
	resp, err := c.inside.Logical().ReadRawWithDataWithContext(ctx, r.Engine()+"/data/"+r.Path, query)
	if resp == nil {
		return Secret{}, c.explain(what, 0, err)
	}
	defer func() { _ = resp.Body.Close() }() // only read
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound {
		return Secret{}, c.explain(what, resp.StatusCode, err)
	}
	var a answer
	if parseErr := json.NewDecoder(resp.Body).Decode(&a); parseErr != nil {
		// Its error could quote the body.
		return Secret{}, fault.New(fault.Transient, "%s: vault %s answered with something else than a secret", what, c.server.Host())
	}
	switch found := a.Data; {
	case found.Metadata.Destroyed:
		return Secret{}, fault.New(fault.Missing, "%s: version %d is destroyed", what, found.Metadata.Version)
	case found.Metadata.Deleted != "":
		return Secret{}, fault.New(fault.Missing, "%s: version %d was deleted at %s; `vault kv undelete` brings it back", what, found.Metadata.Version, found.Metadata.Deleted)
	case resp.StatusCode == http.StatusOK && found.Metadata.Version == 0:
		return Secret{}, fault.New(fault.Invalid, "%s: what vault %s has at mount %q is no KV engine of version 2", what, c.server.Host(), r.Engine())
	case resp.StatusCode == http.StatusNotFound && said(err) != "":
		return Secret{}, fault.New(fault.Missing, "%s: vault %s has no KV engine at mount %q: %s", what, c.server.Host(), r.Engine(), said(err))
	case found.Data == nil:
		return Secret{}, fault.New(fault.Missing, "%s: vault %s has no such secret%s", what, c.server.Host(), version(r))
	}
	return Secret{name: r.String(), values: a.Data.Data}, nil
}

func version(r spec.Reference) string {
	if r.Version == 0 {
		return ""
	}
	return fmt.Sprintf(" of version %d", r.Version)
}
