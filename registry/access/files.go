package access

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/fault"
)

// ParseHtpasswd reads lines NAME:HASH as htpasswd -B writes them; every hash must
// be bcrypt's. It names every bad line.
func ParseHtpasswd(raw []byte) (map[string][]byte, error) {
	users := map[string][]byte{}
	var problems []error
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		switch _, err := bcrypt.Cost([]byte(hash)); {
		case !ok || name == "":
			problems = append(problems, fmt.Errorf("line %d is not NAME:HASH", n))
		case name == Anonymous || name == Everyone:
			problems = append(problems, fmt.Errorf("line %d: no user may be called %q", n, name))
		case err != nil:
			problems = append(problems, fmt.Errorf("line %d: the hash of %q is not bcrypt's (htpasswd -B makes one)", n, name))
		case users[name] != nil:
			problems = append(problems, fmt.Errorf("line %d: %q stands there twice", n, name))
		default:
			users[name] = []byte(hash)
		}
	}
	return users, fault.Wrap(fault.Invalid, errors.Join(append(problems, lines.Err())...))
}

// Token is a secret that lets its holder act in some repositories.
type Token struct {
	// Name is for people, and logs.
	Name string `json:"name"`
	// SHA256 is the secret's, in hexadecimal: the file does not give it away.
	SHA256       string   `json:"sha256"`
	Repositories []string `json:"repositories"`
	Actions      []Action `json:"actions"`
	// Expires is when it ends; never when zero.
	Expires time.Time `json:"expires,omitzero"`

	sum [32]byte
}

// ParseTokens reads a YAML file whose field tokens is a list of Token. It names
// every problem.
func ParseTokens(raw []byte) ([]Token, error) {
	var content struct {
		Tokens []Token `json:"tokens"`
	}
	if err := yaml.UnmarshalStrict(raw, &content); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	var problems []error
	wrong := func(i int, format string, args ...any) {
		problems = append(problems, fmt.Errorf("tokens[%d].%s", i, fmt.Sprintf(format, args...)))
	}
	names := map[string]bool{}
	for i := range content.Tokens {
		t := &content.Tokens[i]
		if t.Name == "" || names[t.Name] {
			wrong(i, "name: %q must not be empty, and stand there once", t.Name)
		}
		names[t.Name] = true
		if n, err := hex.Decode(t.sum[:], []byte(t.SHA256[:min(len(t.SHA256), 64)])); err != nil || n != 32 || len(t.SHA256) != 64 {
			wrong(i, "sha256: must be 64 hexadecimal digits, the SHA-256 of the token")
		}
		if len(t.Repositories) == 0 {
			wrong(i, `repositories: must name some: team/app, team/*, or "*"`)
		}
		for j, p := range t.Repositories {
			if err := CheckPattern(p); err != nil {
				wrong(i, "repositories[%d]: %v", j, err)
			}
		}
		if len(t.Actions) == 0 {
			wrong(i, "actions: must name some of %v", Actions())
		}
		for j, a := range t.Actions {
			if !slices.Contains(Actions(), a) {
				wrong(i, "actions[%d]: %q is not one of %v", j, a, Actions())
			}
		}
	}
	return content.Tokens, fault.Wrap(fault.Invalid, errors.Join(problems...))
}

// CheckPattern refuses what is no pattern of a Grant's repositories.
func CheckPattern(pattern string) error {
	if pattern == "" || strings.Contains(strings.TrimSuffix(pattern, "*"), "*") {
		return fault.New(fault.Invalid, "%q must be a name, or its beginning and an asterisk at the end", pattern)
	}
	return nil
}
