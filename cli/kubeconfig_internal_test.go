package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/loam-cloud/loam/fault"
)

func silent(string, ...any) {}

// fresh is the kubeconfig of a cluster as the garden keeps it.
func fresh(server string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: it, cluster: {server: "https://%s"}}]
users: [{name: it, user: {token: "of-%s"}}]
contexts: [{name: it, context: {cluster: it, user: it}}]
current-context: it
`, server, server)
}

const foreign = `apiVersion: v1
kind: Config
clusters:
- name: theirs
  cluster:
    server: https://theirs.example
    certificate-authority: relative/ca.crt
    extensions: [{name: e, extension: {some: thing}}]
users: [{name: theirs, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: login, interactiveMode: Never}}}]
contexts:
- {name: theirs, context: {cluster: theirs, user: theirs, namespace: x, extensions: [{name: f, extension: "text"}]}}
current-context: theirs
preferences: {}
`

func load(t *testing.T, path string) *clientcmdapi.Config {
	t.Helper()
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMergeAndForget(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, foreign, 0o644)
	before := load(t, path)

	must(t, mergeKubeconfig(path, "loam-demo", fresh("one"), silent))
	merged := load(t, path)
	if merged.CurrentContext != "loam-demo" || merged.Clusters["loam-demo"].Server != "https://one" || merged.AuthInfos["loam-demo"].Token != "of-one" {
		t.Errorf("merged: %+v", merged)
	}
	if got := mode(t, path); got != 0o600 {
		t.Errorf("keys lie in a file of mode %s", got)
	}
	if _, err := os.Stat(path + ".lock"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock is left: %v", err)
	}

	// Again, with what the user added meanwhile.
	merged.Contexts["loam-demo"].Namespace = "mine"
	must(t, clientcmd.WriteToFile(*merged, path))
	must(t, mergeKubeconfig(path, "loam-demo", fresh("two"), silent))
	if again := load(t, path); again.Contexts["loam-demo"].Namespace != "mine" || again.Clusters["loam-demo"].Server != "https://two" {
		t.Errorf("merged again: %+v", again.Contexts["loam-demo"])
	}

	must(t, forgetKubeconfig(path, "loam-demo", silent))
	after := load(t, path)
	want, err := clientcmd.Write(*before)
	must(t, err)
	got, err := clientcmd.Write(*after)
	must(t, err)
	if string(got) != string(want) {
		t.Errorf("after all\n%s\nwant\n%s", got, want)
	}
}

func TestMergeIntoNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "config")
	must(t, mergeKubeconfig(path, "loam-demo", fresh("one"), silent))
	if got := mode(t, path); got != 0o600 {
		t.Errorf("mode %s", got)
	}
	must(t, forgetKubeconfig(path, "loam-demo", silent))
	if after := load(t, path); after.CurrentContext != "" || len(after.Contexts)+len(after.Clusters)+len(after.AuthInfos) != 0 {
		t.Errorf("left: %+v", after)
	}
}

func TestMergeOverAContextOfTheUsers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, strings.Replace(foreign, "contexts:\n", "contexts:\n- {name: loam-demo, context: {cluster: theirs, user: theirs}}\n", 1), 0o600)
	must(t, mergeKubeconfig(path, "loam-demo", fresh("one"), silent))
	if got := load(t, path); previousContext(got.Contexts["loam-demo"]) != "theirs" {
		t.Errorf("the previous context is not kept: %+v", got.Contexts["loam-demo"])
	}
}

// TestPrevious follows the current context through merges and removals in any
// order.
func TestPrevious(t *testing.T) {
	for name, tc := range map[string]struct {
		does []string // +x merges, -x forgets, =x is what the user makes current
		want string
	}{
		"one":                       {[]string{"+a", "-a"}, "theirs"},
		"in order":                  {[]string{"+a", "+b", "-b", "-a"}, "theirs"},
		"back to the one before":    {[]string{"+a", "+b", "-b"}, "a"},
		"the former one goes first": {[]string{"+a", "+b", "-a", "-b"}, "theirs"},
		"two former ones go first":  {[]string{"+a", "+b", "+c", "-b", "-a", "-c"}, "theirs"},
		"the user went elsewhere":   {[]string{"+a", "=theirs", "-a"}, "theirs"},
		"merged twice":              {[]string{"+a", "+b", "+a", "-a"}, "b"},
		"gone already":              {[]string{"-a"}, "theirs"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config")
			write(t, path, foreign, 0o600)
			for _, do := range tc.does {
				switch who := do[1:]; do[0] {
				case '+':
					must(t, mergeKubeconfig(path, who, fresh(who), silent))
				case '-':
					must(t, forgetKubeconfig(path, who, silent))
				case '=':
					config := load(t, path)
					config.CurrentContext = who
					must(t, clientcmd.WriteToFile(*config, path))
				}
			}
			if got := load(t, path).CurrentContext; got != tc.want {
				t.Errorf("after %v the context is %q, want %q", tc.does, got, tc.want)
			}
		})
	}
}

func TestALinkStaysALink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	write(t, real, foreign, 0o600)
	must(t, os.Symlink(real, link))
	// kubectl, which knows the link only, must be kept out by a lock beside it.
	locked := false
	must(t, changeKubeconfig(link, func(*clientcmdapi.Config) {
		_, err := os.Stat(link + ".lock")
		locked = err == nil
	}))
	if !locked {
		t.Error("kubectl is not locked out")
	}
	must(t, mergeKubeconfig(link, "loam-demo", fresh("one"), silent))
	if mode(t, link)&os.ModeSymlink == 0 {
		t.Error("the link became a file")
	}
	if load(t, real).CurrentContext != "loam-demo" {
		t.Error("the file behind the link did not change")
	}
}

func TestMergesAtOnceLoseNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	const n = 8
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			name := fmt.Sprintf("loam-%d", i)
			if err := mergeKubeconfig(path, name, fresh(name), silent); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := load(t, path); len(got.Contexts) != n || len(got.Clusters) != n || len(got.AuthInfos) != n {
		t.Errorf("%d contexts, %d clusters and %d users are left of %d", len(got.Contexts), len(got.Clusters), len(got.AuthInfos), n)
	}
}

func TestALockThatNobodyHolds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, foreign, 0o600)
	write(t, path+".lock", "", 0o600)
	// Inside, the wait for the lock costs no time.
	synctest.Test(t, func(t *testing.T) {
		err := mergeKubeconfig(path, "loam-demo", fresh("one"), silent)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "remove "+path+".lock") {
			t.Errorf("got %v", err)
		}
	})
	if load(t, path).CurrentContext != "theirs" {
		t.Error("the file was changed all the same")
	}
	if _, err := os.Stat(path + ".lock"); err != nil {
		t.Errorf("the lock of another program was removed: %v", err)
	}
}

func TestAFileThatIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, "clusters: 5\n", 0o600)
	for what, err := range map[string]error{
		"merge":  mergeKubeconfig(path, "loam-demo", fresh("one"), silent),
		"forget": forgetKubeconfig(path, "loam-demo", silent),
	} {
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "clusters: 5\n" {
		t.Errorf("the file became %q, %v", text, err)
	}
	if _, err := os.Stat(path + ".lock"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock is left: %v", err)
	}
	if err := forgetKubeconfig(filepath.Join(t.TempDir(), "none"), "loam-demo", silent); err != nil {
		t.Errorf("no file at all: %v", err)
	}
}

func TestKubeconfigFile(t *testing.T) {
	dir := t.TempDir()
	second := filepath.Join(dir, "second")
	write(t, second, foreign, 0o600)
	t.Setenv("KUBECONFIG", filepath.Join(dir, "first")+string(os.PathListSeparator)+second)
	if got := kubeconfigFile(""); got != second {
		t.Errorf("of $KUBECONFIG %q is taken, want the one that exists", got)
	}
	if got := kubeconfigFile("/given"); got != "/given" {
		t.Errorf("instead of the given file %q is taken", got)
	}
}

func TestContextNames(t *testing.T) {
	for who, want := range map[[2]string]string{{"local", "demo"}: "loam-demo", {"dev", "demo"}: "loam-dev--demo", {"a", "b-c"}: "loam-a--b-c", {"a-b", "c"}: "loam-a-b--c"} {
		if got := (&project{name: who[0]}).contextName(who[1]); got != want {
			t.Errorf("cluster %q of project %q is %q, want %q", who[1], who[0], got, want)
		}
	}
}
