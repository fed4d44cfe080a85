package app

import (
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"k8s.io/utils/clock"

	spec "github.com/loam-cloud/loam/api/vault"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/config"
	"github.com/loam-cloud/loam/secrets/vaulttest"
)

func TestUpstreamsAreAskedWithCredentialsFromVault(t *testing.T) {
	server := vaulttest.New(clock.RealClock{})
	server.Issue("token")
	server.Put("secret", "hub", map[string]any{"user": "loam", "password": "one"})
	server.Put("secret", "quay", map[string]any{"token": "two"})
	front := httptest.NewServer(server)
	t.Cleanup(front.Close)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := openVault(&spec.Server{Address: front.URL, Login: spec.Login{Token: &spec.Token{File: file}}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path, key string) (authn.AuthConfig, error) {
		c := config.VaultCredentials{Reference: spec.Reference{Path: path}, UserKey: "user", PasswordKey: key}
		return vaultCredentials(client, c)(t.Context())
	}
	if got, err := ask("hub", "password"); err != nil || got.Username != "loam" || got.Password != "one" {
		t.Errorf("got %+v, %v", got, err)
	}
	// What changes is seen without a restart.
	server.Put("secret", "hub", map[string]any{"user": "loam", "password": "new"})
	if got, err := ask("hub", "password"); err != nil || got.Password != "new" {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := ask("quay", "token"); err != nil || got.Username != "" || got.Password != "two" {
		t.Errorf("a token alone: got %+v, %v", got, err)
	}
	if _, err := ask("quay", "password"); !errors.Is(err, fault.Missing) {
		t.Errorf("a key that is not there: got %v", err)
	}
	server.Seal(true)
	if _, err := ask("hub", "password"); !errors.Is(err, fault.Transient) {
		t.Errorf("sealed: got %v", err)
	}
}
