package upstream

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/loam-cloud/loam/fault"
)

// Credentials are what the cache proves itself with to an upstream. They are
// asked anew for every token, so that what changes is seen without a restart.
// The faults are Missing, where there are none, Denied and Invalid; Transient where
// it is worth asking again.
type Credentials func(ctx context.Context) (authn.AuthConfig, error)

// CredentialsFromEnvironment reads a user and a password, or a token where
// there is no user, from two variables.
func CredentialsFromEnvironment(userVariable, passwordVariable string) Credentials {
	return func(context.Context) (authn.AuthConfig, error) {
		password := os.Getenv(passwordVariable)
		if password == "" {
			return authn.AuthConfig{}, fault.New(fault.Missing, "environment variable %s is empty", passwordVariable)
		}
		return authn.AuthConfig{Username: os.Getenv(userVariable), Password: password}, nil
	}
}

// CredentialsFromFile reads either one line USER:PASSWORD, or a configuration
// file of docker (also what a Secret of type kubernetes.io/dockerconfigjson
// holds), of which the entry of host is taken.
func CredentialsFromFile(file, host string) Credentials {
	return func(context.Context) (authn.AuthConfig, error) {
		content, err := os.ReadFile(file)
		if err != nil {
			return authn.AuthConfig{}, fault.Wrap(fault.Missing, err)
		}
		auth, err := parseCredentials(content, host)
		if err != nil {
			return authn.AuthConfig{}, fault.New(fault.Invalid, "credentials %s: %w", file, err)
		}
		return auth, nil
	}
}

func parseCredentials(content []byte, host string) (authn.AuthConfig, error) {
	text := strings.TrimSpace(string(content))
	if !strings.HasPrefix(text, "{") {
		user, password, ok := strings.Cut(text, ":")
		if !ok || user == "" || password == "" || strings.ContainsAny(text, "\r\n") {
			return authn.AuthConfig{}, fault.New(fault.Invalid, "neither one line USER:PASSWORD nor a configuration file of docker")
		}
		return authn.AuthConfig{Username: user, Password: password}, nil
	}
	var config struct {
		Auths map[string]struct {
			Username, Password, Auth string
			IdentityToken            string `json:"identitytoken"`
			RegistryToken            string `json:"registrytoken"`
		} `json:"auths"`
	}
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		// The error of the decoder can quote what it read: a secret.
		return authn.AuthConfig{}, fault.New(fault.Invalid, "not a configuration file of docker: its JSON is broken")
	}
	for _, key := range keys(host) {
		entry, ok := config.Auths[key]
		if !ok {
			continue
		}
		auth := authn.AuthConfig{
			Username: entry.Username, Password: entry.Password,
			IdentityToken: entry.IdentityToken, RegistryToken: entry.RegistryToken,
		}
		if entry.Auth != "" {
			plain, err := base64.StdEncoding.DecodeString(entry.Auth)
			user, password, both := strings.Cut(string(plain), ":")
			if err != nil || !both {
				return authn.AuthConfig{}, fault.New(fault.Invalid, "auths[%q].auth is not USER:PASSWORD in base64", key)
			}
			auth.Username, auth.Password = user, password
		}
		return auth, nil
	}
	return authn.AuthConfig{}, fault.New(fault.Missing, "no entry for %s under auths", host)
}

// keys are the names that an entry for a host goes by in docker's file.
func keys(host string) []string {
	all := []string{host, "https://" + host, "http://" + host, "https://" + host + "/v1/", "https://" + host + "/v2/"}
	switch host {
	case "docker.io", "registry-1.docker.io", "index.docker.io":
		// The one registry whose entry is named by an address of its past.
		all = append(all, authn.DefaultAuthKey, "docker.io", "index.docker.io", "registry-1.docker.io")
	}
	return all
}
