package backup_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/backup"
)

func identity(t testing.TB) *age.X25519Identity {
	t.Helper()
	made, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// write makes a backup of two files.
func write(t testing.TB, recipient age.Recipient) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "pki"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"pki/ca.key": "key", "etcd.db": strings.Repeat("0123456789abcdef", 20_000)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	manifest := backup.Manifest{Created: time.Unix(1, 0).UTC(), Version: "v1", Revision: 7, Files: []string{"pki/ca.key", "etcd.db"}}
	if err := backup.Write(&out, dir, manifest, recipient); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAnEmptyPassphraseIsToldAsSuch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passphrase")
	for text, want := range map[string]string{"": "", "\r\nsecond": "", "correct horse\r\nsecond": "correct horse"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := backup.ReadPassphrase(file)
		if got != want || (want == "") != errors.Is(err, fault.Invalid) {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	key := identity(t)
	passphrase := "correct horse battery"
	byPassphrase, err := backup.PassphraseRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	opener, err := backup.PassphraseIdentity(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		to   age.Recipient
		from age.Identity
	}{"key": {key.Recipient(), key}, "passphrase": {byPassphrase, opener}} {
		dir := t.TempDir()
		text := write(t, test.to)
		if bytes.Contains(text, []byte("0123456789abcdef")) {
			t.Errorf("%s: the backup is readable", name)
		}
		manifest, err := backup.Read(bytes.NewReader(text), dir, test.from)
		if err != nil || manifest.Revision != 7 || manifest.Version != "v1" || manifest.Format != backup.Format {
			t.Errorf("%s: got %+v, %v", name, manifest, err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "pki", "ca.key"))
		if err != nil || string(got) != "key" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if info, err := os.Stat(filepath.Join(dir, "etcd.db")); err != nil || info.Size() != 320_000 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v, %v", name, info, err)
		}
	}
}

// TestDamage cuts a backup off and changes single bytes of it.
func TestDamage(t *testing.T) {
	key := identity(t)
	text := write(t, key.Recipient())
	refused := func(what string, damaged []byte) {
		t.Helper()
		if _, err := backup.Read(bytes.NewReader(damaged), t.TempDir(), key); err == nil || errors.Is(err, fault.Internal) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	for _, length := range []int{0, 1, 100, 300, 70_000, len(text) / 2, len(text) - 20_000, len(text) - 1} {
		refused("cut off", text[:length])
	}
	for _, at := range []int{0, 50, 190, 300, 70_000, len(text) / 2, len(text) - 1} {
		damaged := slices.Clone(text)
		damaged[at] ^= 1
		refused("changed", damaged)
	}
	refused("longer", append(slices.Clone(text), 'x'))
	if _, err := backup.Read(bytes.NewReader(text), t.TempDir(), identity(t)); !errors.Is(err, fault.Denied) {
		t.Errorf("another key: got %v", err)
	}
}

// seal encrypts a tar stream that Write would not write.
func seal(t testing.TB, recipient age.Recipient, entries ...[2]string) []byte {
	t.Helper()
	var out bytes.Buffer
	sealed, err := age.Encrypt(&out, recipient)
	if err != nil {
		t.Fatal(err)
	}
	stream := tar.NewWriter(sealed)
	for _, entry := range entries {
		if err := stream.WriteHeader(&tar.Header{Name: entry[0], Mode: 0o600, Size: int64(len(entry[1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Write([]byte(entry[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(stream.Close(), sealed.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestForeign(t *testing.T) {
	key := identity(t)
	outside := filepath.Join(t.TempDir(), "outside")
	manifest := func(format int, files ...string) [2]string {
		text, err := json.Marshal(backup.Manifest{Format: format, Files: files})
		if err != nil {
			t.Fatal(err)
		}
		return [2]string{"manifest.json", string(text)}
	}
	for name, test := range map[string]struct {
		entries [][2]string
		want    string
	}{
		"empty":           {nil, "before manifest.json"},
		"newer":           {[][2]string{manifest(2)}, "format 2"},
		"outside":         {[][2]string{manifest(1, "../outside"), {"../outside", "x"}}, "outside the folder"},
		"absolute":        {[][2]string{manifest(1, outside), {outside, "x"}}, "outside the folder"},
		"another file":    {[][2]string{manifest(1, "a"), {"b", "x"}}, `"b" is in its place`},
		"no checksums":    {[][2]string{manifest(1, "a"), {"a", "x"}}, "before checksums.json"},
		"wrong checksum":  {[][2]string{manifest(1, "a"), {"a", "x"}, {"checksums.json", `{"a":"00"}`}}, `checksum of "a" is wrong`},
		"something added": {[][2]string{manifest(1), {"checksums.json", `{}`}, {"c", "x"}}, "does not end where it should"},
		"twice":           {[][2]string{manifest(1, "a", "a"), {"a", "x"}, {"a", "y"}}, "exists"},
	} {
		_, err := backup.Read(bytes.NewReader(seal(t, key.Recipient(), test.entries...)), t.TempDir(), key)
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a file was written outside the folder")
	}
}

func FuzzRead(f *testing.F) {
	f.Add("manifest.json", `{"format":1,"files":["a"]}`, "a", "x", `{"a":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}`)
	key := identity(f)
	f.Fuzz(func(t *testing.T, first, manifest, name, content, sums string) {
		var out bytes.Buffer
		sealed, err := age.Encrypt(&out, key.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		stream := tar.NewWriter(sealed)
		for _, entry := range [][2]string{{first, manifest}, {name, content}, {"checksums.json", sums}} {
			if stream.WriteHeader(&tar.Header{Name: entry[0], Mode: 0o777, Size: int64(len(entry[1]))}) != nil {
				t.Skip("not a name that a tar stream can have")
			}
			if _, err := stream.Write([]byte(entry[1])); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(stream.Close(), sealed.Close()); err != nil {
			t.Fatal(err)
		}
		parent := t.TempDir()
		dir := filepath.Join(parent, "dir")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err = backup.Read(&out, dir, key)
		if err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("got %v", err)
		}
		if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
			t.Errorf("something was written outside: %v, %v", entries, err)
		}
	})
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for day := range 5 {
		names = append(names, backup.Name(time.Date(2026, 1, 28+day, 0, 0, 0, 0, time.UTC)))
	}
	for _, name := range append(names, "garden.txt", "other.loam-backup") {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	removed, err := backup.Prune(dir, 3)
	if err != nil || !slices.Equal(removed, names[:2]) {
		t.Errorf("removed %v, %v", removed, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 5 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup.key")
	first, err := backup.EnsureKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := backup.EnsureKey(path)
	if err != nil || first.(*age.X25519Recipient).String() != again.(*age.X25519Recipient).String() {
		t.Errorf("another key: %v, %v, %v", first, again, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	identities, err := backup.ReadIdentities(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Read(bytes.NewReader(write(t, first)), t.TempDir(), identities...); err != nil {
		t.Error(err)
	}
	if _, err := backup.ParseRecipients([]string{"age1wrong", first.(*age.X25519Recipient).String(), "ssh-rsa"}); err == nil ||
		!strings.Contains(err.Error(), "age1wrong") || !strings.Contains(err.Error(), "ssh-rsa") {
		t.Errorf("got %v, want both wrong keys named", err)
	}
	if _, err := backup.PassphraseRecipient("short"); !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}
