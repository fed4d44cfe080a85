// Package identity makes the tokens of workload identities: it is the issuer
// that target systems trust instead of a password, with the documents by which
// they come to know its key.
//
// The table of kinds installs the subresource, the garden serves the documents.
// It must not know who may ask, nor any target system.
package identity

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"gopkg.in/go-jose/go-jose.v2/jwt"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

// Path is where the garden serves the documents of OpenID Connect discovery,
// which everybody may read; the others are theirs.
const (
	Path              = "/loam/workload-identity"
	ConfigurationPath = Path + "/.well-known/openid-configuration"
	KeysPath          = Path + keys

	keys = "/jwks"
)

const (
	shortest = 10 * time.Minute
	// longest is short enough for a token to be lost.
	longest = 48 * time.Hour
)

// Issuer signs tokens with the garden's key for workload identities.
type Issuer struct {
	generator serviceaccount.TokenGenerator
	metadata  serviceaccount.OpenIDMetadataProvider
}

// NewIssuer returns the issuer with the URL, https, that is in its tokens. Target
// systems read its documents below that URL: who gives it another one than the
// garden's own with Path has them served there. The key is a file with an ECDSA
// key in PEM.
func NewIssuer(url, keyFile string) (*Issuer, error) {
	key, err := keyutil.PrivateKeyFromFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading key %q: %w", keyFile, err)
	}
	generator, err := serviceaccount.JWTTokenGenerator(url, key)
	if err != nil {
		return nil, fmt.Errorf("preparing tokens of workload identities: %w", err)
	}
	signer, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading key %q: a %T, not an ECDSA key", keyFile, key)
	}
	public, err := serviceaccount.StaticPublicKeysGetter([]any{&signer.PublicKey})
	if err != nil {
		return nil, fmt.Errorf("preparing the keys of workload identities: %w", err)
	}
	metadata, err := serviceaccount.NewOpenIDMetadataProvider(url, url+keys, "", public)
	if err != nil {
		return nil, fmt.Errorf("preparing the discovery of workload identities: %w", err)
	}
	return &Issuer{generator: generator, metadata: metadata}, nil
}

// claims are what a token says beside whom it is for.
type claims struct {
	Gardener gardenerClaims `json:"gardener.cloud"`
}

type gardenerClaims struct {
	WorkloadIdentity reference  `json:"workloadIdentity"`
	Shoot            *reference `json:"shoot,omitempty"`
	Project          *reference `json:"project,omitempty"`
	Seed             *reference `json:"seed,omitempty"`
	BackupBucket     *reference `json:"backupBucket,omitempty"`
	BackupEntry      *reference `json:"backupEntry,omitempty"`
}

type reference struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	UID       string `json:"uid"`
}

func (i *Issuer) sign(ctx context.Context, subject string, audiences []string, about claims, now, end time.Time) (string, error) {
	return i.generator.GenerateToken(ctx, &jwt.Claims{
		ID: uuid.NewString(), Subject: subject, Audience: audiences,
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(end),
	}, about)
}

// Serve answers at ConfigurationPath and KeysPath.
func (i *Issuer) Serve(paths interface {
	Handle(path string, handler http.Handler)
}) {
	paths.Handle(ConfigurationPath, document("application/json", i.metadata.GetConfigJSON))
	paths.Handle(KeysPath, document("application/jwk-set+json", i.metadata.GetKeysetJSON))
}

func document(contentType string, content func() (text []byte, maxAge int)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "only GET is answered", http.StatusMethodNotAllowed)
			return
		}
		text, maxAge := content()
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(maxAge))
		// A client that has gone away is not told.
		_, _ = w.Write(text)
	})
}
