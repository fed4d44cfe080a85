package faulty

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// serve answers for NAME/blobs/DIGEST, NAME/manifests/REFERENCE and
// NAME/tags/list.
func (u *Upstream) serve(w http.ResponseWriter, r *http.Request, path []string) {
	if len(path) < 3 {
		http.NotFound(w, r)
		return
	}
	name, kind, reference := strings.Join(path[:len(path)-2], "/"), path[len(path)-2], path[len(path)-1]
	content, mediaType, d, ok := u.find(name, kind, reference)
	if kind == "tags" {
		u.serveTags(w, name)
		return
	}
	if r.Method == http.MethodHead {
		u.serveHead(w, r, content, mediaType, d, ok)
		return
	}
	u.mu.Lock()
	f, elsewhere := u.fault(kind == "blobs"), u.store
	u.mu.Unlock()
	if u.early(w, r, f) {
		return
	}
	if !ok {
		http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
		return
	}
	if kind == "blobs" && elsewhere != "" && !strings.HasSuffix(elsewhere, "://"+r.Host) {
		http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
		return
	}
	a := u.prepare(r, f, content, mediaType, d)
	if kind == "blobs" {
		u.mu.Lock()
		u.counts.Begins = append(u.counts.Begins, a.begin)
		u.mu.Unlock()
	} else {
		d = ""
	}
	u.send(w, r, a, d)
}

func (u *Upstream) find(name, kind, reference string) (content []byte, mediaType string, d digest.Digest, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	repo := u.repository(name)
	d = digest.Digest(reference)
	if kind == "blobs" {
		content, ok = repo.blobs[d]
		return content, "application/octet-stream", d, ok
	}
	if tagged, is := repo.tags[reference]; is {
		d = tagged
	}
	m, ok := repo.manifests[d]
	return m.content, m.mediaType, d, ok
}

func (u *Upstream) serveHead(w http.ResponseWriter, r *http.Request, content []byte, mediaType string, d digest.Digest, ok bool) {
	u.mu.Lock()
	u.counts.Heads++
	f := None
	if len(u.next) == 0 && len(u.mixed) > 0 && u.random.Float64() < u.chance {
		f = u.mixed[u.random.IntN(len(u.mixed))]
		u.counts.Faults[f]++
	}
	u.mu.Unlock()
	if u.early(w, r, f) {
		return
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
}

func (u *Upstream) serveTags(w http.ResponseWriter, name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var tags []string
	for tag := range u.repository(name).tags {
		tags = append(tags, strconv.Quote(tag))
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"name":%q,"tags":[%s]}`, name, strings.Join(tags, ","))
}

// prepare makes the answer that the request deserves, and spoils it.
func (u *Upstream) prepare(r *http.Request, f Fault, content []byte, mediaType string, d digest.Digest) *answer {
	a := &answer{status: http.StatusOK, header: http.Header{}, body: content}
	a.header.Set("Content-Type", mediaType)
	a.header.Set("Docker-Content-Digest", d.String())
	from, ranged := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	begin, err := strconv.ParseInt(strings.TrimSuffix(from, "-"), 10, 64)
	switch {
	case !ranged || err != nil || f == NoRange:
	case begin >= int64(len(content)):
		a.status, a.begin, a.body = http.StatusRequestedRangeNotSatisfiable, begin, nil
		a.header.Set("Content-Range", fmt.Sprintf("bytes */%d", len(content)))
	default:
		a.status, a.begin, a.body = http.StatusPartialContent, begin, content[begin:]
		a.header.Set("Content-Range", contentRange(begin, len(a.body), len(content)))
	}
	a.sent = len(a.body)
	u.spoil(f, a, content)
	return a
}

// piece is how much is sent at once: small enough that a paced blob flows.
const piece = 64 << 10

// send writes an answer; d is the blob's digest, or empty for a manifest.
func (u *Upstream) send(w http.ResponseWriter, r *http.Request, a *answer, d digest.Digest) {
	for key, values := range a.header {
		w.Header()[key] = values
	}
	if !a.bare {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	u.mu.Lock()
	h, pace := u.holds[d], u.pace
	u.mu.Unlock()
	for at := 0; at < a.sent; {
		end := min(a.sent, at+piece)
		if pace == 0 && h == nil {
			end = min(a.sent, at+16*piece)
		}
		if h != nil && int(a.begin)+at < int(h.at) {
			end = min(end, int(h.at-a.begin))
		}
		if h != nil && int(a.begin)+at == int(h.at) {
			flush(w)
			h.once.Do(func() { close(h.reached) })
			select {
			case <-h.release:
			case <-r.Context().Done():
				return
			case <-u.closed:
				panic(http.ErrAbortHandler)
			}
		}
		n, err := w.Write(a.body[at:end])
		u.mu.Lock()
		if d != "" {
			u.counts.Bytes += int64(n)
		}
		u.mu.Unlock()
		if err != nil {
			return
		}
		at = end
		if pace > 0 {
			flush(w)
			time.Sleep(time.Duration(n) * time.Second / time.Duration(pace))
		}
	}
	if a.hangs {
		flush(w)
		u.hang(r.Context())
		panic(http.ErrAbortHandler)
	}
	if a.sent < len(a.body) {
		flush(w)
		panic(http.ErrAbortHandler)
	}
	if a.bare {
		// Without a length, what was written goes out in chunks once flushed.
		flush(w)
	}
}

func flush(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush()
}

// allowed says whether a request carries the token that is good just now, if
// one is needed. At the place that redirects lead to none is.
func (u *Upstream) allowed(r *http.Request) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	proof := r.Header.Get("Authorization")
	if u.store != "" && strings.HasSuffix(u.store, "://"+r.Host) {
		if proof != "" {
			u.counts.Leaks++
		}
		return true
	}
	return !u.demand || proof == "Bearer "+u.good()
}

func (u *Upstream) good() string { return fmt.Sprintf("token-%d", u.token) }

func (u *Upstream) challenge(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="faulty",scope="repository:any:pull",error="invalid_token"`, r.Host))
	http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
}

func (u *Upstream) serveToken(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counts.Tokens++
	user, password, _ := r.BasicAuth()
	if u.login != [2]string{} && u.login != [2]string{user, password} {
		http.Error(w, "who?", http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, `{"token":%q,"expires_in":300}`, u.good())
}
