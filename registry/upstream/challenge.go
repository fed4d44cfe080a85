package upstream

import "strings"

// challenge is one way to prove oneself that WWW-Authenticate offers (RFC 9110,
// section 11.6.1). Names are in lower case.
type challenge struct {
	scheme     string
	parameters map[string]string
}

// choose prefers a token, which is scoped and expires, over the password.
func choose(challenges []challenge) *challenge {
	for _, scheme := range []string{"bearer", "basic"} {
		for i := range challenges {
			if challenges[i].scheme == scheme {
				return &challenges[i]
			}
		}
	}
	return nil
}

// parseChallenges reads all values of WWW-Authenticate. What it does not
// understand it leaves out.
func parseChallenges(values []string) []challenge {
	var all []challenge
	for _, rest := range values {
		for rest = skip(rest); rest != ""; rest = skip(rest) {
			word, after := tokenOf(rest)
			if word == "" {
				// Not the beginning of anything: go on behind it.
				rest = rest[1:]
				continue
			}
			if value, end, ok := valueOf(after); ok {
				if len(all) > 0 {
					all[len(all)-1].parameters[strings.ToLower(word)] = value
				}
				rest = end
				continue
			}
			all = append(all, challenge{scheme: strings.ToLower(word), parameters: map[string]string{}})
			rest = after
		}
	}
	return all
}

func skip(s string) string { return strings.TrimLeft(s, " \t,") }

// tokenOf cuts off a token as RFC 9110, section 5.6.2, spells it.
func tokenOf(s string) (token, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>@,;:\\\"/[]?={}", r)
	})
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// valueOf reads "= value", bare or quoted.
func valueOf(s string) (value, rest string, ok bool) {
	s, ok = strings.CutPrefix(strings.TrimLeft(s, " \t"), "=")
	if !ok {
		return "", "", false
	}
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, `"`) {
		value, rest = tokenOf(s)
		return value, rest, true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), s[i+1:], true
		default:
			b.WriteByte(s[i])
		}
	}
	// A quote that never ends.
	return b.String(), "", true
}
