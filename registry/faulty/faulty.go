// Package faulty is a registry that images are pulled from, and that
// misbehaves in every way that real ones do: it cuts connections, falls silent,
// sends wrong bytes and wrong lengths, answers errors, redirects in circles and
// lets tokens expire; all mixed by a seed, or one after the other as a test
// wants them.
//
// Tests of the image cache serve it over HTTP and pull through it. It must not
// know the cache: it counts what it was asked and what it sent, and tests judge.
package faulty

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Upstream is the registry. It is an http.Handler; its methods may be called
// while it serves.
type Upstream struct {
	mu     sync.Mutex
	random *rand.Rand
	repos  map[string]*repository
	chance float64
	mixed  []Fault
	next   []Fault
	holds  map[digest.Digest]*hold
	counts Counts
	token  int
	login  [2]string
	demand bool
	down   bool
	pace   int64
	store  string
	pause  time.Duration
	closed chan struct{}
}

type repository struct {
	blobs     map[digest.Digest][]byte
	manifests map[digest.Digest]manifest
	tags      map[string]digest.Digest
}

type manifest struct {
	mediaType string
	content   []byte
}

// Counts is what an upstream was asked and what it did.
type Counts struct {
	// Blobs and Manifests count requests for content, Heads those for headers
	// alone, Tokens those for a token.
	Blobs, Manifests, Heads, Tokens int
	// Bytes counts those of blobs that were sent; Begins are where answers with
	// them began, in their order.
	Bytes  int64
	Begins []int64
	// Faults counts what was done wrong, by its name.
	Faults map[Fault]int
	// Leaks counts requests with credentials at the place that redirects lead to.
	Leaks int
}

// New returns an upstream without content that behaves well until told
// otherwise. The same seed does the same wrongs to the same requests in the
// same order.
func New(seed uint64) *Upstream {
	return &Upstream{
		random: rand.New(rand.NewPCG(seed, 0)),
		repos:  map[string]*repository{},
		holds:  map[digest.Digest]*hold{},
		counts: Counts{Faults: map[Fault]int{}},
		closed: make(chan struct{}),
	}
}

// Close lets go of everything that hangs, so that its server can be closed.
func (u *Upstream) Close() { close(u.closed) }

func (u *Upstream) repository(name string) *repository {
	if u.repos[name] == nil {
		u.repos[name] = &repository{map[digest.Digest][]byte{}, map[digest.Digest]manifest{}, map[string]digest.Digest{}}
	}
	return u.repos[name]
}

// AddBlob puts a blob into a repository.
func (u *Upstream) AddBlob(name string, content []byte) digest.Digest {
	d := digest.FromBytes(content)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.repository(name).blobs[d] = content
	return d
}

// AddManifest puts a manifest into a repository, under a tag if there is one.
func (u *Upstream) AddManifest(name, tag, mediaType string, content []byte) digest.Digest {
	d := digest.FromBytes(content)
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.repository(name)
	r.manifests[d] = manifest{mediaType, content}
	if tag != "" {
		r.tags[tag] = d
	}
	return d
}

// AddImage puts a whole image with these layers into a repository, and returns
// its manifest's digest.
func (u *Upstream) AddImage(name, tag string, layers ...[]byte) digest.Digest {
	config := []byte(fmt.Sprintf(`{"architecture":"amd64","os":"linux","config":{"Labels":{"is":%q}},"rootfs":{"type":"layers","diff_ids":[]}}`, name+":"+tag))
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: u.AddBlob(name, config), Size: int64(len(config))},
	}
	for _, layer := range layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: u.AddBlob(name, layer), Size: int64(len(layer))})
	}
	content, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return u.AddManifest(name, tag, m.MediaType, content)
}

// RemoveTag takes a tag away.
func (u *Upstream) RemoveTag(name, tag string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.repository(name).tags, tag)
}

// Mix does one of these wrongs to every request with this chance, until called
// again.
func (u *Upstream) Mix(chance float64, faults ...Fault) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.chance, u.mixed = chance, faults
}

// Next does these wrongs to the next requests, in this order, before any that
// are mixed in. None among them is a request that is answered well.
func (u *Upstream) Next(faults ...Fault) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.next = append(u.next, faults...)
}

// Login asks every request from now on for a token, and for this user and
// password at the place where tokens are given.
func (u *Upstream) Login(user, password string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.login, u.demand = [2]string{user, password}, true
	u.token++
}

// Demand asks every request from now on for a token, which everybody gets.
func (u *Upstream) Demand() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.demand = true
}

// Expire makes every token that was given useless.
func (u *Upstream) Expire() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.token++
}

// Down makes every connection end without an answer, as long as it is set.
func (u *Upstream) Down(down bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.down = down
}

// Pause is what answers with 429 ask for in Retry-After, in whole seconds.
func (u *Upstream) Pause(d time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pause = d
}

// Pace sends blobs at no more than so many bytes a second; 0 is as fast as it goes.
func (u *Upstream) Pace(bytes int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pace = bytes
}

// Elsewhere redirects requests for blobs to another address at which the same
// upstream is served, where credentials have no business.
func (u *Upstream) Elsewhere(url string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.store = url
}

// hold stops a blob on its way.
type hold struct {
	at      int64
	reached chan struct{}
	once    sync.Once
	release chan struct{}
}

// Hold sends a blob up to the byte at, and no further until release is called.
// reached is closed once somebody waits there.
func (u *Upstream) Hold(d digest.Digest, at int64) (reached <-chan struct{}, release func()) {
	h := &hold{at: at, reached: make(chan struct{}), release: make(chan struct{})}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.holds[d] = h
	return h.reached, sync.OnceFunc(func() { close(h.release) })
}

// Counts returns what was asked and done so far.
func (u *Upstream) Counts() Counts {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.counts
	c.Begins = slices.Clone(c.Begins)
	c.Faults = map[Fault]int{}
	for f, n := range u.counts.Faults {
		c.Faults[f] = n
	}
	return c
}

// fault picks what is to go wrong with a request.
func (u *Upstream) fault(blob bool) Fault {
	f := None
	switch {
	case len(u.next) > 0:
		f, u.next = u.next[0], u.next[1:]
	case len(u.mixed) > 0 && u.random.Float64() < u.chance:
		f = u.mixed[u.random.IntN(len(u.mixed))]
	}
	if f != None {
		u.counts.Faults[f]++
	}
	if blob {
		u.counts.Blobs++
	} else {
		u.counts.Manifests++
	}
	return f
}

// ServeHTTP answers what a pull asks for.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	down := u.down
	u.mu.Unlock()
	if down {
		panic(http.ErrAbortHandler)
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	switch {
	case r.URL.Path == "/token":
		u.serveToken(w, r)
	case r.URL.Path == "/loop":
		http.Redirect(w, r, "/loop", http.StatusTemporaryRedirect)
	case !ok:
		http.NotFound(w, r)
	case !u.allowed(r):
		u.challenge(w, r)
	case path == "":
		w.WriteHeader(http.StatusOK)
	default:
		u.serve(w, r, strings.Split(path, "/"))
	}
}
