// Package clientcert remembers for some seconds whom a client certificate
// stands for. Verifying one costs two signatures of elliptic curves, on every
// request of a connection: more than most reads.
//
// The garden's API server puts it in front of its authenticators. It must not
// decide what a certificate is worth.
package clientcert

import (
	"crypto/sha256"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/utils/clock"
)

const (
	// remember is as long as the API server remembers that a token was good:
	// the longest time that a removed authority still opens the door.
	remember = 10 * time.Second
	// most clients at once.
	most = 4096
)

// Remember answers for inner when a certificate was accepted a moment ago. Inner
// must not take identities from headers other than Authorization: a request
// that has this one is always handed on.
func Remember(inner authenticator.Request, clock clock.PassiveClock) authenticator.Request {
	return remembering{inner, cache.NewLRUExpireCacheWithClock(most, clock), clock}
}

type remembering struct {
	inner authenticator.Request
	known *cache.LRUExpireCache
	clock clock.PassiveClock
}

// AuthenticateRequest implements authenticator.Request.
func (r remembering) AuthenticateRequest(request *http.Request) (*authenticator.Response, bool, error) {
	if request.TLS == nil || len(request.TLS.PeerCertificates) == 0 || request.Header.Get("Authorization") != "" {
		return r.inner.AuthenticateRequest(request)
	}
	certificate := request.TLS.PeerCertificates[0]
	key := sha256.Sum256(certificate.Raw)
	if known, found := r.known.Get(key); found {
		return known.(*authenticator.Response), true, nil
	}
	response, ok, err := r.inner.AuthenticateRequest(request)
	if ok && err == nil {
		r.known.Add(key, response, min(remember, certificate.NotAfter.Sub(r.clock.Now())))
	}
	return response, ok, err
}
