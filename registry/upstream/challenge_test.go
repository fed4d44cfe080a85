package upstream

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseChallenges(t *testing.T) {
	one := func(scheme string, pairs ...string) challenge {
		c := challenge{scheme, map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			c.parameters[pairs[i]] = pairs[i+1]
		}
		return c
	}
	for name, tc := range map[string]struct {
		values []string
		want   []challenge
	}{
		"docker": {
			[]string{`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull",error="invalid_token"`},
			[]challenge{one("bearer", "realm", "https://auth.docker.io/token", "service", "registry.docker.io", "scope", "repository:library/nginx:pull", "error", "invalid_token")},
		},
		"two in one line":     {[]string{`Basic realm="a, b", Bearer realm=c , scope = "d e"`}, []challenge{one("basic", "realm", "a, b"), one("bearer", "realm", "c", "scope", "d e")}},
		"two lines":           {[]string{`BASIC REALM="a"`, `bearer realm="b"`}, []challenge{one("basic", "realm", "a"), one("bearer", "realm", "b")}},
		"a quote inside":      {[]string{`Basic realm="a\"b\\"`}, []challenge{one("basic", "realm", `a"b\`)}},
		"no parameters":       {[]string{`Negotiate`}, []challenge{one("negotiate")}},
		"an endless quote":    {[]string{`Basic realm="a`}, []challenge{one("basic", "realm", "a")}},
		"nothing":             {[]string{""}, nil},
		"nothing known":       {[]string{`"`, `=`, `,,,`}, nil},
		"a parameter alone":   {[]string{`realm="a"`}, nil},
		"not what is allowed": {[]string{"Basic\x00 realm=a"}, []challenge{one("basic", "realm", "a")}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, parseChallenges(tc.values), cmp.AllowUnexported(challenge{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParseChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://auth.docker.io/token",service="a\"b"`)
	f.Add(`Basic realm=a, Negotiate abc==`)
	f.Fuzz(func(t *testing.T, value string) {
		for _, c := range parseChallenges([]string{value}) {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) || c.parameters == nil {
				t.Errorf("%q gives %+v", value, c)
			}
		}
	})
}

func TestContentRange(t *testing.T) {
	for value, want := range map[string][2]int64{
		"bytes 5-9/10": {5, 10}, "bytes 0-0/1": {0, 1}, "bytes 5-9/*": {5, -1}, "bytes */10": {-1, 10},
	} {
		if begin, size, ok := contentRange(value); !ok || begin != want[0] || size != want[1] {
			t.Errorf("%q: got %d, %d, %v", value, begin, size, ok)
		}
	}
	for _, value := range []string{"", "bytes", "bytes ", "bytes 5-9", "bytes 9-5/10", "bytes 5-10/10", "bytes */*", "bytes -5/10", "bytes 5-/10", "bytes a-b/c", "items 5-9/10", "bytes 5-9/-1", "bytes 99999999999999999999-9/10"} {
		if begin, size, ok := contentRange(value); ok {
			t.Errorf("%q is taken as %d, %d", value, begin, size)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 5-9/10")
	f.Add("bytes */10")
	f.Fuzz(func(t *testing.T, value string) {
		if begin, size, ok := contentRange(value); ok && (begin < -1 || size < -1 || size >= 0 && begin >= size && begin > 0) {
			t.Errorf("%q gives %d, %d", value, begin, size)
		}
	})
}
