// Package upstream is one registry that images are fetched from, as a client
// that expects the worst of it: connections that are cut or fall silent,
// lengths and bytes that are wrong, tokens that expire, limits, redirects in a
// circle.
//
// The pull-through cache calls it. It must not know where content is kept or
// who asked for it: it hands bytes on as they come, and says when they ended
// early; whether a blob's digest is right is decided by whoever has all of it.
package upstream

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
)

// Options say which registry, and how much patience there is with it. Zero
// values take the defaults named with them.
type Options struct {
	// Name is what logs, metrics and errors call the upstream: docker.io.
	Name string
	// URL is where it answers: https://registry-1.docker.io. A path that has no
	// element "v2" gets one at its end; one that has is the API's root as it
	// stands (https://harbor.example/v2/proxy), as in containerd's hosts.toml
	// with override_path.
	URL string
	// Credentials are asked whenever a token is needed; nil is nobody.
	Credentials Credentials
	// Transport sends requests; nil is one of the client's own.
	Transport http.RoundTripper
	// Stall is how long nothing may come before a connection is given up; 30 s.
	Stall time.Duration
	// Attempts is how many requests in a row may bring nothing; 5.
	Attempts int
	// Backoff is the first wait between two attempts; it doubles up to
	// MaxBackoff. 500 ms and 15 s.
	Backoff, MaxBackoff time.Duration
	// Patience is the longest pause, asked for by the upstream with
	// Retry-After, that a request waits out; a longer one fails at once. 30 s.
	Patience time.Duration
	// Clock measures pauses and the life of tokens; nil is the real one.
	Clock clock.WithDelayedExecution
}

// Client talks to one upstream. It is safe for use by many at once.
type Client struct {
	o       Options
	root    *url.URL
	tokens  tokens
	mu      sync.Mutex
	health  Health
	traffic Traffic
}

// New returns a client, or fault.Invalid if its URL is none.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fault.New(fault.Invalid, "upstream %q: %w", o.Name, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.New(fault.Invalid, "upstream %q: URL %q is not one of the form https://HOST[:PORT][/PATH], without user, query or fragment", o.Name, u.Redacted())
	}
	u.Path = path.Join("/", u.Path)
	if !slices.Contains(strings.Split(u.Path, "/"), "v2") {
		u.Path = path.Join(u.Path, "v2")
	}
	u.RawPath = ""
	orElse(&o.Name, u.Host)
	orElse(&o.Stall, 30*time.Second)
	orElse(&o.Attempts, 5)
	orElse(&o.Backoff, 500*time.Millisecond)
	orElse(&o.MaxBackoff, 15*time.Second)
	orElse(&o.Patience, 30*time.Second)
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Transport == nil {
		o.Transport = Transport()
	}
	return &Client{o: o, root: u, tokens: tokens{held: map[string]*token{}}}, nil
}

// Transport returns the transport that a client without one uses, for callers
// that add certificates to it.
func Transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	// Content is stored as it was sent; the digest is that of the bytes before
	// any encoding of the way.
	t.DisableCompression = true
	t.MaxIdleConnsPerHost = 16
	// Of HTTP/2's shared connection one lost packet stalls all blobs, and its
	// window keeps a single download below the line's rate.
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return t
}

func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Name is what logs call the upstream.
func (c *Client) Name() string { return c.o.Name }

// url returns the address of one thing of a repository.
func (c *Client) url(elements ...string) *url.URL { return c.root.JoinPath(elements...) }

// own says whether a URL belongs to the upstream itself, which alone sees
// credentials.
func (c *Client) own(u *url.URL) bool { return u.Scheme == c.root.Scheme && u.Host == c.root.Host }

// sleep waits, or says at once that the caller has no time for it.
func (c *Client) sleep(ctx context.Context, d time.Duration, cause error) error {
	if deadline, ok := ctx.Deadline(); ok && c.o.Clock.Now().Add(d).After(deadline) {
		return cause
	}
	timer := c.o.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Root is the address of the upstream's API.
func (c *Client) Root() string { return c.root.String() }
