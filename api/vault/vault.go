// Package vault is how configurations name a Vault server, how Loam proves
// itself to it, and which secrets of its KV engine (version 2) are meant.
// Configuration files and API types embed these types; package secrets/vault
// reads what they name.
//
// It holds names of secrets and never a secret, and must not open anything.
package vault

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Defaults.
const (
	// DefaultMount is where `vault server -dev` and most installations have KV v2.
	DefaultMount = "secret"
	// DefaultAppRoleMount and DefaultKubernetesMount are where `vault auth enable`
	// puts the two methods.
	DefaultAppRoleMount    = "approle"
	DefaultKubernetesMount = "kubernetes"
	// DefaultServiceAccountToken is where the kubelet puts a pod's own token.
	DefaultServiceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"
)

// Server is a Vault server, or any other that speaks its API.
type Server struct {
	// Address is its URL: https://vault.example:8200.
	Address string `json:"address"`
	// Namespace is one of Vault Enterprise and OpenBao; empty is the root.
	Namespace string `json:"namespace,omitempty"`
	// CAFile has the authorities that its certificate may be of, instead of this
	// host's.
	CAFile string `json:"caFile,omitempty"`
	// ServerName is the name in its certificate where that is not the address's.
	ServerName string `json:"serverName,omitempty"`
	// Login is how Loam proves itself: one of its fields is set.
	Login Login `json:"login"`
}

// Login has one of its fields. What files and variables hold is read anew at every
// login.
type Login struct {
	Token      *Token      `json:"token,omitempty"`
	AppRole    *AppRole    `json:"appRole,omitempty"`
	Kubernetes *Kubernetes `json:"kubernetes,omitempty"`
}

// Token is a token that somebody else made and keeps in a file or a variable.
type Token struct {
	File        string `json:"file,omitempty"`
	Environment string `json:"environment,omitempty"`
}

// AppRole is a login with a role's id and a secret id.
type AppRole struct {
	// Mount is approle when empty.
	Mount  string `json:"mount,omitempty"`
	RoleID string `json:"roleID"`
	// SecretIDFile holds the secret id, on one line.
	SecretIDFile string `json:"secretIDFile"`
}

// Kubernetes is a login with the token of a service account.
type Kubernetes struct {
	// Mount is kubernetes when empty.
	Mount string `json:"mount,omitempty"`
	Role  string `json:"role"`
	// TokenFile is the pod's own token when empty.
	TokenFile string `json:"tokenFile,omitempty"`
}

// Reference names a secret of a KV engine of version 2.
type Reference struct {
	// Mount is where the engine is; secret when empty.
	Mount string `json:"mount,omitempty"`
	// Path is the secret's, below the mount and without "data/".
	Path string `json:"path"`
	// Version is the newest when 0.
	Version int `json:"version,omitempty"`
}

// Engine returns the mount with its default.
func (r Reference) Engine() string { return orElse(r.Mount, DefaultMount) }

// Where returns the mount with its default.
func (a AppRole) Where() string { return orElse(a.Mount, DefaultAppRoleMount) }

// Where returns the mount with its default.
func (k Kubernetes) Where() string { return orElse(k.Mount, DefaultKubernetesMount) }

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// Validate names every problem.
func (s Server) Validate(p *field.Path) (problems field.ErrorList) {
	at, err := url.Parse(s.Address)
	switch {
	case s.Address == "":
		problems = append(problems, field.Required(p.Child("address"), "is the server's URL, as in https://vault.example:8200"))
	case err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.User != nil || at.RawQuery != "" || strings.Trim(at.Path, "/") != "":
		// It may hold a password, where none belongs.
		problems = append(problems, field.Invalid(p.Child("address"), "(not shown)", "must be https:// and a host, perhaps with a port: https://vault.example:8200"))
	case at.Scheme == "http" && !loopback(at.Hostname()):
		problems = append(problems, field.Invalid(p.Child("address"), s.Address, "secrets would travel readable: must be https://, or a loopback address"))
	}
	return append(problems, s.Login.validate(p.Child("login"))...)
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (l Login) validate(p *field.Path) (problems field.ErrorList) {
	set := 0
	if t := l.Token; t != nil {
		set++
		if (t.File == "") == (t.Environment == "") {
			problems = append(problems, field.Required(p.Child("token"), "must have one of file and environment"))
		}
	}
	if a := l.AppRole; a != nil {
		set++
		problems = append(problems, mount(p.Child("appRole", "mount"), a.Where())...)
		if a.RoleID == "" {
			problems = append(problems, field.Required(p.Child("appRole", "roleID"), "is the role's id"))
		}
		if a.SecretIDFile == "" {
			problems = append(problems, field.Required(p.Child("appRole", "secretIDFile"), "names a file with a secret id"))
		}
	}
	if k := l.Kubernetes; k != nil {
		set++
		problems = append(problems, mount(p.Child("kubernetes", "mount"), k.Where())...)
		if k.Role == "" {
			problems = append(problems, field.Required(p.Child("kubernetes", "role"), "is the role that Vault has for this service account"))
		}
	}
	if set != 1 {
		problems = append(problems, field.Required(p, "must have one of token, appRole and kubernetes"))
	}
	return problems
}

// Validate names every problem.
func (r Reference) Validate(p *field.Path) (problems field.ErrorList) {
	problems = mount(p.Child("mount"), r.Engine())
	if r.Path == "" {
		problems = append(problems, field.Required(p.Child("path"), "is the secret's, below the mount"))
	} else if !clean(r.Path) {
		problems = append(problems, field.Invalid(p.Child("path"), r.Path, "must be words with / between, below the mount and without a / at its ends"))
	}
	if r.Version < 0 {
		problems = append(problems, field.Invalid(p.Child("version"), r.Version, "must be 0 for the newest, or a version"))
	}
	return problems
}

func mount(p *field.Path, value string) field.ErrorList {
	if clean(value) {
		return nil
	}
	return field.ErrorList{field.Invalid(p, value, "must be words with / between, without a / at its ends")}
}

// clean tells whether a path stays below where it is put: what cleans itself to
// something else could lead out.
func clean(value string) bool {
	return value != "." && path.Clean(value) == value && !path.IsAbs(value) && !strings.HasPrefix(value, "..") && !strings.ContainsAny(value, "?#%\\\r\n\x00")
}

// String is how a secret is called in messages.
func (r Reference) String() string { return path.Join(r.Engine(), r.Path) }

// Host is the server as messages call it.
func (s Server) Host() string {
	at, err := url.Parse(s.Address)
	if err != nil {
		return "(unreadable address)"
	}
	if at.Port() == "" {
		return at.Hostname()
	}
	return net.JoinHostPort(at.Hostname(), at.Port())
}
