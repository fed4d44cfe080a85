package faulty

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Fault is one way to misbehave.
type Fault string

// The faults. Those of bodies do what they can to requests without one.
const (
	None Fault = ""
	// Cut ends the connection somewhere in the body.
	Cut Fault = "cut"
	// Stall sends some of the body, and then nothing, but keeps the connection.
	Stall Fault = "stall"
	// Silence takes the request and never answers.
	Silence Fault = "silence"
	// WrongByte changes one byte somewhere; WrongEnd the last one.
	WrongByte Fault = "wrong byte"
	WrongEnd  Fault = "wrong end"
	// Short ends early and says so in Content-Length, as if it were right; Ended
	// ends early without a length. Long adds bytes and says so.
	Short Fault = "short"
	Ended Fault = "ended"
	Long  Fault = "long"
	// Page is a page of HTML with status 200.
	Page Fault = "page"
	// Failed, Bad and Unavailable are 500, 502 and 503.
	Failed      Fault = "500"
	Bad         Fault = "502"
	Unavailable Fault = "503"
	// TooMany is 429.
	TooMany Fault = "429"
	// Loop redirects in a circle.
	Loop Fault = "redirect loop"
	// Expired refuses a good token, which never works again.
	Expired Fault = "expired token"
	// OtherRange answers with a range that was not asked for, and says so;
	// LyingRange with one that it says was the one asked for; NoRange ignores
	// that there was one.
	OtherRange Fault = "other range"
	LyingRange Fault = "lying range"
	NoRange    Fault = "no range"
)

// All are all faults.
func All() []Fault {
	return []Fault{
		Cut, Stall, Silence, WrongByte, WrongEnd, Short, Ended, Long, Page, Failed, Bad, Unavailable,
		TooMany, Loop, Expired, OtherRange, LyingRange, NoRange,
	}
}

// answer is what will be sent.
type answer struct {
	status int
	header http.Header
	body   []byte
	// begin is where in the content the body begins.
	begin int64
	// sent is how much of the body is sent before the connection is ended, or
	// hangs; the length of the body if neither.
	sent        int
	hangs, bare bool
}

// early does what goes wrong before there is any content.
func (u *Upstream) early(w http.ResponseWriter, r *http.Request, f Fault) (done bool) {
	switch f {
	case Silence:
		u.hang(r.Context())
		panic(http.ErrAbortHandler)
	case Failed, Bad, Unavailable:
		status, _ := strconv.Atoi(string(f))
		http.Error(w, "broken", status)
	case TooMany:
		u.mu.Lock()
		pause := u.pause
		u.mu.Unlock()
		if pause > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(pause/time.Second)))
		}
		http.Error(w, `{"errors":[{"code":"TOOMANYREQUESTS"}]}`, http.StatusTooManyRequests)
	case Loop:
		http.Redirect(w, r, "/loop", http.StatusTemporaryRedirect)
	case Expired:
		u.Expire()
		u.challenge(w, r)
	case Page:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>Please log in to the network.</html>"))
	default:
		return false
	}
	return true
}

// spoil does what goes wrong with content.
func (u *Upstream) spoil(f Fault, a *answer, content []byte) {
	n := len(a.body)
	if n == 0 {
		return
	}
	u.mu.Lock()
	at := u.random.IntN(n)
	u.mu.Unlock()
	switch f {
	case Cut:
		a.sent = at
	case Stall:
		a.sent, a.hangs = at, true
	case WrongByte:
		a.body = flipped(a.body, at)
	case WrongEnd:
		a.body = flipped(a.body, n-1)
	case Short:
		a.body = a.body[:at]
		a.sent = at
		if a.status == http.StatusPartialContent {
			a.header.Set("Content-Range", contentRange(a.begin, at, int(a.begin)+at))
		}
	case Ended:
		a.body, a.sent, a.bare = a.body[:at], at, true
		if a.status == http.StatusPartialContent {
			a.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", a.begin, len(content)-1))
		}
	case Long:
		a.body = append(bytes.Clone(a.body), "and more"...)
		a.sent = len(a.body)
		if a.status == http.StatusPartialContent {
			a.header.Set("Content-Range", contentRange(a.begin, len(a.body), int(a.begin)+len(a.body)))
		}
	case OtherRange, LyingRange:
		if a.status != http.StatusPartialContent {
			return
		}
		// From the beginning, which is never what was asked for.
		a.body = content[:n]
		if f == OtherRange {
			a.header.Set("Content-Range", contentRange(0, n, len(content)))
		}
	}
}

func contentRange(begin int64, n, size int) string {
	return fmt.Sprintf("bytes %d-%d/%d", begin, max(begin, begin+int64(n)-1), max(size, int(begin)+1))
}

func flipped(content []byte, at int) []byte {
	content = bytes.Clone(content)
	content[at] ^= 0x40
	return content
}

// hang waits until whoever asked has gone.
func (u *Upstream) hang(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-u.closed:
	}
}
