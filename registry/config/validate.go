package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/registry/access"
)

// hostGrammar is of upstreams' names: a host, perhaps with a port. They are words
// of paths and of metrics, too.
var hostGrammar = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$`)

// maxDataDir leaves room for the name of a socket, whose path has 107 bytes at most
// (unix(7)).
const maxDataDir = 90

// Validate names every problem of a configuration that has its defaults.
func (c *Configuration) Validate() field.ErrorList {
	var problems field.ErrorList
	if c.APIVersion != APIVersion {
		problems = append(problems, field.NotSupported(field.NewPath("apiVersion"), c.APIVersion, []string{APIVersion}))
	}
	if c.Kind != Kind {
		problems = append(problems, field.NotSupported(field.NewPath("kind"), c.Kind, []string{Kind}))
	}
	if !filepath.IsAbs(c.DataDir) {
		problems = append(problems, field.Invalid(field.NewPath("dataDir"), c.DataDir, "must be an absolute path"))
	}
	if len(c.DataDir) > maxDataDir {
		problems = append(problems, field.TooLong(field.NewPath("dataDir"), c.DataDir, maxDataDir))
	}
	problems = append(problems, c.validateListeners()...)
	if c.TLS != nil {
		problems = append(problems, required(field.NewPath("tls"), map[string]string{"certFile": c.TLS.CertFile, "keyFile": c.TLS.KeyFile})...)
	}
	problems = append(problems, c.validateAccess()...)
	for i, host := range c.Hosts {
		if !hostGrammar.MatchString(host) {
			problems = append(problems, field.Invalid(field.NewPath("hosts").Index(i), host, "must be HOST or HOST:PORT, in small letters"))
		}
	}
	if c.Vault != nil {
		problems = append(problems, c.Vault.Validate(field.NewPath("vault"))...)
	}
	names := map[string]bool{}
	for i, u := range c.Upstreams {
		p := field.NewPath("upstreams").Index(i)
		if c.Vault == nil && u.Credentials != nil && u.Credentials.Vault != nil {
			problems = append(problems, field.Required(field.NewPath("vault"), fmt.Sprintf("is the server that %s asks", p.Child("credentials", "vault"))))
		}
		problems = append(problems, u.validate(p)...)
		if names[u.Name] {
			problems = append(problems, field.Duplicate(p.Child("name"), u.Name))
		}
		names[u.Name] = true
		if slices.Contains(c.Hosts, u.Name) {
			problems = append(problems, field.Invalid(p.Child("name"), u.Name, "is also one of hosts, which means private repositories"))
		}
	}
	return append(problems, c.validateKeeping()...)
}

func required(p *field.Path, values map[string]string) (problems field.ErrorList) {
	for name, value := range values {
		if value == "" {
			problems = append(problems, field.Required(p.Child(name), "must name a file"))
		}
	}
	slices.SortFunc(problems, func(a, b *field.Error) int { return len(a.Field) - len(b.Field) })
	return problems
}

// validateListeners checks addresses, and that no two are the same.
func (c *Configuration) validateListeners() (problems field.ErrorList) {
	seen := map[string]bool{}
	check := func(p *field.Path, address string) {
		host, port, err := net.SplitHostPort(address)
		number, portErr := strconv.ParseUint(port, 10, 16)
		switch {
		case err != nil || portErr != nil:
			problems = append(problems, field.Invalid(p, address, "must be ADDRESS:PORT, as in 127.0.0.1:5000"))
		case host != "" && host != "localhost" && net.ParseIP(host) == nil:
			problems = append(problems, field.Invalid(p, address, "its host must be an IP address or localhost"))
		case number != 0 && seen[address]:
			problems = append(problems, field.Duplicate(p, address))
		}
		seen[address] = true
	}
	check(field.NewPath("listen"), c.Listen)
	check(field.NewPath("adminListen"), c.AdminListen)
	for i, u := range c.Upstreams {
		if u.Listen != "" {
			check(field.NewPath("upstreams").Index(i).Child("listen"), u.Listen)
		}
	}
	if c.Access == nil {
		for name, address := range map[string]string{"listen": c.Listen, "adminListen": c.AdminListen} {
			if !loopback(address) {
				problems = append(problems, field.Invalid(field.NewPath(name), address, "others than this host can reach it: set access, or listen on 127.0.0.1"))
			}
		}
	}
	return problems
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func (c *Configuration) validateAccess() (problems field.ErrorList) {
	if c.Access == nil {
		return nil
	}
	for i, g := range c.Access.Grants {
		p := field.NewPath("access", "grants").Index(i)
		if len(g.Users) == 0 {
			problems = append(problems, field.Required(p.Child("users"), `must name users, "*" or "anonymous"`))
		}
		problems = append(problems, patterns(p.Child("repositories"), g.Repositories)...)
		if len(g.Actions) == 0 {
			problems = append(problems, field.Required(p.Child("actions"), fmt.Sprintf("must be some of %v", access.Actions())))
		}
		for j, a := range g.Actions {
			if !slices.Contains(access.Actions(), a) {
				problems = append(problems, field.NotSupported(p.Child("actions").Index(j), a, access.Actions()))
			}
		}
	}
	return problems
}

func patterns(p *field.Path, all []string) (problems field.ErrorList) {
	if len(all) == 0 {
		problems = append(problems, field.Required(p, `must name repositories: team/app, team/*, or "*"`))
	}
	for i, pattern := range all {
		if err := access.CheckPattern(pattern); err != nil {
			problems = append(problems, field.Invalid(p.Index(i), pattern, "must be a name, or its beginning and an asterisk at the end"))
		}
	}
	return problems
}

func (u Upstream) validate(p *field.Path) (problems field.ErrorList) {
	if !hostGrammar.MatchString(u.Name) {
		problems = append(problems, field.Invalid(p.Child("name"), u.Name, "must be the host that images name, as in docker.io"))
	}
	if parsed, err := url.Parse(u.URL); err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" || parsed.User != nil || parsed.RawQuery != "" {
		problems = append(problems, field.Invalid(p.Child("url"), redact(u.URL), "must be http:// or https://, a host and perhaps a path, without user and query"))
	}
	if u.Credentials != nil {
		problems = append(problems, u.Credentials.validate(p.Child("credentials"))...)
	}
	for name, d := range map[string]time.Duration{"ttl": u.TTL.Duration, "stall": u.Stall.Duration, "patience": u.Patience.Duration} {
		if d < 0 {
			problems = append(problems, field.Invalid(p.Child(name), d.String(), "must not be negative"))
		}
	}
	return problems
}

func (c Credentials) validate(p *field.Path) (problems field.ErrorList) {
	set := 0
	if c.File != "" {
		set++
	}
	if c.Environment != nil {
		set++
		if c.Environment.Password == "" {
			problems = append(problems, field.Required(p.Child("environment", "password"), "must name a variable"))
		}
	}
	if c.Vault != nil {
		set++
		problems = append(problems, c.Vault.Validate(p.Child("vault"))...)
	}
	if set != 1 {
		problems = append(problems, field.Invalid(p, "", "must have one of file, environment and vault"))
	}
	return problems
}

// redact keeps a password that stands where none belongs out of the answer.
func redact(raw string) string {
	if parsed, err := url.Parse(raw); err == nil {
		return parsed.Redacted()
	}
	return "(not shown: it cannot be read)"
}

// validateKeeping checks what decides how long things stay.
func (c *Configuration) validateKeeping() (problems field.ErrorList) {
	collection := field.NewPath("collection")
	for name, d := range map[string]time.Duration{"grace": c.Collection.Grace.Duration, "unfinished": c.Collection.Unfinished.Duration} {
		if d < time.Minute {
			problems = append(problems, field.Invalid(collection.Child(name), d.String(), "must be 1m or more: a push takes a while from its first blob to its manifest"))
		}
	}
	if size := c.Cap.Size; size != nil && size.Value() <= 0 {
		problems = append(problems, field.Invalid(field.NewPath("cap", "size"), size.String(), "must be more than 0"))
	}
	if rate := c.Scrub.Rate; rate.Value() < 1<<10 {
		problems = append(problems, field.Invalid(field.NewPath("scrub", "rate"), rate.String(), "must be 1Ki or more"))
	}
	for i, r := range c.Retention {
		p := field.NewPath("retention").Index(i)
		problems = append(problems, patterns(p.Child("repositories"), r.Repositories)...)
		if r.Count == nil && r.Age.Duration == 0 {
			problems = append(problems, field.Required(p, "must have count, age, or both"))
		}
		if r.Count != nil && *r.Count < 0 {
			problems = append(problems, field.Invalid(p.Child("count"), *r.Count, "must not be negative"))
		}
		for name, d := range map[string]time.Duration{"age": r.Age.Duration, "delay": r.Delay.Duration} {
			if d < 0 {
				problems = append(problems, field.Invalid(p.Child(name), d.String(), "must not be negative"))
			}
		}
		for j, pattern := range r.Keep {
			if _, err := path.Match(pattern, ""); err != nil {
				problems = append(problems, field.Invalid(p.Child("keep").Index(j), pattern, "is not a pattern: * and ? stand for any characters, [a-z] for one"))
			}
		}
	}
	return problems
}
