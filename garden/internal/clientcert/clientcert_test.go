package clientcert_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/loam-cloud/loam/garden/internal/clientcert"
)

// TestRemember wants a certificate looked at once in ten seconds, not beyond its
// own end, and requests with a token always.
func TestRemember(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		certificates  [2]string
		lives, pause  time.Duration
		authorization string
		refused       bool
		want          int
	}{
		"the same, at once":               {certificates: [2]string{"a", "a"}, lives: time.Hour, want: 1},
		"the same, nine seconds later":    {certificates: [2]string{"a", "a"}, lives: time.Hour, pause: 9 * time.Second, want: 1},
		"the same, eleven seconds later":  {certificates: [2]string{"a", "a"}, lives: time.Hour, pause: 11 * time.Second, want: 2},
		"the same, which ended meanwhile": {certificates: [2]string{"a", "a"}, lives: 2 * time.Second, pause: 3 * time.Second, want: 2},
		"another":                         {certificates: [2]string{"a", "b"}, lives: time.Hour, want: 2},
		"the same, refused":               {certificates: [2]string{"a", "a"}, lives: time.Hour, refused: true, want: 2},
		"with a token":                    {certificates: [2]string{"a", "a"}, lives: time.Hour, authorization: "Bearer x", want: 2},
		"none":                            {lives: time.Hour, want: 2},
	} {
		t.Run(name, func(t *testing.T) {
			clock, asked := clocktesting.NewFakePassiveClock(now), 0
			remembering := clientcert.Remember(authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
				asked++
				who := "nobody"
				if len(r.TLS.PeerCertificates) > 0 {
					who = string(r.TLS.PeerCertificates[0].Raw)
				}
				return &authenticator.Response{User: &user.DefaultInfo{Name: who}}, !test.refused, nil
			}), clock)
			for i, raw := range test.certificates {
				request := &http.Request{Header: http.Header{}, TLS: &tls.ConnectionState{}}
				if raw != "" {
					request.TLS.PeerCertificates = []*x509.Certificate{{Raw: []byte(raw), NotAfter: now.Add(test.lives)}}
				}
				if test.authorization != "" {
					request.Header.Set("Authorization", test.authorization)
				}
				response, ok, err := remembering.AuthenticateRequest(request)
				if err != nil || ok == test.refused {
					t.Fatalf("request %d: %t, %v", i, ok, err)
				}
				if raw != "" && response.User.GetName() != raw {
					t.Errorf("request %d is taken for %q's, want %q's", i, response.User.GetName(), raw)
				}
				clock.SetTime(now.Add(test.pause))
			}
			if asked != test.want {
				t.Errorf("asked %d times, want %d", asked, test.want)
			}
		})
	}
}
