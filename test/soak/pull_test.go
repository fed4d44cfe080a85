package soak_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// errAnswered is an error that the cache lived to tell.
var errAnswered = errors.New("answered")

// thing is a blob or a manifest.
type thing struct {
	path   string
	digest digest.Digest
}

// name is what the log calls it.
func (x thing) name() string { return x.path[strings.LastIndexByte(x.path, '/')+1:] }

// trouble is an error that a client saw.
type trouble struct {
	thing
	span
	err error
}

// puller is many clients.
type puller struct {
	t      *testing.T
	seed   uint64
	base   string
	things []thing

	client   http.Client
	begun    atomic.Int64
	complete int

	mu       sync.Mutex
	have     map[thing]bool
	troubles []trouble
}

// run pulls so many times; what is pulled gets newer all the time.
func (p *puller) run(ctx context.Context, pulls int) <-chan struct{} {
	p.client.Transport = &http.Transport{MaxIdleConnsPerHost: pullers}
	p.have = map[thing]bool{}
	var all sync.WaitGroup
	for worker := range pullers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(p.seed, 100+uint64(worker)))
			for n := int(p.begun.Add(1)); n <= pulls && ctx.Err() == nil; {
				known := min(len(p.things), 1+len(p.things)*n/pulls)
				i := random.IntN(known)
				if newest := 20; random.IntN(2) == 0 {
					i = max(0, known-1-random.IntN(newest))
				}
				err := p.pull(ctx, p.things[i], random)
				if err != nil {
					time.Sleep(pause)
				}
				if !errors.Is(err, syscall.ECONNREFUSED) {
					n = int(p.begun.Add(1))
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	return ended
}

// pause is how long clients leave alone what failed.
const pause = 200 * time.Millisecond

// pull pulls once, as clients do: mostly all of it, sometimes in another way,
// and some leave.
func (p *puller) pull(ctx context.Context, x thing, random *rand.Rand) error {
	began := time.Now()
	leaves := random.IntN(20) == 0
	err := p.try(ctx, x, leaves, random.IntN(10) == 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
		p.troubles = append(p.troubles, trouble{x, span{began, time.Now()}, err})
	case !leaves:
		p.complete++
		p.have[x] = true
	}
	return err
}

func (p *puller) try(ctx context.Context, x thing, leaves, resumes bool) error {
	// Longer than all that the cache waits for.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+"/v2/"+x.path, nil)
	if err != nil {
		return err
	}
	if resumes {
		req.Header.Set("Range", "bytes=0-")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		text, err := io.ReadAll(resp.Body)
		if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
			p.t.Errorf("%s: status %d, which is none of an upstream's troubles: %s", x.path, resp.StatusCode, text)
		}
		return errors.Join(fmt.Errorf("%w: status %d: %s", errAnswered, resp.StatusCode, text), err)
	}
	if leaves {
		_, _ = io.CopyN(io.Discard, resp.Body, 1000) // whatever comes
		return nil
	}
	verifier := x.digest.Verifier()
	if n, err := io.Copy(verifier, resp.Body); err != nil {
		return err
	} else if !verifier.Verified() {
		p.t.Errorf("%s: a complete answer of %d bytes has not its digest", x.path, n)
	}
	return nil
}

// again pulls everything that was had once.
func (p *puller) again() {
	p.t.Helper()
	for x := range p.have {
		if err := p.try(p.t.Context(), x, false, false); err != nil {
			p.t.Errorf("%s was pulled once, and cannot be pulled again: %v", x.path, err)
		}
	}
	if len(p.have) < len(p.things)/2 {
		p.t.Errorf("of %d things only %d were ever pulled", len(p.things), len(p.have))
	}
}

// explain wants a reason for every trouble: a line of the log that names it at
// its time, or, if it was no answer, a death while it was pulled.
func (p *puller) explain(deaths []span, log string) {
	p.t.Helper()
	lines := strings.Split(log, "\n")
	unexplained, byDeath := 0, 0
	for _, trouble := range p.troubles {
		died := !errors.Is(trouble.err, errAnswered) && slices.ContainsFunc(deaths, func(d span) bool {
			return d.from.Before(trouble.to.Add(time.Second)) && trouble.from.Before(d.to)
		})
		said := slices.ContainsFunc(lines, func(line string) bool {
			return strings.Contains(line, trouble.name()) && trouble.covers(line)
		})
		if died {
			byDeath++
		}
		if !died && !said {
			if unexplained++; unexplained <= 5 {
				p.t.Errorf("%s from %s to %s: nothing explains %v", trouble.path, trouble.from.Format(time.RFC3339Nano), trouble.to.Format(time.RFC3339Nano), trouble.err)
			}
		}
	}
	p.t.Logf("of %d errors that clients saw %d are explained by a death of the cache, the others by its log", len(p.troubles), byDeath)
	if unexplained > 5 {
		p.t.Errorf("and %d more", unexplained-5)
	}
}

// covers says whether a line of the log is of the time of a span, or just behind.
func (s span) covers(line string) bool {
	text, ok := strings.CutPrefix(line, "time=")
	at, err := time.Parse(time.RFC3339Nano, strings.SplitN(text, " ", 2)[0])
	return ok && err == nil && at.After(s.from.Add(-time.Second)) && at.Before(s.to.Add(time.Second))
}
