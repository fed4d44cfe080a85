package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/test/tools"
)

// kindConfigs are the clusters that are compared, as kind's files.
var kindConfigs = []struct {
	name, file string
	nodes      int
}{
	{"one-node", "nodes: [{role: control-plane}]", 1},
	{"one-and-two", "nodes: [{role: control-plane}, {role: worker}, {role: worker}]", 3},
}

// BenchmarkBesideKind grows the same cluster by kind and by loam in turn, from one
// node image, and measures from the command on: until it returns, until all nodes
// are Ready, until all replicas of CoreDNS are. Metrics are medians, and loam's
// over kind's. Both are watched in the same way, from outside.
func BenchmarkBesideKind(b *testing.B) {
	i := install(b)
	kind := installKind(b)
	i.loam("up", "--detach", "--listen", "127.0.0.1:0")
	for _, config := range kindConfigs {
		b.Run(config.name, func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "kind.yaml")
			text := "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n" + config.file + "\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				b.Fatal(err)
			}
			measured := map[string][]time.Duration{}
			for n := range b.N {
				name := fmt.Sprintf("beside%d-%d", os.Getpid(), n)
				runs := []func(){
					func() { kind.measure(b, measured, name, file, config.nodes) },
					func() { i.measure(b, measured, name, file, config.nodes) },
				}
				if n%2 == 1 {
					slices.Reverse(runs)
				}
				for _, run := range runs {
					run()
				}
			}
			b.ReportMetric(0, "ns/op") // the sum of both says nothing
			for _, what := range []string{"return", "nodes-ready", "DNS-ready", "delete"} {
				k, l := median(measured["kind "+what]), median(measured["loam "+what])
				b.ReportMetric(k.Seconds(), "kind-"+what+"-s")
				b.ReportMetric(l.Seconds(), "loam-"+what+"-s")
				b.ReportMetric(l.Seconds()/k.Seconds(), what+"-ratio")
			}
		})
	}
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// kind is the program and the environment to run it in.
type kind struct {
	binary string
	env    []string
}

// installKind finds out how kind can be run on this host.
func installKind(b *testing.B) kind {
	b.Helper()
	k := kind{binary: tools.Kind(b), env: os.Environ()}
	if err := exec.Command("docker", "run", "--rm", "--privileged", "--entrypoint", "/bin/true", "loam/node:"+version).Run(); err == nil {
		return k
	}
	// A host without CAP_SYS_RESOURCE gives no container all privileges, which kind
	// asks for. Its nodes get what such a host has, as loam's do.
	docker, err := exec.LookPath("docker")
	if err != nil {
		b.Fatal(err)
	}
	path := b.TempDir()
	if err := os.WriteFile(filepath.Join(path, "docker"), fmt.Appendf(nil, almostPrivileged, docker), 0o700); err != nil {
		b.Fatal(err)
	}
	k.env = append(k.env, "PATH="+path+":"+os.Getenv("PATH"))
	return k
}

// almostPrivileged is a docker that says what --privileged means, but for one
// capability.
const almostPrivileged = `#!/bin/bash
arguments=() verb=$1
for a; do
  case $verb:$a in
  exec:--privileged) ;;
  *:--privileged) arguments+=(--cap-add ALL --cap-drop SYS_RESOURCE --security-opt systempaths=unconfined --device-cgroup-rule "a *:* rwm") ;;
  *) arguments+=("$a") ;;
  esac
done
exec %s "${arguments[@]}"
`

func (k kind) measure(b *testing.B, measured map[string][]time.Duration, name, file string, nodes int) {
	b.Helper()
	kubeconfig := filepath.Join(b.TempDir(), "kubeconfig")
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(k.binary, append(args, "--name", name, "--kubeconfig", kubeconfig)...)
		cmd.Env = k.env
		return cmd
	}
	remove := func() error {
		out, err := command("delete", "cluster").CombinedOutput()
		if err != nil {
			return fmt.Errorf("kind delete: %w\n%s", err, out)
		}
		return nil
	}
	b.Cleanup(func() { _ = remove() }) // it is gone unless this one failed
	watch(b, measured, "kind", name+"-control-plane", nodes, command("create", "cluster", "--image", "loam/node:"+version, "--config", file))
	begin := time.Now()
	if err := remove(); err != nil {
		b.Fatal(err)
	}
	measured["kind delete"] = append(measured["kind delete"], time.Since(begin))
}

func (i *installation) measure(b *testing.B, measured map[string][]time.Duration, name, file string, nodes int) {
	b.Helper()
	watch(b, measured, "loam", i.instance+"-shoot--local--"+name+"-control-plane-0", nodes, i.command("cluster", "create", name, "-f", file))
	begin := time.Now()
	i.loam("cluster", "delete", name)
	measured["loam delete"] = append(measured["loam delete"], time.Since(begin))
}

// watch runs a command that creates a cluster and looks at the cluster meanwhile.
func watch(b *testing.B, measured map[string][]time.Duration, tool, container string, nodes int, create *exec.Cmd) {
	b.Helper()
	begin := time.Now()
	note := func(what string) {
		measured[tool+" "+what] = append(measured[tool+" "+what], time.Since(begin))
	}
	returned := make(chan error, 1)
	var returnedAfter time.Duration
	go func() {
		out, err := create.CombinedOutput()
		returnedAfter = time.Since(begin)
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		returned <- err
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	api := connectInside(ctx, b, container)
	for _, goal := range []struct {
		what    string
		reached func(context.Context, client.Client) bool
	}{
		{"nodes-ready", func(ctx context.Context, c client.Client) bool { return nodesReady(ctx, c, nodes) }},
		{"DNS-ready", dnsReady},
	} {
		for !goal.reached(ctx, api) {
			select {
			case <-ctx.Done():
				b.Fatalf("%s: %s is not reached", tool, goal.what)
			case <-time.After(100 * time.Millisecond):
			}
		}
		note(goal.what)
	}
	if err := <-returned; err != nil {
		b.Fatalf("%s: %v", tool, err)
	}
	measured[tool+" return"] = append(measured[tool+" return"], returnedAfter)
}

// server is the line of a kubeconfig that says where the cluster is.
var server = regexp.MustCompile(`server: .*`)

// connectInside makes a client from what lies in a control plane, as soon as it
// is there. Nothing is asked for twice in half a second: that costs the host time.
func connectInside(ctx context.Context, b *testing.B, container string) client.Client {
	b.Helper()
	for ; ctx.Err() == nil; time.Sleep(500 * time.Millisecond) {
		port, err := exec.Command("docker", "port", container, "6443/tcp").Output()
		if err != nil {
			continue
		}
		text, err := exec.Command("docker", "exec", container, "cat", "/etc/kubernetes/admin.conf").Output()
		if err != nil || len(text) == 0 {
			continue
		}
		at := "server: https://" + strings.Fields(string(port))[0]
		config, err := clientcmd.RESTConfigFromKubeConfig(server.ReplaceAll(text, []byte(at)))
		if err != nil {
			continue
		}
		config.QPS = 100
		for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
			if c, err := client.New(config, client.Options{Scheme: scheme.Scheme}); err == nil {
				return c
			}
		}
	}
	b.Fatalf("no control plane in %s", container)
	return nil
}

func nodesReady(ctx context.Context, c client.Client, want int) bool {
	var nodes corev1.NodeList
	if err := c.List(ctx, &nodes); err != nil {
		return false
	}
	ready := 0
	for _, n := range nodes.Items {
		for _, condition := range n.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				ready++
			}
		}
	}
	return ready == want
}

func dnsReady(ctx context.Context, c client.Client) bool {
	var dns appsv1.Deployment
	err := c.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "coredns"}, &dns)
	return err == nil && dns.Status.ObservedGeneration == dns.Generation && dns.Status.AvailableReplicas == *dns.Spec.Replicas
}
