package app

import (
	"context"
	"errors"

	"github.com/google/go-containerregistry/pkg/authn"

	spec "github.com/loam-cloud/loam/api/vault"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/config"
	"github.com/loam-cloud/loam/registry/upstream"
	"github.com/loam-cloud/loam/secrets/vault"
)

// openVault makes the client of a server that a configuration names; nil is none.
func openVault(server *spec.Server) (*vault.Client, error) {
	if server == nil {
		return nil, nil
	}
	return vault.New(*server, nil)
}

// vaultCredentials reads what an upstream is asked with, each time it is needed. A
// secret without a user holds a token.
func vaultCredentials(secrets *vault.Client, c config.VaultCredentials) upstream.Credentials {
	return func(ctx context.Context) (authn.AuthConfig, error) {
		secret, err := secrets.Read(ctx, c.Reference)
		if err != nil {
			return authn.AuthConfig{}, err
		}
		user, err := secret.Value(c.UserKey)
		if err != nil && !errors.Is(err, fault.Missing) {
			return authn.AuthConfig{}, err
		}
		password, err := secret.Value(c.PasswordKey)
		return authn.AuthConfig{Username: user, Password: password}, err
	}
}
