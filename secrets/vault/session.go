package vault

import (
	"context"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	spec "github.com/loam-cloud/loam/api/vault"
	"github.com/loam-cloud/loam/fault"
)

// again is how long is waited after a failure.
const again = 15 * time.Second

// lease is a token and how long it lives.
type lease struct {
	token string
	// renew is when to renew it, expires when it is over; both are zero for one
	// without an end.
	renew, expires time.Time
	life           time.Duration
	renewable      bool
}

func (c *Client) leased(token string, life time.Duration, renewable bool) lease {
	l := lease{token: token, life: life, renewable: renewable}
	if life > 0 {
		now := c.clock.Now()
		l.renew, l.expires = now.Add(life*2/3), now.Add(life)
	}
	return l
}

func (l lease) due(now time.Time) bool { return !l.renew.IsZero() && !now.Before(l.renew) }

func (l lease) alive(now time.Time) bool {
	return l.token != "" && (l.expires.IsZero() || now.Before(l.expires))
}

// session makes sure that there is a token, and returns it. bad is one that the
// server has refused.
func (c *Client) session(ctx context.Context, bad string) (string, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return "", fault.New(fault.Transient, "waiting for a login to vault %s: %w", c.server.Host(), ctx.Err())
	}
	now := c.clock.Now()
	if bad != "" && c.held.token == bad {
		if now.Before(c.forced.Add(again)) {
			// It is the policy then: a login for each read would fill the server with tokens.
			return bad, nil
		}
		c.held, c.forced = lease{}, now
	}
	if c.held.alive(now) && !c.held.due(now) {
		return c.held.token, nil
	}
	if c.held.alive(now) && c.held.renewable {
		if renewed, ok := c.renew(ctx); ok {
			return c.hold(renewed), nil
		}
	}
	fresh, err := c.login(ctx)
	if err != nil {
		if c.held.alive(now) {
			// It still serves; somebody later tries again.
			c.held.renew = now.Add(again)
			logr.FromContextOrDiscard(ctx).Info("The token of Vault cannot be renewed yet", "server", c.server.Host(), "reason", err.Error())
			return c.held.token, nil
		}
		return "", err
	}
	return c.hold(fresh), nil
}

func (c *Client) hold(l lease) string {
	c.held = l
	c.inside.SetToken(l.token)
	return l.token
}

// renew asks for a longer life. A token that comes to the end of its longest life
// gets less than before: then a login is better, where one is possible.
func (c *Client) renew(ctx context.Context) (lease, bool) {
	secret, err := c.inside.Auth().Token().RenewSelfWithContext(ctx, int(c.held.life.Seconds()))
	if err != nil || secret == nil || secret.Auth == nil {
		return lease{}, false
	}
	life := time.Duration(secret.Auth.LeaseDuration) * time.Second
	renewed := c.leased(c.held.token, life, secret.Auth.Renewable)
	if c.server.Login.Token == nil && life < c.held.life/2 {
		return lease{}, false
	}
	// Less does not become the measure of the next renewal.
	renewed.life = max(life, c.held.life)
	return renewed, true
}

// login proves Loam to the server. Its secrets are read anew each time. Faults:
// Denied, Invalid, Missing, Transient.
func (c *Client) login(ctx context.Context) (lease, error) {
	switch l := c.server.Login; {
	case l.AppRole != nil:
		id, err := readSecret(l.AppRole.SecretIDFile)
		if err != nil {
			return lease{}, err
		}
		return c.exchange(ctx, l.AppRole.Where(), map[string]any{"role_id": l.AppRole.RoleID, "secret_id": id})
	case l.Kubernetes != nil:
		file := l.Kubernetes.TokenFile
		if file == "" {
			file = spec.DefaultServiceAccountToken
		}
		token, err := readSecret(file)
		if err != nil {
			return lease{}, err
		}
		return c.exchange(ctx, l.Kubernetes.Where(), map[string]any{"role": l.Kubernetes.Role, "jwt": token})
	case l.Token != nil:
		return c.given(ctx, *l.Token)
	}
	return lease{}, fault.New(fault.Invalid, "vault %s: no login is configured", c.server.Host())
}

// exchange logs in with a method that gives a token.
func (c *Client) exchange(ctx context.Context, mount string, proof map[string]any) (lease, error) {
	what := "logging in with auth/" + mount
	secret, err := c.door.Logical().WriteWithContext(ctx, "auth/"+mount+"/login", proof)
	if err != nil {
		return lease{}, c.loginFault(what, err)
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return lease{}, fault.New(fault.Invalid, "%s: vault %s gave no token: is an auth method of this kind mounted there?", what, c.server.Host())
	}
	return c.leased(secret.Auth.ClientToken, time.Duration(secret.Auth.LeaseDuration)*time.Second, secret.Auth.Renewable), nil
}

// given takes a token that somebody else made, and asks how long it lives.
func (c *Client) given(ctx context.Context, t spec.Token) (lease, error) {
	token := strings.TrimSpace(os.Getenv(t.Environment))
	if t.File != "" {
		var err error
		if token, err = readSecret(t.File); err != nil {
			return lease{}, err
		}
	}
	if token == "" {
		return lease{}, fault.New(fault.Missing, "token for vault %s: environment variable %s is empty", c.server.Host(), t.Environment)
	}
	c.inside.SetToken(token)
	secret, err := c.inside.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		c.inside.SetToken(c.held.token)
		return lease{}, c.loginFault("looking at the token", err)
	}
	life, err := secret.TokenTTL()
	if err != nil {
		return lease{}, fault.New(fault.Transient, "looking at the token: vault %s does not say how long it lives", c.server.Host())
	}
	renewable, err := secret.TokenIsRenewable()
	return c.leased(token, life, err == nil && renewable), nil
}

// loginFault takes a refusal of credentials for what it is: the server answers
// 400 to an unknown role or secret id.
func (c *Client) loginFault(what string, err error) error {
	if statusOf(err) == http.StatusBadRequest {
		return fault.New(fault.Denied, "%s: vault %s refuses the credentials: %s", what, c.server.Host(), said(err))
	}
	return c.explain(what, statusOf(err), err)
}

// readSecret reads a file of one line.
func readSecret(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fault.New(fault.Missing, "credentials for vault: %w", err)
	}
	text := strings.TrimSpace(string(content))
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return "", fault.New(fault.Invalid, "credentials for vault: file %s must hold one line", file)
	}
	return text, nil
}

// Keep renews the token until the context ends, also while nobody reads: a token
// that was given has no second one behind it. Failures go to the context's logger.
func (c *Client) Keep(ctx context.Context) {
	log := logr.FromContextOrDiscard(ctx).WithName("vault")
	for {
		wait := again
		if _, err := c.session(ctx, ""); err != nil {
			if ctx.Err() != nil {
				return
			}
			log.Info("There is no token of Vault", "server", c.server.Host(), "reason", err.Error())
		} else {
			wait = c.rest(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.clock.After(wait):
		}
	}
}

// rest is how long the token needs no renewal.
func (c *Client) rest(ctx context.Context) time.Duration {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return 0
	}
	if c.held.renew.IsZero() {
		return time.Hour
	}
	return max(c.held.renew.Sub(c.clock.Now()), time.Second)
}
