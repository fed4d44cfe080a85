package e2e_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// older is the version that clusters are upgraded from.
const older = "v1.36.2"

// TestCalendar lets days pass for a cluster: it is maintained in its window while
// it is in use, sleeps and wakes by its schedule, and ends when its time is up. The
// clock of the controllers is set forward at each start of the garden, to shortly
// before something is due.
func TestCalendar(t *testing.T) {
	t.Parallel() // most of it is waiting, as of TestApart
	i := install(t)
	must(t, i.binary, "image", "build", "--kubernetes-version", older)
	c := &calendar{installation: i, today: time.Now().UTC().Truncate(24 * time.Hour)}
	c.up()

	t.Run("grow", c.with((*calendar).grow))
	t.Run("maintenance rolls a version", c.with((*calendar).maintain))
	t.Run("a schedule puts the cluster to sleep", c.with((*calendar).sleep))
	t.Run("a schedule wakes it", c.with((*calendar).wake))
	t.Run("its time is up", c.with((*calendar).expire))
}

// calendar is an installation whose controllers live in another time.
type calendar struct {
	*installation
	today time.Time
	// started is how long the garden took to start.
	started time.Duration
}

func (c *calendar) with(part func(*calendar)) func(*testing.T) {
	return c.installation.with(func(i *installation) {
		own := *c
		own.installation = i
		part(&own)
		c.started = own.started
	})
}

func (c *calendar) up(flags ...string) {
	c.t.Helper()
	began := time.Now()
	c.loam(append([]string{"up", "--detach", "--listen", "127.0.0.1:0"}, flags...)...)
	c.started = max(c.started, time.Since(began))
}

// before starts the garden anew, at a time that is to come within seconds: a few
// starts of this host later.
func (c *calendar) before(due time.Time) {
	c.t.Helper()
	c.loam("down")
	lead := 3*c.started + 5*time.Second
	c.up("--clock-offset", time.Until(due.Add(-lead)).Round(time.Second).String())
}

// patch changes the cluster.
func (c *calendar) patch(patch string) {
	c.t.Helper()
	c.garden("-n", "garden-local", "patch", "shoot", "day", "--type=merge", "-p", patch)
}

func (c *calendar) status(path string) string {
	out, _ := c.tryKube(filepath.Join(c.data, "kubeconfig"), "", "-n", "garden-local", "get", "shoot", "day", "-o", "jsonpath={"+path+"}")
	return out
}

// quota lets a cluster that was made with its credentials live three days.
const quota = `
apiVersion: core.gardener.cloud/v1beta1
kind: Quota
metadata: {name: short, namespace: garden-local}
spec: {scope: {apiVersion: core.gardener.cloud/v1beta1, kind: Project}, clusterLifetimeDays: 3, metrics: {}}
---
apiVersion: v1
kind: Secret
metadata: {name: nothing, namespace: garden-local}
---
apiVersion: security.gardener.cloud/v1alpha1
kind: CredentialsBinding
metadata: {name: short, namespace: garden-local}
provider: {type: local}
credentialsRef: {apiVersion: v1, kind: Secret, name: nothing, namespace: garden-local}
quotas: [{name: short, namespace: garden-local}]
---
apiVersion: core.gardener.cloud/v1beta1
kind: Project
metadata: {name: idle}
spec: {namespace: garden-idle}
`

const dayShoot = `
apiVersion: core.gardener.cloud/v1beta1
kind: Shoot
metadata: {name: day, namespace: garden-local}
spec:
  cloudProfile: {kind: CloudProfile, name: local}
  credentialsBindingName: short
  seedName: local
  region: local
  kubernetes: {version: %s}
  networking: {type: flannel}
  maintenance:
    timeWindow: {begin: 020000+0000, end: 030000+0000}
    autoUpdate: {kubernetesVersion: true, machineImageVersion: true}
  provider:
    type: local
    workers: [{name: worker, minimum: 2, maximum: 2, machine: {type: local}}]
`

// servedPage is served by two pods, and asked for by one on each node, whose program and
// log lie on the node's disk.
const servedPage = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: page}
spec:
  replicas: 2
  selector: {matchLabels: {app: page}}
  template:
    metadata: {labels: {app: page}}
    spec:
      containers:
      - name: page
        image: loam.dev/node/busybox:v1
        command: [sh, -c, "mkdir /www; hostname >/www/index.html; exec httpd -f -p 8080 -h /www"]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        # Until all nodes have heard that it goes.
        lifecycle: {preStop: {exec: {command: [sleep, "5"]}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: page}
spec: {minAvailable: 1, selector: {matchLabels: {app: page}}}
---
apiVersion: v1
kind: Service
metadata: {name: page}
spec: {selector: {app: page}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: client}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec:
      tolerations: [{operator: Exists}]
      terminationGracePeriodSeconds: 3
      containers:
      - name: client
        image: loam.dev/node/busybox:v1
        command: [/client/requests, "http://page.default.svc.cluster.local", /client/log]
        volumeMounts: [{name: client, mountPath: /client}]
      volumes: [{name: client, hostPath: {path: /var/local-path-provisioner/client}}]
`

func (c *calendar) grow() {
	c.kube(filepath.Join(c.data, "kubeconfig"), quota, "apply", "-f", "-")
	c.kube(filepath.Join(c.data, "kubeconfig"), fmt.Sprintf(dayShoot, strings.TrimPrefix(older, "v")), "create", "-f", "-")
	client := filepath.Join(c.t.TempDir(), "requests")
	must(c.t, "go", "build", "-o", client, "./testdata/requests")
	c.settled("day", 10*time.Minute)
	for _, node := range c.owned("ps", "-q") {
		must(c.t, "docker", "exec", node, "mkdir", "/var/local-path-provisioner/client")
		must(c.t, "docker", "cp", client, node+":/var/local-path-provisioner/client/requests")
	}
	c.clusterApply("day", servedPage)
	c.cluster("day", "rollout", "status", "deployment/page", "--timeout=5m")
	c.cluster("day", "rollout", "status", "daemonset/client", "--timeout=5m")
	eventually(c.t, 5*time.Minute, func() error {
		for node, asked := range c.requests() {
			if asked.answered == 0 {
				return fmt.Errorf("nothing was answered on %s", node)
			}
		}
		return nil
	})
}

// asked is what came of the requests of one node.
type asked struct {
	answered int
	failed   []string
}

func (c *calendar) requests() map[string]asked {
	c.t.Helper()
	all := map[string]asked{}
	for _, node := range c.owned("ps", "-q") {
		out, _ := exec.Command("docker", "exec", node, "cat", "/var/local-path-provisioner/client/log").Output()
		a := asked{answered: strings.Count(string(out), "ok\n")}
		for line := range strings.Lines(string(out)) {
			if line != "ok\n" {
				a.failed = append(a.failed, strings.TrimSpace(line))
			}
		}
		all[node] = a
	}
	return all
}

// maintain starts the garden as late in the window as a maintenance may begin.
func (c *calendar) maintain() {
	c.before(c.today.AddDate(0, 0, 1).Add(2*time.Hour + 45*time.Minute))
	eventually(c.t, 10*time.Minute, func() error {
		if v := c.status(".spec.kubernetes.version"); "v"+v != version {
			return fmt.Errorf("the shoot has version %s; last maintenance: %s", v, c.status(".status.lastMaintenance"))
		}
		return nil
	})
	c.settled("day", 15*time.Minute)
	if got := c.status(".status.lastMaintenance"); !strings.Contains(got, "Succeeded") || !strings.Contains(got, "from \\\""+strings.TrimPrefix(older, "v")) {
		c.t.Errorf("the last maintenance is %s", got)
	}
	nodes := c.cluster("day", "get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.nodeInfo.kubeletVersion} {.spec.unschedulable}{"\n"}{end}`)
	for line := range strings.Lines(nodes) {
		if fields := strings.Fields(line); len(fields) != 2 || fields[1] != version {
			c.t.Errorf("node is %q, want version %s and not cordoned", line, version)
		}
	}
	total := 0
	for node, a := range c.requests() {
		total += a.answered
		if len(a.failed) > 0 {
			c.t.Errorf("on node %s %d of %d requests failed, the first: %s", node, len(a.failed), a.answered+len(a.failed), a.failed[0])
		}
	}
	c.t.Logf("%d requests were answered", total)
	plan := c.loam("cluster", "upgrade", "day", "--kubernetes-version", version, "--dry-run", "-o", "json")
	if !strings.Contains(plan, `"steps": []`) {
		c.t.Errorf("there is still something to upgrade: %s", plan)
	}
	c.refused("cannot be lowered", "cluster", "upgrade", "day", "--kubernetes-version", older)
}

func (c *calendar) running() int { return len(c.owned("ps", "-q")) }

func (c *calendar) sleep() {
	c.patch(`{"spec":{"hibernation":{"schedules":[{"start":"0 20 * * *","end":"0 7 * * *"}]}}}`)
	c.before(c.today.AddDate(0, 0, 1).Add(20 * time.Hour))
	eventually(c.t, 10*time.Minute, func() error {
		if n := c.running(); n > 0 {
			return fmt.Errorf("%d machines run", n)
		}
		return nil
	})
	c.settled("day", 5*time.Minute)
	if got := c.status(".status.hibernated"); got != "true" {
		c.t.Errorf("the shoot is hibernated: %s", got)
	}
}

func (c *calendar) wake() {
	c.before(c.today.AddDate(0, 0, 2).Add(7 * time.Hour))
	eventually(c.t, 10*time.Minute, func() error {
		if n := c.running(); n != 3 {
			return fmt.Errorf("%d machines run", n)
		}
		return nil
	})
	c.settled("day", 10*time.Minute)
	if got := c.cluster("day", "get", "pods", "-l", "app=page", "-o", "name"); strings.Count(got, "pod/") < 2 {
		c.t.Errorf("after the night there are %s", got)
	}
}

// expire starts the garden two months later.
func (c *calendar) expire() {
	if got := c.status(`.metadata.annotations.shoot\.gardener\.cloud/expiration-timestamp`); got == "" {
		c.t.Error("nothing says when the cluster will end")
	}
	c.before(c.today.AddDate(0, 2, 0))
	eventually(c.t, 10*time.Minute, func() error {
		out, err := c.tryKube(filepath.Join(c.data, "kubeconfig"), "", "-n", "garden-local", "get", "shoot", "day")
		if err == nil || !strings.Contains(out, "NotFound") {
			return fmt.Errorf("the shoot is there: %s", out)
		}
		return nil
	})
	if left := len(c.owned("ps", "-aq")) + len(c.owned("volume", "ls", "-q")); left > 0 {
		c.t.Errorf("%d containers and volumes are left of the cluster", left)
	}
	eventually(c.t, 5*time.Minute, func() error {
		since := c.garden("get", "project", "idle", "-o", "jsonpath={.status.staleSinceTimestamp}")
		if since == "" {
			return fmt.Errorf("the project that nobody uses is not marked")
		}
		if at, err := time.Parse(time.RFC3339, since); err != nil || at.Before(c.today.AddDate(0, 1, 0)) {
			return fmt.Errorf("it is stale since %q", since)
		}
		return nil
	})
}
