// Package mask takes secrets out of text that leaves a cluster, as logs do: what
// looks like one, and what is known to be one. The export of logs calls it.
//
// It knows nothing of where a text comes from. In doubt it takes out too much:
// a log with a hole is still of use, a key in a ticket is not to be called back.
package mask

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Mark stands where a secret was.
const Mark = "***"

// leastLiteral is the shortest secret that is searched for by itself: shorter
// ones are words that occur everywhere.
const leastLiteral = 8

// Masker takes secrets out. It may be used by many goroutines.
type Masker struct {
	literals *strings.Replacer
}

// New returns a masker that also takes out the given secrets, wherever they
// stand, line by line, and in base64.
func New(secrets ...[]byte) *Masker {
	var all []string
	add := func(text string) {
		if text = strings.TrimSpace(text); len(text) >= leastLiteral {
			all = append(all, text)
		}
	}
	for _, s := range secrets {
		encoded := base64.StdEncoding.EncodeToString(s)
		if len(s) >= leastLiteral {
			add(encoded)
			// Whatever stands before it in what is encoded, its end is its own.
			add(strings.TrimRight(encoded, "="))
		}
		for line := range strings.Lines(string(s)) {
			if !strings.HasPrefix(line, "-----") {
				add(line)
			}
		}
	}
	// Of two that begin alike the longer is to be found first.
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	for _, text := range slices.Compact(all) {
		pairs = append(pairs, text, Mark)
	}
	return &Masker{literals: strings.NewReplacer(pairs...)}
}

// sensitive are the ends of names whose values are secrets.
const sensitive = `(?:passwd|password|passphrase|pwd|secret|token|credentials?|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|` +
	`encryption[_-]?key|certificate[_-]?key|key[_-]data|client[_-]key|auth)`

var (
	// privateKey is a whole key on one line, as in JSON, or the rest of a line
	// with which one begins.
	privateKey = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:.*?-----END [A-Z0-9 ]*PRIVATE KEY-----|.*)`)
	// encodedPEM is base64 of "-----BEGIN ", to its end.
	encodedPEM = regexp.MustCompile(`LS0tLS1CRUdJTi[A-Za-z0-9+/_=-]+`)
	// webToken is a JSON web token, of which any part may be cut off.
	webToken = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)+`)
	// bootstrapToken is of kubeadm's form: an id and a secret.
	bootstrapToken = regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`)
	authorization  = regexp.MustCompile(`(?i)(authorization["'\\]*\s*[:=]\s*\[?["'\\]*)([^"'\r\n]+)`)
	bearer         = regexp.MustCompile(`(?i)\b(bearer\s+)([A-Za-z0-9+/=._~-]{8,})`)
	userInfo       = regexp.MustCompile(`://[^/\s@"']+:[^/\s@"']*@`)
	value          = `(?:\\"[^"]*\\"|"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s"',;&}\]\\]+)`
	assignment     = regexp.MustCompile(`(?i)([\w.-]*` + sensitive + `["'\\]*\s*[:=]\s*)(` + value + `)`)
	flag           = regexp.MustCompile(`(?i)((?:^|[\s"'\[])--?[\w-]*` + sensitive + `\s+)([^\s=-]\S*)`)
	// named is an environment variable in JSON.
	named = regexp.MustCompile(`(?i)(\\?"name\\?"\s*:\s*\\?"[\w.-]*` + sensitive + `[\w.-]*\\?"\s*,\s*\\?"value\\?"\s*:\s*)(` + value + `)`)
	// nameLine and valueLine are the same in YAML, on lines of their own.
	nameLine  = regexp.MustCompile(`(?i)^(?:[\s-]*)name:\s*["']?[\w.-]*` + sensitive + `[\w.-]*["']?\s*$`)
	valueLine = regexp.MustCompile(`^(\s*value:\s*)(.+?)(\s*)$`)
	// blockLine begins a text of several lines in YAML.
	blockLine = regexp.MustCompile(`(?i)^(\s*(?:- )?["']?[\w.-]*` + sensitive + `["']?:\s*)[|>][0-9+-]*\s*$`)
	// plain are values that are no secret whatever they are called.
	plain = regexp.MustCompile(`^["'\\]*(?:true|false|null|nil|<nil>|none|[0-9]{1,5}|/[\w./-]+|\{.*|\[.*|)["'\\]*$`)
)

// inline takes out what stands on one line.
func (m *Masker) inline(line string) string {
	line = privateKey.ReplaceAllString(line, "-----BEGIN PRIVATE KEY-----"+Mark)
	line = m.literals.Replace(line)
	line = encodedPEM.ReplaceAllStringFunc(line, func(text string) string {
		if publicPEM(text) {
			return text
		}
		return Mark
	})
	line = webToken.ReplaceAllString(line, Mark)
	line = bootstrapToken.ReplaceAllString(line, Mark)
	line = userInfo.ReplaceAllString(line, "://"+Mark+"@")
	line = authorization.ReplaceAllString(line, "${1}"+Mark)
	line = bearer.ReplaceAllString(line, "${1}"+Mark)
	for _, pattern := range []*regexp.Regexp{named, assignment, flag} {
		line = pattern.ReplaceAllStringFunc(line, func(text string) string {
			parts := pattern.FindStringSubmatch(text)
			if plain.MatchString(parts[2]) {
				return text
			}
			return parts[1] + quoted(parts[2])
		})
	}
	return line
}

// quoted is the mark in the quotes of what it replaces, so that JSON stays JSON.
func quoted(text string) string {
	for _, q := range []string{`\"`, `"`, `'`} {
		if strings.HasPrefix(text, q) {
			return q + Mark + q
		}
	}
	return Mark
}

// publicHead is enough of an encoded PEM file to read what it is.
const publicHead = 44

// publicPEM tells that an encoded PEM file begins with a certificate or a public
// key and holds no private one.
func publicPEM(text string) bool {
	text = strings.TrimRight(text, "=")
	decoded, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		if decoded, err = base64.RawStdEncoding.DecodeString(text[:min(len(text), publicHead)]); err != nil {
			return false
		}
	}
	return !bytes.Contains(decoded, []byte("PRIVATE"))
}

// longestKey is how many lines a private key has at most: one of RSA with 16384
// bits has 200.
const longestKey = 400

// longestLine bounds what is kept of a line. A longer one is left out, as a
// secret could stand where it would be cut.
const longestLine = 4 << 20

// Writer returns one that takes secrets out of what is written to it, line by
// line, and passes the rest on. Close writes the last line where no line's end
// came; it does not close w.
func (m *Masker) Writer(w io.Writer) io.WriteCloser { return &writer{masker: m, to: w} }

type writer struct {
	masker *Masker
	to     io.Writer
	line   []byte
	// tooLong says that the line's beginning was thrown away.
	tooLong bool
	// inKey counts the lines of a private key that has begun and not ended.
	inKey int
	// named says that the line before named an environment variable of a secret.
	named bool
	// block is the indent of a name whose text of several lines goes on; -1 for none.
	inBlock bool
	block   int
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		part := rest
		if end >= 0 {
			part = rest[:end]
		}
		if len(w.line)+len(part) > longestLine {
			w.line, w.tooLong = nil, true
		} else if !w.tooLong {
			w.line = append(w.line, part...)
		}
		if end < 0 {
			break
		}
		if err := w.flush("\n"); err != nil {
			return 0, err
		}
		rest = rest[end+1:]
	}
	return len(p), nil
}

// Close implements io.Closer.
func (w *writer) Close() error {
	if len(w.line) == 0 && !w.tooLong {
		return nil
	}
	return w.flush("")
}

func (w *writer) flush(end string) error {
	line := string(w.line)
	if w.tooLong {
		line = "(a line too long to be searched for secrets is left out)"
	}
	w.line, w.tooLong = w.line[:0], false
	text, keep := w.mask(line)
	if !keep {
		return nil
	}
	_, err := io.WriteString(w.to, text+end)
	return err
}

// mask masks a line in the light of those before it; not kept are lines of what
// has been taken out already.
func (w *writer) mask(line string) (text string, keep bool) {
	if w.inKey > 0 {
		w.inKey++
		if strings.Contains(line, "-----END") || w.inKey > longestKey {
			w.inKey = 0
		}
		return "", false
	}
	if begins := privateKey.FindString(line); begins != "" && !strings.Contains(begins, "-----END") {
		w.inKey = 1
	}
	indent := len(line) - len(strings.TrimLeft(line, " "))
	if w.inBlock {
		if strings.TrimSpace(line) == "" || indent > w.block {
			return "", false
		}
		w.inBlock = false
	}
	if parts := blockLine.FindStringSubmatch(line); parts != nil {
		w.inBlock, w.block = true, indent
		return parts[1] + Mark, true
	}
	wasNamed := w.named
	w.named = nameLine.MatchString(line)
	if parts := valueLine.FindStringSubmatch(line); wasNamed && parts != nil {
		if strings.HasPrefix(parts[2], "|") || strings.HasPrefix(parts[2], ">") {
			w.inBlock, w.block = true, indent
		}
		return parts[1] + Mark + parts[3], true
	}
	return w.masker.inline(line), true
}

// Text masks a whole text.
func (m *Masker) Text(text string) string {
	var out strings.Builder
	w := m.Writer(&out)
	// A builder takes everything.
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return out.String()
}
