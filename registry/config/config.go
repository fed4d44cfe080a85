// Package config is the configuration file of the image cache: its types, its
// defaults, and what is wrong with one. The command line reads it, the wiring
// turns it into a running cache.
//
// It must not open anything that it names: files, addresses and upstreams are
// looked at by those who use them.
package config

import (
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/api/vault"
	"github.com/loam-cloud/loam/registry/access"
)

// APIVersion and Kind are what the file says that it is.
const (
	APIVersion = "loam.dev/v1alpha1"
	Kind       = "RegistryConfiguration"
)

// Configuration is the file.
type Configuration struct {
	metav1.TypeMeta `json:",inline"`

	// DataDir is the folder of blobs and index; <data>/registry when empty.
	DataDir string `json:"dataDir,omitempty"`
	// Listen is the address of private repositories, and of all upstreams for
	// clients that say ?ns=, as containerd does; 127.0.0.1:5050.
	Listen string `json:"listen,omitempty"`
	// AdminListen is the address of metrics and state; 127.0.0.1:5001.
	AdminListen string `json:"adminListen,omitempty"`
	// TLS makes all listeners speak TLS.
	TLS *TLS `json:"tls,omitempty"`
	// Access says who may do what; without it everybody may, which is refused where
	// others than this host can reach private repositories.
	Access *Access `json:"access,omitempty"`
	// Hosts are names and ports under which clients know the private repositories.
	Hosts []string `json:"hosts,omitempty"`
	// Vault is where credentials of upstreams may be.
	Vault *vault.Server `json:"vault,omitempty"`
	// Upstreams are what is cached; docker.io, ghcr.io, quay.io, registry.k8s.io and
	// reg.kyverno.io when there are none.
	Upstreams []Upstream `json:"upstreams,omitempty"`
	// Offline serves what is stored and asks no upstream.
	Offline bool `json:"offline,omitempty"`
	// Collection removes what nothing needs.
	Collection Collection `json:"collection,omitzero"`
	// Cap bounds what is cached.
	Cap Cap `json:"cap,omitzero"`
	// Retention removes old tags of private repositories. The first rule that names
	// a repository is its own.
	Retention []Retention `json:"retention,omitempty"`
	// Scrub reads everything again.
	Scrub Scrub `json:"scrub,omitzero"`
}

// TLS names a certificate; the files are read again when they change.
type TLS struct {
	CertFile string `json:"certFile"`
	KeyFile  string `json:"keyFile"`
}

// Access says who may do what.
type Access struct {
	// HtpasswdFile has users with bcrypt hashes, as htpasswd -B writes it.
	HtpasswdFile string `json:"htpasswdFile,omitempty"`
	// TokensFile has tokens with what they are for.
	TokensFile string `json:"tokensFile,omitempty"`
	// Grants are what users may do. Without any, every user may pull and push
	// everywhere, and everybody may pull what is cached.
	Grants []Grant `json:"grants,omitempty"`
}

// Grant lets users act in repositories.
type Grant struct {
	// Users are names, "*" for all, or "anonymous" for those who do not log in.
	Users []string `json:"users"`
	// Repositories are names, or beginnings with an asterisk: team/app, team/*,
	// docker.io/*.
	Repositories []string `json:"repositories"`
	// Actions are some of pull, push, delete, admin.
	Actions []access.Action `json:"actions"`
}

// Upstream is a registry that is cached.
type Upstream struct {
	// Name is the host that images name: docker.io.
	Name string `json:"name"`
	// URL is where it is asked; https:// and the name when empty.
	URL string `json:"url,omitempty"`
	// Listen is an address for this upstream alone, for clients without ?ns=.
	Listen string `json:"listen,omitempty"`
	// Credentials are what it is asked with; nobody's when missing.
	Credentials *Credentials `json:"credentials,omitempty"`
	// TTL is how long a tag is believed before the upstream is asked again; 1m.
	TTL metav1.Duration `json:"ttl,omitzero"`
	// Stall is how long an upstream may send nothing before it is given up; 30s.
	Stall metav1.Duration `json:"stall,omitzero"`
	// Patience is how long a client waits for an upstream to confirm a tag that is
	// stored; 5s.
	Patience metav1.Duration `json:"patience,omitzero"`
	// StopAbandoned ends a download when everyone who waited for it has left; the next
	// pull takes it up there. It is finished otherwise: who left comes again.
	StopAbandoned bool `json:"stopAbandoned,omitempty"`
	// CAFile has further authorities that its certificate may be of.
	CAFile string `json:"caFile,omitempty"`
	// Offline serves what is stored and does not ask this upstream.
	Offline bool `json:"offline,omitempty"`
}

// Credentials name where a user and a password are; read anew each time.
type Credentials struct {
	// File has one line USER:PASSWORD, or is a configuration file of docker.
	File string `json:"file,omitempty"`
	// Environment has names of variables.
	Environment *EnvironmentCredentials `json:"environment,omitempty"`
	// Vault names a secret of the server that the field vault of the file says.
	Vault *VaultCredentials `json:"vault,omitempty"`
}

// VaultCredentials are two keys of a secret of Vault.
type VaultCredentials struct {
	vault.Reference `json:",inline"`
	// UserKey and PasswordKey are user and password when empty. A secret without
	// the user's key is a token.
	UserKey     string `json:"userKey,omitempty"`
	PasswordKey string `json:"passwordKey,omitempty"`
}

// EnvironmentCredentials are the names of two variables.
type EnvironmentCredentials struct {
	User     string `json:"user,omitempty"`
	Password string `json:"password"`
}

// Collection removes what nothing needs.
type Collection struct {
	// Interval is how far apart collections are; 24h, none when negative.
	Interval metav1.Duration `json:"interval,omitzero"`
	// Grace protects what is younger, or was used later; 1h.
	Grace metav1.Duration `json:"grace,omitzero"`
	// Untagged removes manifests that no tag, index or subject leads to.
	Untagged bool `json:"untagged,omitempty"`
	// Unfinished is how long an upload or download may rest before it is removed; 24h.
	Unfinished metav1.Duration `json:"unfinished,omitzero"`
}

// Cap bounds what is cached. What was used longest ago goes first.
type Cap struct {
	// Size is what all blobs may take, private ones included; no bound when missing.
	Size *resource.Quantity `json:"size,omitempty"`
}

// Retention says which tags of repositories stay. A tag goes when it is not among
// the newest Count, is older than Age, and no pattern of Keep names it.
type Retention struct {
	Repositories []string `json:"repositories"`
	// Count is how many of the newest tags stay; at least one of Count and Age is
	// to be given.
	Count *int `json:"count,omitempty"`
	// Age is how old a tag has to be before it goes.
	Age metav1.Duration `json:"age,omitzero"`
	// Keep are patterns of tags that stay, as path.Match has them: v*, latest.
	Keep []string `json:"keep,omitempty"`
	// Delay is how long a tag is marked before it goes; it can be seen, and
	// saved by a push or a change of the rule, until then.
	Delay metav1.Duration `json:"delay,omitzero"`
}

// Scrub reads everything again.
type Scrub struct {
	// Interval is how far apart scrubs are; 168h, none when negative.
	Interval metav1.Duration `json:"interval,omitzero"`
	// Rate is how many bytes are read in a second; 50Mi.
	Rate *resource.Quantity `json:"rate,omitempty"`
}

// Defaults.
const (
	defaultListen      = "127.0.0.1:5050"
	defaultAdminListen = "127.0.0.1:5001"
	defaultGrace       = time.Hour
	day                = 24 * time.Hour
	defaultRate        = 50 << 20
)

// dockerHub is where images of docker.io are.
const dockerHub = "https://registry-1.docker.io"

// Default fills in what the file leaves out. dataDir is where the cache lies when
// the file does not say it.
func (c *Configuration) Default(dataDir string) {
	orElse(&c.DataDir, dataDir)
	orElse(&c.Listen, defaultListen)
	orElse(&c.AdminListen, defaultAdminListen)
	if len(c.Upstreams) == 0 {
		c.Upstreams = []Upstream{
			{Name: "docker.io", Listen: "127.0.0.1:5000"},
			{Name: "ghcr.io", Listen: "127.0.0.1:5010"},
			{Name: "quay.io", Listen: "127.0.0.1:5020"},
			{Name: "registry.k8s.io", Listen: "127.0.0.1:5030"},
			{Name: "reg.kyverno.io", Listen: "127.0.0.1:5040"},
		}
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		if u.URL == "" && u.Name == "docker.io" {
			u.URL = dockerHub
		}
		orElse(&u.URL, "https://"+u.Name)
		orElse(&u.TTL.Duration, time.Minute)
		orElse(&u.Stall.Duration, 30*time.Second)
		orElse(&u.Patience.Duration, 5*time.Second)
		u.Offline = u.Offline || c.Offline
		if u.Credentials != nil && u.Credentials.Vault != nil {
			orElse(&u.Credentials.Vault.UserKey, "user")
			orElse(&u.Credentials.Vault.PasswordKey, "password")
		}
	}
	if c.Access != nil && len(c.Access.Grants) == 0 {
		c.Access.Grants = []Grant{{Users: []string{access.Everyone}, Repositories: []string{"*"}, Actions: []access.Action{access.Pull, access.Push}}}
		for _, u := range c.Upstreams {
			c.Access.Grants = append(c.Access.Grants, Grant{Users: []string{access.Anonymous}, Repositories: []string{u.Name + "/*"}, Actions: []access.Action{access.Pull}})
		}
	}
	orElse(&c.Collection.Interval.Duration, day)
	orElse(&c.Collection.Grace.Duration, defaultGrace)
	orElse(&c.Collection.Unfinished.Duration, day)
	orElse(&c.Scrub.Interval.Duration, 7*day)
	if c.Scrub.Rate == nil {
		c.Scrub.Rate = resource.NewQuantity(defaultRate, resource.BinarySI)
	}
}

func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
