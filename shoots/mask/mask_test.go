package mask_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/loam-cloud/loam/shoots/mask"
)

const (
	key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFake\nAAAABBBBCCCCDDDDEEEE\n-----END EC PRIVATE KEY-----\n"
	crt = "-----BEGIN CERTIFICATE-----\nMIIBdzCCAR2gAwIBAgIBADAKBggqhkjOPQQDAjAjMSEwHwYDVQQDDBhrM3Mtc2Vy\n-----END CERTIFICATE-----\n"
	jwt = "eyJhbGciOiJSUzI1NiIsImtpZCI6IkEifQ.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl"
)

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestText(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"nothing":             {"I1121 kubelet.go:1] \"Starting\" pod=\"kube-system/etcd\" uid=6f3adce6bd7976\n", ""},
		"private key":         {"a\n" + key + "b\n", "a\n-----BEGIN PRIVATE KEY-----***\nb\n"},
		"key in a journal":    {"Nov 21 x[1]: -----BEGIN PRIVATE KEY-----\nNov 21 x[1]: MHcCAQEE\nNov 21 x[1]: -----END PRIVATE KEY-----\nnext", "Nov 21 x[1]: -----BEGIN PRIVATE KEY-----***\nnext"},
		"key in JSON":         {`{"k":"` + strings.ReplaceAll(key, "\n", `\n`) + `","n":1}`, `{"k":"-----BEGIN PRIVATE KEY-----***\n","n":1}`},
		"key without an end":  {"-----BEGIN RSA PRIVATE KEY-----\nMHcCAQEE\nAAAA", "-----BEGIN PRIVATE KEY-----***\n"},
		"certificate":         {crt, ""},
		"encoded key":         {"x: " + encoded(key), "x: ***"},
		"encoded certificate": {"certificate-authority-data: " + encoded(crt), ""},
		"certificate, key":    {"x: " + encoded(crt+key), "x: ***"},
		"kubeconfig":          {"    client-key-data: c29tZXRoaW5n", "    client-key-data: ***"},
		"web token":           {"token " + jwt + " used", "token *** used"},
		"web token cut off":   {"x " + jwt[:60], "x ***"},
		"signature alone":     {`"jws":"eyJhbGciOiJIUzI1NiJ9..abcDEF"`, `"jws":"***"`},
		"bootstrap token":     {"kubeadm join 1.2.3.4:6443 --token abcdef.0123456789abcdef --x", "kubeadm join 1.2.3.4:6443 --token *** --x"},
		"file names":          {"main.go:12] server.crt kubelet.config.k8s.io", ""},
		"header":              {"Authorization: Basic dXNlcjpwYXNz\n", "Authorization: ***\n"},
		"header in Go":        {`headers map[Authorization:[Bearer abc.def]]`, `headers map[Authorization:[***`},
		"bearer":              {`curl -H "x: bearer abcdefghijkl"`, `curl -H "x: bearer ***"`},
		"URL":                 {"proxy http://user:p4ss@proxy:3128/x", "proxy http://***@proxy:3128/x"},
		"URL without":         {"see https://kubernetes.io/docs", ""},
		"assignment":          {"DB_PASSWORD=hunter2 next", "DB_PASSWORD=*** next"},
		"YAML":                {"  password: hunter2", "  password: ***"},
		"YAML with spaces":    {`  password: "two words"`, `  password: "***"`},
		"JSON":                {`{"apiKey": "abc", "n": "b"}`, `{"apiKey": "***", "n": "b"}`},
		"JSON in JSON":        {`"{\"token\":\"a b\",\"n\":1}"`, `"{\"token\":\"***\",\"n\":1}"`},
		"in quotes":           {`secret='a b' c`, `secret='***' c`},
		"query":               {"GET /x?access_token=abc&b=c", "GET /x?access_token=***&b=c"},
		"flag":                {"mysql --password hunter2 -h x", "mysql --password *** -h x"},
		"flag of a file":      {"--token-auth-file /etc/x --service-account-private-key-file=/etc/kubernetes/pki/sa.key", ""},
		"settings of etcd":    {"client-cert-auth = true, crl-file = ", ""},
		"a name, no value":    {"secretName: db", ""},
		"a path":              {"token: /var/run/secrets/token", ""},
		"true":                {"automountServiceAccountToken: false", ""},
		"variable in JSON":    {`{"name":"DB_PASSWORD","value":"hunter2"}`, `{"name":"DB_PASSWORD","value":"***"}`},
		"variable in YAML":    {"- name: DB_PASSWORD\n  value: hunter2\n- name: A\n  value: b\n", "- name: DB_PASSWORD\n  value: ***\n- name: A\n  value: b\n"},
		"block in YAML":       {"password: |\n  one\n\n  two\nnext: 1\n", "password: ***\nnext: 1\n"},
		"known":               {"it is correcthorse indeed", "it is *** indeed"},
		"known in base64":     {"it is " + encoded("correcthorse") + " indeed", "it is *** indeed"},
		"known of lines":      {"a first-line b second-line c", "a *** b *** c"},
	} {
		t.Run(name, func(t *testing.T) {
			want := test.want
			if want == "" {
				want = test.text
			}
			m := mask.New([]byte("correcthorse"), []byte("first-line\nsecond-line\n"), []byte("short"), []byte("correct"))
			if got := m.Text(test.text); got != want {
				t.Errorf("%q becomes %q, want %q", test.text, got, want)
			}
		})
	}
}

func TestLongLines(t *testing.T) {
	var out strings.Builder
	w := mask.New().Writer(&out)
	for range 5 {
		if _, err := w.Write([]byte(strings.Repeat("password=x ", 100_000))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write([]byte("\nnext\n")); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "left out") || !strings.HasSuffix(got, "\nnext\n") || len(got) > 200 {
		t.Errorf("%d bytes are left of a long line: %.100s", len(got), got)
	}
}

// FuzzMask holds that a secret in any of the known forms is gone whatever stands
// around it, and that it does not matter how a text is cut for writing.
func FuzzMask(f *testing.F) {
	f.Add("before ", "after", "hunter2hunter2", 3)
	f.Add("", "", "AAAABBBBCCCCDDDD", 1)
	f.Add("{\"a\": [", "]}", "zZ9zZ9zZ9zZ9", 7)
	f.Fuzz(func(t *testing.T, before, after, secret string, cut int) {
		secret = strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
				return r
			}
			return -1
		}, secret)
		if len(secret) < 12 || strings.Contains(before+after, secret) || strings.Contains("passwordtokensecretvaluename", strings.ToLower(secret)) {
			t.Skip()
		}
		m := mask.New([]byte("known" + secret))
		for _, form := range []string{
			"\npassword=%s\n", "\n{\"token\": \"%s\"}\n", "\nAuthorization: Bearer %s\n", "\nhttp://user:%s@host/\n", "\nknown%s\n",
			"\n-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n", "\n- name: A_SECRET\n  value: %s\n", "\npassword: |\n  %s\n",
		} {
			text := before + fmt.Sprintf(form, secret) + after
			got := m.Text(text)
			if strings.Contains(got, secret) {
				t.Errorf("%q is still in %q", secret, got)
			}
			var parts strings.Builder
			w := m.Writer(&parts)
			size := max(1, cut%64)
			for rest := text; rest != ""; rest = rest[min(size, len(rest)):] {
				if _, err := w.Write([]byte(rest[:min(size, len(rest))])); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if parts.String() != got {
				t.Errorf("cut into %d bytes %q becomes %q, whole %q", size, text, parts.String(), got)
			}
		}
	})
}

func TestKeys(t *testing.T) {
	config := "users:\n- user:\n    client-certificate-data: " + encoded(crt) + "\n    client-key-data: " + encoded(key) + "\n    token: of-a-user-with-a-token\n"
	m := mask.New(mask.Keys([]byte(crt + key + config))...)
	for _, secret := range []string{"MHcCAQEEIFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFake", "AAAABBBBCCCCDDDDEEEE", encoded(key), "of-a-user-with-a-token"} {
		if got := m.Text("x " + secret + " y"); got != "x *** y" {
			t.Errorf("%q becomes %q", secret, got)
		}
	}
	if got := m.Text(crt); got != crt {
		t.Errorf("a certificate becomes %q", got)
	}
}
