package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/loam-cloud/loam/fault"
)

const (
	// usualLife is how long a token lives whose server does not say: so the
	// token protocol of distribution has it.
	usualLife = 60 * time.Second
	// mostTokens bounds how many repositories' tokens are held; beyond it those
	// that expired go.
	mostTokens = 4096
)

// token is the value of the header Authorization for one repository.
type token struct {
	mu      sync.Mutex
	header  string
	expires time.Time
}

type tokens struct {
	mu   sync.Mutex
	held map[string]*token
}

func (t *tokens) of(repository string, now time.Time) *token {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one, ok := t.held[repository]; ok {
		return one
	}
	if len(t.held) >= mostTokens {
		for key, one := range t.held {
			// One that is being renewed is not the oldest.
			if one.mu.TryLock() {
				if one.expires.Before(now) {
					delete(t.held, key)
				}
				one.mu.Unlock()
			}
		}
	}
	one := &token{}
	t.held[repository] = one
	return one
}

// authorization returns the header that is known to work for a repository, or
// nothing if none is known or it is about to expire.
func (c *Client) authorization(repository string) string {
	one := c.tokens.of(repository, c.o.Clock.Now())
	one.mu.Lock()
	defer one.mu.Unlock()
	if !c.o.Clock.Now().Before(one.expires) {
		one.header = ""
	}
	return one.header
}

// authorize answers a challenge. used is the header that was refused: if
// another request has got a new one meanwhile, that one is taken.
func (c *Client) authorize(ctx context.Context, repository, used string, challenges []challenge) (string, error) {
	one := c.tokens.of(repository, c.o.Clock.Now())
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.header != "" && one.header != used {
		return one.header, nil
	}
	one.header = ""
	auth, err := c.credentials(ctx)
	if err != nil {
		return "", err
	}
	var life time.Duration
	switch ch := choose(challenges); {
	case ch == nil:
		return "", fault.New(fault.Denied, "%s asks for a proof that is neither Bearer nor Basic", c.o.Name)
	case ch.scheme == "basic":
		if auth.Username == "" {
			return "", fault.New(fault.Denied, "%s asks for a user and a password, and has been given none", c.o.Name)
		}
		one.header = "Basic " + base64.StdEncoding.EncodeToString([]byte(auth.Username+":"+auth.Password))
		// A changed password is seen this soon.
		life = time.Hour
	default:
		one.header, life, err = c.exchange(ctx, c.root, repository, auth, ch)
		if err != nil {
			return "", err
		}
	}
	// A tenth of its life early, so that it does not expire on its way.
	one.expires = c.o.Clock.Now().Add(life - life/10)
	return one.header, nil
}

func (c *Client) credentials(ctx context.Context) (authn.AuthConfig, error) {
	if c.o.Credentials == nil {
		return authn.AuthConfig{}, nil
	}
	auth, err := c.o.Credentials(ctx)
	switch {
	case errors.Is(err, fault.Transient):
		return auth, fmt.Errorf("credentials for %s: %w", c.o.Name, err)
	case err != nil:
		return auth, fault.New(fault.Denied, "credentials for %s: %w", c.o.Name, err)
	}
	return auth, nil
}

// introduce gets a token that everybody gets, for where a redirect has led.
func (c *Client) introduce(ctx context.Context, at *url.URL, repository string, resp *http.Response) (string, error) {
	ch := choose(parseChallenges(resp.Header.Values("WWW-Authenticate")))
	if ch == nil || ch.scheme != "bearer" {
		return "", c.refused(resp)
	}
	header, _, err := c.exchange(ctx, at, repository, authn.AuthConfig{}, ch)
	return header, err
}

// exchange gets a token from the server that the challenge names, for the host
// that gave the challenge.
func (c *Client) exchange(ctx context.Context, host *url.URL, repository string, auth authn.AuthConfig, ch *challenge) (string, time.Duration, error) {
	insecure := host.Scheme == "http"
	options := []name.Option{name.WeakValidation}
	if insecure {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(host.Host, options...)
	if err != nil {
		return "", 0, fault.Wrap(fault.Invalid, err)
	}
	scope := ch.parameters["scope"]
	if scope == "" && repository != "" {
		scope = "repository:" + repository + ":pull"
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Stall)
	defer cancel()
	c.count(1, 0)
	got, err := transport.Exchange(ctx, registry, authn.FromConfig(auth), c.o.Transport, strings.Fields(scope),
		&transport.Challenge{Scheme: "Bearer", Parameters: ch.parameters, Insecure: insecure})
	if err != nil {
		var refused *transport.Error
		switch {
		case errors.As(err, &refused) && refused.StatusCode == http.StatusTooManyRequests:
			return "", 0, fault.New(fault.Exhausted, "token for %s: %w", c.o.Name, err)
		case errors.As(err, &refused) && refused.StatusCode < 500:
			return "", 0, fault.New(fault.Denied, "token for %s: %w", c.o.Name, err)
		}
		return "", 0, fault.New(fault.Transient, "token for %s: %w", c.o.Name, err)
	}
	value := got.Token
	if value == "" {
		value = got.AccessToken
	}
	if value == "" {
		return "", 0, fault.New(fault.Denied, "the token server of %s gave no token", c.o.Name)
	}
	life := usualLife
	if got.ExpiresIn > 0 {
		life = time.Duration(got.ExpiresIn) * time.Second
	}
	return "Bearer " + value, life, nil
}
