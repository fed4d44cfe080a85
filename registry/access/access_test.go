package access_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/crypto/bcrypt"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/access"
)

func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	// Renamed, as editors and Kubernetes do it.
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	write(t, path, "ann:"+hash(t, "old")+"\n")
	clock := clocktesting.NewFakePassiveClock(time.Now())
	g, err := access.NewGuard(access.Options{HtpasswdFile: path, Clock: clock, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	may := func(user, password string) bool {
		r := httptest.NewRequest("GET", "/v2/", nil)
		r.SetBasicAuth(user, password)
		_, err := g.Identify(r)
		if err != nil && fault.KindOf(err) != fault.Denied {
			t.Errorf("got %v", err)
		}
		return err == nil
	}
	if !may("ann", "old") || may("ann", "new") || may("bob", "old") {
		t.Error("the file at the start is not what counts")
	}
	write(t, path, "ann:"+hash(t, "new")+"\nbob:"+hash(t, "bob's")+"\n")
	clock.SetTime(clock.Now().Add(time.Minute))
	if may("ann", "old") || !may("ann", "new") || !may("bob", "bob's") {
		t.Error("the changed file does not count")
	}
	write(t, path, "ann:plaintext\n")
	clock.SetTime(clock.Now().Add(time.Minute))
	if !may("ann", "new") {
		t.Error("a broken file has locked everybody out")
	}
}

func TestTokensExpire(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "tokens")
	// The digest is of the empty text.
	write(t, path, "tokens:\n- name: ci\n  sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n  repositories: [team/*]\n  actions: [pull]\n  expires: 2026-11-22T12:30:00Z\n")
	clock := clocktesting.NewFakePassiveClock(now)
	g, err := access.NewGuard(access.Options{TokensFile: path, Clock: clock, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/v2/", nil)
	r.Header.Set("Authorization", "Bearer ")
	who, err := g.Identify(r)
	if err != nil || !who.May(access.Pull, "team/app") || who.May(access.Push, "team/app") || who.May(access.Pull, "teams") {
		t.Errorf("got %+v, %v", who, err)
	}
	clock.SetTime(now.Add(time.Hour))
	if _, err := g.Identify(r); fault.KindOf(err) != fault.Denied {
		t.Errorf("an expired token is taken: %v", err)
	}
}

func TestEveryProblemOfAFileIsNamed(t *testing.T) {
	_, err := access.ParseHtpasswd([]byte("ann:{SHA}x\n\n# comment\nnobody\nanonymous:" + hash(t, "a") + "\n"))
	for _, want := range []string{"line 1:", "line 4 ", "line 5:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	_, err = access.ParseTokens([]byte("tokens:\n- name: a\n  sha256: abc\n  actions: [fly]\n- name: a\n  sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n  repositories: [\"*/x\"]\n"))
	for _, want := range []string{"tokens[0].sha256", "tokens[0].repositories", "tokens[0].actions[0]", "tokens[1].name", "tokens[1].repositories[0]", "tokens[1].actions"} {
		if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if _, err := access.ParseTokens([]byte("tokens:\n- secret: x\n")); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an unknown field is taken: %v", err)
	}
}

func FuzzFiles(f *testing.F) {
	f.Add([]byte("ann:$2y$05$abc"))
	f.Add([]byte("tokens:\n- name: a\n  sha256: ff"))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		_, _ = access.ParseHtpasswd(raw)
		_, _ = access.ParseTokens(raw)
	})
}
