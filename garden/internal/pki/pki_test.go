package pki_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/cert"

	"github.com/loam-cloud/loam/garden/internal/pki"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

func hosts() []string { return []string{"localhost", "127.0.0.1"} }

func ensure(t *testing.T, dir string, names []string, now time.Time) pki.Files {
	t.Helper()
	files, err := pki.Ensure(dir, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// snapshot is the content of every file, by field of pki.Files.
func snapshot(t *testing.T, files pki.Files) map[string]string {
	t.Helper()
	content := map[string]string{}
	value := reflect.ValueOf(files)
	for i := range value.NumField() {
		text, err := os.ReadFile(value.Field(i).String())
		if err != nil {
			t.Fatal(err)
		}
		content[value.Type().Field(i).Name] = string(text)
	}
	return content
}

func readCert(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	certs, err := cert.CertsFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return certs[0]
}

// TestEnsure walks through a garden's life and wants exactly the named files
// to be written anew at each step, and everything to be trusted afterwards.
func TestEnsure(t *testing.T) {
	dir, born := filepath.Join(t.TempDir(), "pki"), time.Now()
	before := snapshot(t, ensure(t, dir, hosts(), born))
	names := hosts()
	for _, step := range []struct {
		name    string
		after   time.Duration
		prepare func()
		written []string
	}{
		{"a restart", day, nil, nil},
		{"another host name", 2 * day, func() { names = append(names, "garden.example.org") }, []string{"ServerCert"}},
		{"one host less", 3 * day, func() { names = hosts() }, nil},
		{"five months later", 150 * day, nil, nil},
		{"half of the year over", 184 * day, nil, []string{"AdminCert"}},
		{"the server's half too", 187 * day, nil, []string{"ServerCert"}},
		{"a broken certificate", 188 * day, func() {
			if err := os.WriteFile(filepath.Join(dir, "admin.crt"), []byte("nonsense"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"AdminCert"}},
		{"after nine years", 9*year + 2*day, nil, []string{"AdminCert", "CACert", "ServerCert"}},
	} {
		if step.prepare != nil {
			step.prepare()
		}
		now := born.Add(step.after)
		files := ensure(t, dir, names, now)
		after := snapshot(t, files)
		var written []string
		for field, text := range after {
			if text != before[field] {
				written = append(written, field)
			}
		}
		slices.Sort(written)
		if !slices.Equal(written, step.written) {
			t.Errorf("%s: wrote %v, want %v", step.name, written, step.written)
		}
		before = after
		wantTrusted(t, step.name, files, names, now)
	}
}

func wantTrusted(t *testing.T, step string, files pki.Files, names []string, now time.Time) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(readCert(t, files.CACert))
	for _, name := range names {
		if _, err := readCert(t, files.ServerCert).Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now}); err != nil {
			t.Errorf("%s: server as %s: %v", step, name, err)
		}
	}
	if _, err := readCert(t, files.AdminCert).Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("%s: admin: %v", step, err)
	}
}

// TestRenewedAuthority wants what the old certificate signed to be valid under
// the new one.
func TestRenewedAuthority(t *testing.T) {
	dir, born := t.TempDir(), time.Now()
	files := ensure(t, dir, hosts(), born)
	if _, ok := readCert(t, files.CACert).PublicKey.(*ecdsa.PublicKey); !ok {
		t.Error("the authority's key is not ECDSA")
	}
	late := ensure(t, dir, hosts(), born.Add(9*year-day))
	oldLeaf := readCert(t, late.AdminCert)
	renewed := ensure(t, dir, hosts(), born.Add(9*year+day))
	if err := oldLeaf.CheckSignatureFrom(readCert(t, renewed.CACert)); err != nil {
		t.Errorf("a certificate of before is no longer valid: %v", err)
	}
}

func TestKeysArePrivateAndStay(t *testing.T) {
	files := ensure(t, t.TempDir(), hosts(), time.Now())
	for _, path := range []string{files.CAKey, files.ServerKey, files.AdminKey, files.ServiceAccountKey} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	for _, text := range []string{"nonsense", ""} {
		if err := os.WriteFile(files.CAKey, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := pki.Ensure(filepath.Dir(files.CAKey), hosts(), time.Now()); err == nil || !strings.Contains(err.Error(), "ca.key") {
			t.Errorf("a key that is %q: got %v, want an error that names the file", text, err)
		}
		if left, _ := os.ReadFile(files.CAKey); string(left) != text {
			t.Error("a key that could not be read was replaced")
		}
	}
}

func TestEncryptionKeyStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	var first []byte
	for range 2 {
		if err := pki.EnsureEncryption(path, []string{"secrets"}); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = content
		}
		if string(content) != string(first) {
			t.Error("the key changed")
		}
		// Whoever loosened it: the next start tightens it.
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := pki.EnsureEncryption(path, nil); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestKubeconfig(t *testing.T) {
	files := ensure(t, t.TempDir(), hosts(), time.Now())
	path := filepath.Join(t.TempDir(), "kubeconfig")
	for _, server := range []string{"https://127.0.0.1:1", "https://127.0.0.1:2"} {
		if err := pki.WriteKubeconfig(path, server, files); err != nil {
			t.Fatal(err)
		}
		config, err := clientcmd.BuildConfigFromFlags("", path)
		if err != nil || config.Host != server || len(config.CertData) == 0 || len(config.CAData) == 0 {
			t.Errorf("got %v, %v", config, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
}
