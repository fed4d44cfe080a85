// Package access decides who may do what in the image cache: users of an htpasswd
// file, tokens of a file, and grants of the configuration. The server asks it.
//
// It must not know what is pulled or pushed: only names of repositories, and four
// actions.
package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/crypto/bcrypt"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
)

// Action is what somebody may do in a repository.
type Action string

// The actions. Admin is for the cache itself: its state, and its housekeeping.
const (
	Pull   Action = "pull"
	Push   Action = "push"
	Delete Action = "delete"
	Admin  Action = "admin"
)

// Actions are all there are.
func Actions() []Action { return []Action{Pull, Push, Delete, Admin} }

const (
	// Anonymous are those who did not log in, in a grant.
	Anonymous = "anonymous"
	// Everyone is every user who did.
	Everyone = "*"
)

// Grant lets users act in repositories.
type Grant struct {
	Users []string
	// Repositories are names, or beginnings of names with an asterisk behind:
	// team/app, team/*, *. Those of upstreams begin with the upstream: docker.io/*.
	Repositories []string
	Actions      []Action
}

func (g Grant) allows(action Action, repository string) bool {
	return slices.Contains(g.Actions, action) && slices.ContainsFunc(g.Repositories, func(pattern string) bool { return matches(pattern, repository) })
}

func matches(pattern, repository string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(repository, prefix)
	}
	return pattern == repository
}

// Options say where users and tokens stand.
type Options struct {
	// HtpasswdFile has lines NAME:BCRYPT; none when empty.
	HtpasswdFile string
	// TokensFile is read by ParseTokens; none when empty.
	TokensFile string
	Grants     []Grant
	// Clock is the real one when nil.
	Clock clock.PassiveClock
	Log   logr.Logger
}

// Guard knows users and tokens, and reads their files again when they change. A
// nil Guard lets everybody do everything.
type Guard struct {
	o Options
	// key makes digests of passwords useless outside this process.
	key [32]byte

	mu       sync.Mutex
	looked   time.Time
	htpasswd file[map[string][]byte]
	tokens   file[[]Token]
	// right are digests of passwords that bcrypt has found right: it takes long on
	// purpose, and clients send the password with every request.
	right map[[32]byte]bool
}

// NewGuard reads the files. Invalid when one cannot be read.
func NewGuard(o Options) (*Guard, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	g := &Guard{o: o, right: map[[32]byte]bool{}}
	if _, err := rand.Read(g.key[:]); err != nil {
		return nil, err
	}
	g.htpasswd = file[map[string][]byte]{path: o.HtpasswdFile, parse: ParseHtpasswd}
	g.tokens = file[[]Token]{path: o.TokensFile, parse: ParseTokens}
	if err := g.htpasswd.load(); err != nil {
		return nil, err
	}
	return g, g.tokens.load()
}

// Identity is who sent a request.
type Identity struct {
	name   string
	grants []Grant
	open   bool
}

// Name is the user's, or the token's.
func (i Identity) Name() string { return i.name }

// Anonymous says that nobody logged in.
func (i Identity) Anonymous() bool { return i.name == Anonymous }

// May says whether an action is granted in a repository.
func (i Identity) May(action Action, repository string) bool {
	return i.open || slices.ContainsFunc(i.grants, func(g Grant) bool { return g.allows(action, repository) })
}

// MayAny says whether anything is granted at all.
func (i Identity) MayAny() bool { return i.open || len(i.grants) > 0 }

// Identify finds out who sends a request: a user or a token by Basic (a token is
// the password, whatever the name), a token by Bearer. Denied when what it sends
// is wrong; who sends nothing is Anonymous.
func (g *Guard) Identify(r *http.Request) (Identity, error) {
	if g == nil {
		return Identity{name: Anonymous, open: true}, nil
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return g.granted(Anonymous), nil
	}
	users, tokens := g.current()
	if secret, ok := strings.CutPrefix(header, "Bearer "); ok {
		if token, ok := g.token(tokens, secret); ok {
			return token, nil
		}
		return Identity{}, fault.New(fault.Denied, "this token is not known, or its time is over")
	}
	name, password, ok := r.BasicAuth()
	if !ok {
		return Identity{}, fault.New(fault.Denied, "the Authorization header is neither Basic nor Bearer")
	}
	if token, ok := g.token(tokens, password); ok {
		return token, nil
	}
	if hash, ok := users[name]; ok && g.verify(hash, password) {
		return g.granted(name), nil
	}
	return Identity{}, fault.New(fault.Denied, "user name or password is wrong")
}

func (g *Guard) token(tokens []Token, secret string) (Identity, bool) {
	sum := sha256.Sum256([]byte(secret))
	for _, t := range tokens {
		if subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1 && (t.Expires.IsZero() || g.o.Clock.Now().Before(t.Expires)) {
			return Identity{name: "token " + t.Name, grants: []Grant{{Repositories: t.Repositories, Actions: t.Actions}}}, true
		}
	}
	return Identity{}, false
}

// granted collects what a user has been granted.
func (g *Guard) granted(name string) Identity {
	i := Identity{name: name}
	for _, grant := range g.o.Grants {
		if slices.Contains(grant.Users, name) || name != Anonymous && slices.Contains(grant.Users, Everyone) {
			i.grants = append(i.grants, grant)
		}
	}
	return i
}

// maxRight bounds what is remembered of right passwords.
const maxRight = 1024

func (g *Guard) verify(hash []byte, password string) bool {
	sum := sha256.Sum256(slices.Concat(g.key[:], hash, []byte{0}, []byte(password)))
	g.mu.Lock()
	known := g.right[sum]
	g.mu.Unlock()
	if known {
		return true
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.right) >= maxRight {
		clear(g.right)
	}
	g.right[sum] = true
	return true
}

// lookEvery is how often the files are looked at, when somebody asks.
const lookEvery = time.Second

// current returns users and tokens. A file that has become unreadable leaves those
// that were: half a file must not lock everybody out.
func (g *Guard) current() (map[string][]byte, []Token) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.o.Clock.Now(); now.Sub(g.looked) >= lookEvery {
		g.looked = now
		for _, refresh := range []func() error{g.htpasswd.refresh, g.tokens.refresh} {
			if err := refresh(); err != nil {
				g.o.Log.Error(err, "Kept the users and tokens that were known")
			}
		}
	}
	return g.htpasswd.content, g.tokens.content
}

// file is a parsed file that is read again when it changes.
type file[T any] struct {
	path    string
	parse   func([]byte) (T, error)
	seen    os.FileInfo
	content T
}

func (f *file[T]) refresh() error {
	if f.path == "" {
		return nil
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	if f.seen != nil && os.SameFile(info, f.seen) && info.ModTime().Equal(f.seen.ModTime()) && info.Size() == f.seen.Size() {
		return nil
	}
	return f.load()
}

func (f *file[T]) load() error {
	if f.path == "" {
		return nil
	}
	// Looked at before it is read: a change in between is seen the next time.
	info, err := os.Stat(f.path)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	f.seen = info
	raw, err := os.ReadFile(f.path)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	content, err := f.parse(raw)
	if err != nil {
		return fault.New(fault.Invalid, "%s: %w", f.path, err)
	}
	f.content = content
	return nil
}
