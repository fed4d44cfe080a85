package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestClusters walks through the life of clusters on one garden. The parts
// build on each other: a cluster costs half a minute, a garden some seconds.
func TestClusters(t *testing.T) {
	i := install(t)
	images := newImageCache(t)
	i.loam("up", "--detach", "--listen", "127.0.0.1:0", "--registry-config", images.file)

	t.Run("bad input leaves nothing behind", i.with(badInput))
	t.Run("a cluster of three nodes", i.with(threeNodes))
	t.Run("kubeconfigs on request", i.with(kubeconfigsOnRequest))
	t.Run("nodes are configured by their profile", i.with(nodeProfile))
	t.Run("kubectl works on the garden", i.with(kubectlOnGarden))
	t.Run("a page is served and data is kept", i.with(workload))
	t.Run("inspect, doctor and export", i.with(insightOfACluster))
	t.Run("images are loaded from Docker, an archive and a layout", i.with(loadImages))
	t.Run("images come through the image cache", i.with(images.serves))
	t.Run("a bounded node says so", i.with(bounds))
	t.Run("kubeadm works on nodes", i.with(kubeadm))
	t.Run("workers scale up and down", i.with(scale))
	t.Run("pools and settings change in place", i.with(change))
	t.Run("hibernate and wake", i.with(hibernate))
	t.Run("kill -9 while a second cluster is made", i.with(killDuringCreate))
	t.Run("two clusters share nothing", i.with(sharesNothing))
	t.Run("a lost control plane is made again on its disks only", i.with(lostControlPlane))
	t.Run("delete one, then the other", i.with(deleteBoth))
}

// with lets a part report to its own test.
func (i *installation) with(part func(*installation)) func(*testing.T) {
	return func(t *testing.T) {
		own := *i
		own.t = t
		part(&own)
	}
}

func badInput(i *installation) {
	i.refused("node images can be built for", "cluster", "create", "bad", "--kubernetes-version", "1.30.0")
	i.refused("must not be negative", "cluster", "create", "bad", "--workers", "-1")
	i.refused("unknown flag", "cluster", "create", "bad", "--colour", "red")
	i.refused("bad", "cluster", "get", "bad")
	i.refused("must be one of json, yaml, wide", "cluster", "list", "-o", "xml")

	file := filepath.Join(i.t.TempDir(), "kind.yaml")
	text := "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n  extraMounts:\n  - hostPath: /x\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		i.t.Fatal(err)
	}
	i.refused("nodes[0].extraMounts", "cluster", "create", "bad", "-f", file)

	if out, err := i.command("up").CombinedOutput(); err == nil || !strings.Contains(string(out), "process ") {
		i.t.Errorf("a second start on the same data says %v: %s", err, out)
	}
	taken := i.command("up", "--data-dir", filepath.Join(i.t.TempDir(), "other"), "--listen", strings.TrimPrefix(i.address(), "https://"))
	if out, err := taken.CombinedOutput(); err == nil || !strings.Contains(string(out), "is taken by another process") {
		i.t.Errorf("a start on a port that is taken says %v: %s", err, out)
	}
	noDocker := i.command("image", "build")
	noDocker.Env = append(noDocker.Env, "DOCKER_HOST=unix:///nonexistent/docker.sock")
	if out, err := noDocker.CombinedOutput(); err == nil || !strings.Contains(string(out), "docker.io") {
		i.t.Errorf("an image build without Docker says %v: %s", err, out)
	}
	if left := i.owned("ps", "-aq"); len(left) > 0 {
		i.t.Errorf("containers are left: %v", left)
	}
}

func (i *installation) address() string {
	return strings.TrimSpace(i.garden("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"))
}

func threeNodes(i *installation) {
	i.t.Log(i.loam("cluster", "create", "one", "--workers", "2"))
	nodes := i.cluster("one", "get", "nodes", "--no-headers")
	if got := strings.Count(nodes, " Ready "); got != 3 || strings.Count(nodes, version) != 3 {
		i.t.Errorf("%d nodes are ready, want 3 of %s:\n%s", got, version, nodes)
	}
	if context := i.kube(i.userKubeconfig(), "", "config", "current-context"); strings.TrimSpace(context) != "loam-one" {
		i.t.Errorf("current context is %q", context)
	}
	i.refused("exists already", "cluster", "create", "one")
}

func kubectlOnGarden(i *installation) {
	all := i.garden("get", "shoots,seeds,projects,cloudprofiles", "-A")
	for _, want := range []string{"shoot.core.gardener.cloud/one", "seed.core.gardener.cloud/local", "project.core.gardener.cloud/local", "cloudprofile.core.gardener.cloud/local"} {
		if !strings.Contains(all, want) {
			i.t.Errorf("get does not show %s:\n%s", want, all)
		}
	}
	if out := i.garden("explain", "shoot.spec.provider"); !strings.Contains(out, "workers") {
		i.t.Errorf("explain says\n%s", out)
	}
	if out := i.garden("get", "shoots", "-A", "--field-selector", "spec.seedName=local", "-o", "name"); strings.TrimSpace(out) != "shoot.core.gardener.cloud/one" {
		i.t.Errorf("field selector gives %q", out)
	}
	if out := i.garden("get", "shoots", "-A", "--field-selector", "spec.seedName=other", "-o", "name"); strings.TrimSpace(out) != "" {
		i.t.Errorf("field selector of another seed gives %q", out)
	}
	if out := i.garden("get", "machines.loam.dev", "-n", "garden-local", "-o", "name"); strings.Count(out, "machine.loam.dev/one-") != 3 {
		i.t.Errorf("machines are\n%s", out)
	}
	config := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied, namespace: garden-local}\ndata: {a: b}\n"
	kubeconfig := filepath.Join(i.data, "kubeconfig")
	i.kube(kubeconfig, config, "apply", "--server-side", "-f", "-")
	if out := i.kube(kubeconfig, config, "diff", "--server-side", "-f", "-"); strings.TrimSpace(out) != "" {
		i.t.Errorf("a second server-side apply would change\n%s", out)
	}
	i.garden("delete", "configmap", "-n", "garden-local", "applied")
	// A watch shows a change that happens while it runs.
	watch := exec.Command(i.kubectl, "--kubeconfig", kubeconfig, "get", "shoots", "-n", "garden-local", "--watch-only", "-o", "jsonpath={.metadata.labels.watched}{'\\n'}", "--request-timeout=20s")
	out, err := watch.StdoutPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		i.t.Fatal(err)
	}
	seen := make(chan string, 1)
	go func() {
		buffer := make([]byte, 64)
		n, _ := out.Read(buffer)
		seen <- string(buffer[:n])
	}()
	time.Sleep(time.Second) // until the watch is established
	i.garden("label", "shoot", "-n", "garden-local", "one", "watched=yes")
	if got := <-seen; !strings.Contains(got, "yes") {
		i.t.Errorf("the watch shows %q", got)
	}
	_ = watch.Process.Kill()
	_ = watch.Wait()
}

// page is a pod with a volume of the default storage class that serves what is
// in the volume, behind a service.
const page = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 16Mi}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: page}
spec:
  selector: {matchLabels: {app: page}}
  template:
    metadata: {labels: {app: page}}
    spec:
      nodeSelector: {worker.gardener.cloud/pool: worker, kubernetes.io/hostname: one-worker-0}
      containers:
      - name: web
        image: loam.dev/node/busybox:v1
        imagePullPolicy: IfNotPresent
        command: [sh, -c, 'test -e /www/index.html || echo written-once-$RANDOM$RANDOM >/www/index.html; exec httpd -f -p 8080 -h /www']
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /www}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: Service
metadata: {name: page}
spec:
  type: NodePort
  selector: {app: page}
  ports: [{port: 80, targetPort: 8080}]
`

func workload(i *installation) {
	i.clusterApply("one", page)
	i.cluster("one", "rollout", "status", "deployment/page", "--timeout=120s")
	first := i.page()
	if !strings.Contains(first, "written-once-") {
		i.t.Errorf("the page says %q", first)
	}
	// Names resolve, and a pod on another node reaches the service.
	i.clusterApply("one", `
apiVersion: batch/v1
kind: Job
metadata: {name: ask}
spec:
  backoffLimit: 5
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {kubernetes.io/hostname: one-worker-1}
      containers:
      - name: ask
        image: loam.dev/node/busybox:v1
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 page.default.svc.cluster.local 80 | grep written"]
`)
	i.cluster("one", "wait", "--for=condition=complete", "job/ask", "--timeout=120s")
	if got := i.cluster("one", "logs", "job/ask"); strings.TrimSpace(got) != strings.TrimSpace(first) {
		i.t.Errorf("a pod on another node reads %q, want %q", got, first)
	}
	i.cluster("one", "delete", "job", "ask")
}

// page fetches the page through the service, at the control plane's address.
func (i *installation) page() string {
	i.t.Helper()
	node := i.cluster("one", "get", "node", "one-control-plane-0", "-o", `jsonpath={.status.addresses[?(@.type=="InternalIP")].address}`)
	port := i.cluster("one", "get", "service", "page", "-o", "jsonpath={.spec.ports[0].nodePort}")
	var text string
	eventually(i.t, time.Minute, func() (err error) {
		text, err = fetch(fmt.Sprintf("http://%s:%s/", node, port))
		return err
	})
	return text
}

// kubeadm does on a control plane what its users do with it: it finds what it
// wrote down, and its own checks start a pod.
func kubeadm(i *installation) {
	control := i.owned("ps", "-q", "--filter", "label=loam.dev/cluster=shoot--local--one", "--filter", "label=loam.dev/machine=control-plane-0")
	if len(control) != 1 {
		i.t.Fatalf("the control plane's containers are %v", control)
	}
	for _, step := range []struct{ command, want string }{
		{"kubeadm certs check-expiration", "controller-manager.conf"},
		{"kubeadm certs renew all", "Done renewing certificates"},
		{"kubeadm token create --ttl 1m --print-join-command", "kubeadm join"},
		// What is ignored is that the host may have version 1 of cgroups.
		{"kubeadm upgrade apply " + version + " --yes --ignore-preflight-errors=SystemVerification", "SUCCESS"},
		{"kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system get pods", "kube-scheduler-one-control-plane-0"},
	} {
		var out []byte
		var err error
		// kubeadm gives its own pod a minute, which a busy host may not keep.
		for range 3 {
			out, err = exec.Command("docker", "exec", control[0], "sh", "-c", step.command).CombinedOutput()
			if err == nil {
				break
			}
		}
		if err != nil || !strings.Contains(string(out), step.want) {
			i.t.Errorf("%s: %v, %q is not in\n%s", step.command, err, step.want, out)
		}
	}
	i.settled("one", 4*time.Minute)
}

func (i *installation) setWorkers(name string, n int) {
	i.t.Helper()
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/provider/workers/0/minimum","value":%d},{"op":"replace","path":"/spec/provider/workers/0/maximum","value":%d}]`, n, n)
	i.garden("-n", "garden-local", "patch", "shoot", name, "--type=json", "-p", patch)
	i.settled(name, 4*time.Minute)
}

func scale(i *installation) {
	i.setWorkers("one", 4)
	i.wantNodes("one", "one-control-plane-0", "one-worker-0", "one-worker-1", "one-worker-2", "one-worker-3")
	// A budget that eviction must respect: at least one of the two pods stays up.
	i.clusterApply("one", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: moving}
spec:
  replicas: 3
  selector: {matchLabels: {app: moving}}
  template:
    metadata: {labels: {app: moving}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: moving}}}
      containers:
      - {name: wait, image: 'loam.dev/node/busybox:v1', imagePullPolicy: IfNotPresent, command: [sleep, "100000"]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: moving}
spec:
  minAvailable: 2
  selector: {matchLabels: {app: moving}}
`)
	i.cluster("one", "rollout", "status", "deployment/moving", "--timeout=120s")
	i.setWorkers("one", 1)
	i.wantNodes("one", "one-control-plane-0", "one-worker-0")
	i.cluster("one", "rollout", "status", "deployment/moving", "--timeout=120s")
	if events := i.cluster("one", "get", "pods", "-l", "app=moving", "-o", "jsonpath={.items[*].spec.nodeName}"); strings.TrimSpace(strings.ReplaceAll(events, "one-worker-0", "")) != "" {
		i.t.Errorf("pods run on %q", events)
	}
	i.cluster("one", "delete", "deployment,pdb", "moving")
}

func (i *installation) wantNodes(cluster string, names ...string) {
	i.t.Helper()
	got := strings.Fields(i.cluster(cluster, "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"))
	if strings.Join(got, " ") != strings.Join(names, " ") {
		i.t.Errorf("nodes are %v, want %v", got, names)
	}
	if containers := i.owned("ps", "-q", "--filter", "label=loam.dev/cluster=shoot--local--"+cluster); len(containers) != len(names) {
		i.t.Errorf("%d containers run, want %d", len(containers), len(names))
	}
}

func (i *installation) setHibernation(name string, on bool) {
	i.t.Helper()
	i.garden("-n", "garden-local", "patch", "shoot", name, "--type=merge", "-p", fmt.Sprintf(`{"spec":{"hibernation":{"enabled":%v}}}`, on))
	i.settled(name, 4*time.Minute)
}

func hibernate(i *installation) {
	before := i.page()
	i.setHibernation("one", true)
	if running := i.owned("ps", "-q"); len(running) > 0 {
		i.t.Errorf("containers still run: %v", running)
	}
	insightOfASleepingCluster(i)
	i.setHibernation("one", false)
	i.cluster("one", "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s")
	i.cluster("one", "rollout", "status", "deployment/page", "--timeout=120s")
	if after := i.page(); after != before {
		i.t.Errorf("after waking the page says %q, before it said %q", after, before)
	}
}

func killDuringCreate(i *installation) {
	i.loam("cluster", "create", "two", "--workers", "1", "--wait=false")
	// Steps are short: they are looked for without a pause, and on a busy host one
	// may be over before it is seen. The first is not: it begins after the command.
	for n, steps := range [][]string{
		{"creating", "booting"},
		{"initialising control plane", "reaching API server", "starting controllers", "installing", "recording"},
		{"joining workers", "labelling", "waiting for"},
	} {
		at, seen := i.atStep("two", steps...)
		if !seen && n == 0 {
			i.t.Fatalf("the cluster was ready before %q was seen", steps)
		}
		if !seen {
			i.t.Logf("the cluster was ready before %q was seen", steps)
			break
		}
		i.kill()
		i.t.Logf("killed at: %s", at)
		i.loam("up", "--detach", "--listen", "127.0.0.1:0")
	}
	i.settled("two", 5*time.Minute)
	i.wantNodes("two", "two-control-plane-0", "two-worker-0")
	i.cluster("two", "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s")
	i.wantNodes("one", "one-control-plane-0", "one-worker-0")
}

// atStep returns as soon as one of the steps runs, or none does any more.
func (i *installation) atStep(name string, steps ...string) (at string, seen bool) {
	i.t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); {
		at = i.operation(name)
		for _, s := range steps {
			if strings.Contains(at, s) {
				return at, true
			}
		}
		if strings.Contains(at, " Succeeded:") {
			return at, false
		}
	}
	i.t.Fatalf("%q was not seen, the last operation is %s", steps, at)
	return at, false
}

func lostControlPlane(i *installation) {
	of := []string{"--filter", "label=loam.dev/cluster=shoot--local--two", "--filter", "label=loam.dev/machine=control-plane-0"}
	lose := func() {
		id := i.owned(append([]string{"ps", "-q"}, of...)...)
		if len(id) != 1 {
			i.t.Fatalf("the control plane's containers are %v", id)
		}
		must(i.t, "docker", "rm", "-f", id[0])
	}
	i.cluster("two", "create", "configmap", "kept", "--from-literal=a=b")
	lose()
	i.t.Log(i.loam("cluster", "start", "two"))
	if got := i.cluster("two", "get", "configmap", "kept", "-o", "jsonpath={.data.a}"); got != "b" {
		i.t.Errorf("what was written before says %q", got)
	}

	lose()
	volumes := i.owned(append([]string{"volume", "ls", "-q"}, of...)...)
	must(i.t, "docker", append([]string{"volume", "rm"}, volumes...)...)
	i.garden("-n", "garden-local", "annotate", "shoot", "two", "gardener.cloud/operation=reconcile")
	eventually(i.t, time.Minute, func() error {
		if at := i.operation("two"); !strings.Contains(at, " Failed:") || !strings.Contains(at, "control plane is gone") {
			return fmt.Errorf("the last operation is %s", at)
		}
		return nil
	})
	if made := i.owned(append([]string{"ps", "-aq"}, of...)...); len(made) > 0 {
		i.t.Errorf("a control plane without a state was begun: %v", made)
	}
}

func deleteBoth(i *installation) {
	i.loam("cluster", "delete", "two")
	if left := i.owned("ps", "-aq", "--filter", "label=loam.dev/cluster=shoot--local--two"); len(left) > 0 {
		i.t.Errorf("containers of the deleted cluster are left: %v", left)
	}
	if got := i.cluster("one", "get", "nodes", "--no-headers"); strings.Count(got, " Ready ") != 2 {
		i.t.Errorf("after the other's deletion the nodes are\n%s", got)
	}
	i.loam("cluster", "delete", "one")
	i.loam("cluster", "delete", "one") // gone already is a success
	for _, kind := range [][]string{{"ps", "-aq"}, {"volume", "ls", "-q"}, {"network", "ls", "-q"}} {
		if left := i.owned(kind...); len(left) > 0 {
			i.t.Errorf("docker %v still shows %v", kind, left)
		}
	}
	eventually(i.t, time.Minute, func() error {
		if out := i.garden("get", "secrets,machines.loam.dev,internalsecrets", "-n", "garden-local", "-o", "name"); strings.TrimSpace(out) != "" {
			return fmt.Errorf("in the garden there is still %s", out)
		}
		return nil
	})
	i.loam("down")
	if out, err := i.run("status"); err == nil {
		i.t.Errorf("after down the status is\n%s", out)
	}
}
