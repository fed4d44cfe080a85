// Package enroll gives machines at their first boot what must not be in their boot
// data: the token by which they join, and their secrets. Boot data holds a ticket
// instead, which is worth something once, for a while, to one machine. Flows issue
// tickets, the agent serves the desk.
//
//	issued --claimed by a key--> bound to that key --Done--> closed
//	   `-------- expired, revoked, issued anew -------> worth nothing
//
// It must not know how machines are made, nor what it is that they are given.
package enroll

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
)

// bound is how long the key that claimed a ticket may ask again: a machine that has
// not become a node by then is made anew.
const bound = 24 * time.Hour

// Machine is who a ticket is for.
type Machine struct {
	Name string
	// UUID is the machine's own as its firmware tells it (SMBIOS), which its driver
	// knows. It keeps a ticket from being used on another machine by mistake.
	UUID string
}

// Claim is what a machine shows.
type Claim struct {
	Machine
	// Ticket is from its boot data; a machine that has claimed before needs none.
	Ticket string
	// Key is the digest of the public key that the machine made itself, and has
	// proven to hold.
	Key [sha256.Size]byte
}

// Tickets are kept in a file, as digests. They survive a restart, and who reads the
// file cannot use them.
type Tickets struct {
	file  string
	clock clock.PassiveClock

	mu  sync.Mutex
	all map[string]*record
}

type record struct {
	UUID string `json:"uuid"`
	// Ticket and Key are digests, in hexadecimal; Key is empty until the claim.
	Ticket  string    `json:"ticket"`
	Key     string    `json:"key,omitempty"`
	Expires time.Time `json:"expires"`
	Done    bool      `json:"done,omitempty"`
}

// Open reads the file, which need not exist. Faults: Invalid for one that cannot be
// read.
func Open(file string, c clock.PassiveClock) (*Tickets, error) {
	t := &Tickets{file: file, clock: c, all: map[string]*record{}}
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &t.all)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "boot tickets: %w", err)
	}
	for name, r := range t.all {
		if r == nil {
			return nil, fault.New(fault.Invalid, "boot tickets: %s: %q has no record", file, name)
		}
	}
	return t, nil
}

// Issue makes a ticket that is to be claimed within a time, longer than the slowest
// boot. It takes the place of the machine's earlier one, whoever holds that.
func (t *Tickets) Issue(m Machine, life time.Duration) (string, error) {
	if m.Name == "" || m.UUID == "" || life <= 0 {
		return "", fault.New(fault.Invalid, "a boot ticket needs a machine's name and UUID, and a time")
	}
	ticket := rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	for name, r := range t.all {
		if now.After(r.Expires.Add(bound)) {
			delete(t.all, name)
		}
	}
	t.all[m.Name] = &record{UUID: strings.ToLower(m.UUID), Ticket: digest(ticket), Expires: now.Add(life)}
	return ticket, t.write()
}

// Done closes a machine's ticket once it is a node: nobody is given anything for it
// any more. One that there is not is a success.
func (t *Tickets) Done(machine string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.all[machine]
	if !ok || r.Done {
		return nil
	}
	r.Done = true
	return t.write()
}

// Revoke forgets a machine's ticket.
func (t *Tickets) Revoke(machine string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.all[machine]; !ok {
		return nil
	}
	delete(t.all, machine)
	return t.write()
}

// refusal says why a claim is refused: to the log, never to who claims.
type refusal string

func (r refusal) Error() string { return string(r) }

// Claim binds a ticket to a key, or finds it bound to that key already: a machine
// whose answer was lost asks again. Faults: Denied, with the reason, and Internal
// when it cannot be written, whereupon nothing is to be given.
func (t *Tickets) Claim(c Claim) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	key, now := hex.EncodeToString(c.Key[:]), t.clock.Now()
	r, known := t.all[c.Name]
	if !known {
		// It is compared with something nevertheless: time does not tell names.
		r = &record{Ticket: digest(""), Key: digest("")}
	}
	rightTicket := c.Ticket != "" && same(r.Ticket, digest(c.Ticket))
	rightKey := same(r.Key, key)
	rightMachine := same(digest(r.UUID), digest(strings.ToLower(c.UUID)))
	why := refusal("")
	switch {
	case !known:
		why = "no ticket was issued for a machine of this name"
	case r.Done:
		why = "the machine is a node already"
	case !rightMachine:
		why = "the UUID is another machine's"
	case r.Key != "" && !rightKey && rightTicket:
		why = "the ticket is used: another key claimed it before"
	case r.Key != "" && !rightKey:
		why = "another key claimed the machine's ticket"
	case r.Key != "" && now.After(r.Expires.Add(bound)):
		why = "the time to ask again is over"
	case r.Key != "":
		return nil
	case !rightTicket:
		why = "the ticket is wrong"
	case !now.Before(r.Expires):
		why = "the ticket has expired"
	}
	if why != "" {
		return fault.Wrap(fault.Denied, why)
	}
	r.Key = key
	if err := t.write(); err != nil {
		r.Key = ""
		return err
	}
	return nil
}

func (t *Tickets) write() error {
	content, err := json.Marshal(t.all)
	if err == nil {
		err = renameio.WriteFile(t.file, content, 0o600, renameio.IgnoreUmask())
	}
	if err != nil {
		return fmt.Errorf("writing boot tickets: %w", err)
	}
	return nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
