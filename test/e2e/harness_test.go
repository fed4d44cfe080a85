// Package e2e runs loam as its users do: the real binary, real nodes in Docker,
// plain kubectl. Each run has a data folder of its own and with it machines,
// networks and volumes of its own, which are removed at the end by their label.
package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/test/docker"
)

// version is the Kubernetes version that the tests grow clusters of.
const version = "v1.36.3"

// installation is one loam with a data folder of its own.
type installation struct {
	t        testing.TB
	binary   string
	kubectl  string
	data     string
	instance string
	// within begins its commands, and environment is added to theirs, where it does
	// not live on the host's own daemon.
	within, environment []string
}

// install builds loam, makes sure of Docker and of the node image, and removes
// whatever the test leaves behind.
func install(t testing.TB) *installation {
	t.Helper()
	docker.Require(t)
	i := &installation{t: t, binary: filepath.Join(t.TempDir(), "loam"), data: filepath.Join(t.TempDir(), "data")}
	i.instance = app.Config{DataDir: i.data}.Instance()
	must(t, "go", "build", "-ldflags=-s -w", "-o", i.binary, "../../cmd/loam")
	must(t, i.binary, "image", "build", "--kubernetes-version", version)
	i.kubectl = kubectlFromImage(t)
	t.Cleanup(i.remove)
	return i
}

// exec prepares a command on the installation's side.
func (i *installation) exec(name string, args ...string) *exec.Cmd {
	words := slices.Concat(i.within, []string{name}, args)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), i.environment...)
	return cmd
}

// kubectlFromImage takes the kubectl of the node image: it is of the version
// under test and needs nothing from the host.
func kubectlFromImage(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubectl")
	must(t, "../../scripts/from-image.sh", "/usr/local/bin/kubectl", path)
	return path
}

// remove ends the garden and removes what carries this installation's label.
func (i *installation) remove() {
	if i.t.Failed() {
		i.dump()
	}
	if out, err := i.run("down"); err != nil {
		i.t.Logf("loam down: %v\n%s", err, out)
	}
	i.removeOwned()
}

// removeOwned removes what carries this installation's label.
func (i *installation) removeOwned() {
	for _, kind := range [][]string{{"ps", "-aq"}, {"volume", "ls", "-q"}, {"network", "ls", "-q"}} {
		for _, id := range i.owned(kind...) {
			remove := map[string][]string{"ps": {"rm", "-fv", id}, "volume": {"volume", "rm", "-f", id}, "network": {"network", "rm", id}}[kind[0]]
			if out, err := i.exec("docker", remove...).CombinedOutput(); err != nil {
				i.t.Logf("docker %v: %v\n%s", remove, err, out)
			}
		}
	}
}

// dump shows what helps to understand a failure.
func (i *installation) dump() {
	if text, err := os.ReadFile(filepath.Join(i.data, "loam.log")); err == nil {
		i.t.Logf("end of loam.log:\n%s", text[max(0, len(text)-6000):])
	}
	for _, id := range i.owned("ps", "-aq") {
		out, _ := i.exec("docker", "exec", id, "sh", "-c", "hostname; tail -n 30 /var/log/loam/*.log; journalctl -u kubelet --no-pager -n 30; ctr -n k8s.io containers list").CombinedOutput()
		i.t.Logf("node %s:\n%s", id, out)
	}
}

// owned lists the ids of Docker objects with this installation's label.
func (i *installation) owned(list ...string) []string {
	out, err := i.exec("docker", append(list, "--filter", "label=loam.dev/instance="+i.instance)...).Output()
	if err != nil {
		i.t.Errorf("docker %v: %v", list, err)
	}
	return strings.Fields(string(out))
}

// command prepares a loam command of this installation. The user's own
// kubeconfig is never touched.
func (i *installation) command(args ...string) *exec.Cmd {
	cmd := i.exec(i.binary, args...)
	cmd.Env = append(cmd.Env, "LOAM_DATA_DIR="+i.data, "KUBECONFIG="+i.userKubeconfig(), "LOAM_TESTING=1")
	return cmd
}

func (i *installation) userKubeconfig() string {
	return filepath.Join(filepath.Dir(i.data), "kubeconfig")
}

func (i *installation) run(args ...string) (string, error) {
	out, err := i.command(args...).CombinedOutput()
	return string(out), err
}

// loam runs a command that has to succeed.
func (i *installation) loam(args ...string) string {
	i.t.Helper()
	out, err := i.run(args...)
	if err != nil {
		i.t.Fatalf("loam %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// refused runs a command that has to end with code 1 and one message.
func (i *installation) refused(want string, args ...string) {
	i.t.Helper()
	out, err := i.run(args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		i.t.Errorf("loam %s: ended with %v, want exit code 1\n%s", strings.Join(args, " "), err, out)
	}
	if !strings.Contains(out, want) || strings.Count(out, "Error: ") != 1 {
		i.t.Errorf("loam %s: says\n%s\nwant one error with %q", strings.Join(args, " "), out, want)
	}
}

// garden and cluster run kubectl, which has to succeed.
func (i *installation) garden(args ...string) string {
	i.t.Helper()
	return i.kube(filepath.Join(i.data, "kubeconfig"), "", args...)
}

func (i *installation) cluster(name string, args ...string) string {
	i.t.Helper()
	return i.kube(i.clusterKubeconfig(name), "", args...)
}

// clusterApply applies a manifest to a cluster.
func (i *installation) clusterApply(name, manifest string) {
	i.t.Helper()
	i.kube(i.clusterKubeconfig(name), manifest, "apply", "-f", "-")
}

func (i *installation) clusterKubeconfig(name string) string {
	i.t.Helper()
	path := filepath.Join(filepath.Dir(i.data), name+".kubeconfig")
	out, err := i.command("cluster", "kubeconfig", name, "--print").Output()
	if err != nil {
		i.t.Fatalf("kubeconfig of %s: %v", name, err)
	}
	if err := os.WriteFile(path, out, 0o600); err != nil {
		i.t.Fatal(err)
	}
	return path
}

func (i *installation) kube(kubeconfig, stdin string, args ...string) string {
	i.t.Helper()
	out, err := i.tryKube(kubeconfig, stdin, args...)
	if err != nil {
		i.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (i *installation) tryKube(kubeconfig, stdin string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := i.exec(i.kubectl, append([]string{"--kubeconfig", kubeconfig}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	err := cmd.Run()
	return out.String(), err
}

// kill ends the garden's process as a power cut would.
func (i *installation) kill() {
	i.t.Helper()
	if err := syscall.Kill(i.pid(), syscall.SIGKILL); err != nil {
		i.t.Fatal(err)
	}
}

// pid is the garden's process.
func (i *installation) pid() int {
	i.t.Helper()
	text, err := os.ReadFile(filepath.Join(i.data, "loam.lock"))
	if err != nil {
		i.t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil || pid < 2 {
		i.t.Fatalf("the lock names no process: %q", text)
	}
	return pid
}

// operation returns type, state and description of a shoot's last operation.
func (i *installation) operation(name string) string {
	out, err := i.tryKube(filepath.Join(i.data, "kubeconfig"), "", "-n", "garden-local", "get", "shoot", name, "-o",
		"jsonpath={.status.lastOperation.type} {.status.lastOperation.state}: {.status.lastOperation.description}|{.status.observedGeneration}|{.metadata.generation}")
	if err != nil {
		return "unknown: " + out
	}
	return out
}

// settled waits until a shoot's spec has been acted on successfully.
func (i *installation) settled(name string, limit time.Duration) {
	i.t.Helper()
	eventually(i.t, limit, func() error {
		parts := strings.Split(i.operation(name), "|")
		if len(parts) != 3 || !strings.Contains(parts[0], " Succeeded:") || parts[1] != parts[2] {
			return fmt.Errorf("shoot %s: %v", name, parts)
		}
		return nil
	})
}

// eventually asks until there is no problem left.
func eventually(t testing.TB, limit time.Duration, ask func() error) {
	t.Helper()
	var problem error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		if problem = ask(); problem == nil {
			return
		}
	}
	t.Fatalf("after %s still: %v", limit, problem)
}

// fetch gets a page, without a proxy.
func fetch(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", response.Status)
	}
	return string(body), err
}

func must(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
