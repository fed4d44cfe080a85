package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/loam-cloud/loam/shoots/ports"
)

// balanced are services beside those of page: one over TCP that the host serves
// at its own port, names over UDP, and one that nobody answers.
const balanced = `
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec:
  type: LoadBalancer
  selector: {app: page}
  ports: [{port: %d, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: names, namespace: kube-system}
spec:
  type: NodePort
  selector: {k8s-app: kube-dns}
  ports: [{port: 53, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  type: NodePort
  selector: {app: nobody}
  ports: [{port: 80}]
`

// wholeServices reaches services of the cluster from this host, adds and removes
// ports while it runs, and restarts the garden: from then on nodes are reached
// through their machines only. The first of the ports is the API server's.
func wholeServices(i *installation, first int) {
	balancedPort, mapped := first+5, first+6
	i.clusterApply("whole", fmt.Sprintf(balanced, balancedPort))
	lines := i.ports("whole", map[string]string{
		"default/page:80/TCP":         "page",
		"default/balanced:%/TCP":      "page",
		"kube-system/names:53/UDP":    "names",
		"default/nobody:80/TCP":       "no pod is behind it",
		"default/kubernetes:443/TCP":  "inside the cluster only",
		"Published default/page:80":   "page",
		"Published API server":        "",
		"kube-system/kube-dns:53/TCP": "inside the cluster only",
	})
	if at := lines["default/balanced:%/TCP"].Address; at.Port() != uint16(balancedPort) {
		i.t.Errorf("the service for port %d is at %s", balancedPort, at)
	}
	i.holds(i.cluster("whole", "get", "service", "balanced", "-o", "jsonpath={.status.loadBalancer.ingress}"), `"ip":"127.0.0.1"`, `"ipMode":"Proxy"`)
	addPorts(i, first, balancedPort, mapped)
	before := i.portLines("whole")
	i.loam("down")
	if out := i.loam("cluster", "ports", "whole"); !strings.Contains(out, "no garden runs") || !strings.Contains(out, "API server") {
		i.t.Errorf("without a garden the ports are\n%s", out)
	}
	i.loam("up", "--detach", "--listen", "127.0.0.1:0", "--ports-way", "relay")
	after := i.ports("whole", map[string]string{
		"default/page:80/TCP": "page", "default/balanced:%/TCP": "page", "kube-system/names:53/UDP": "names",
		"Mapping default/page:80": "page", "Mapping kube-system/names:53": "names",
	})
	now := map[string]netip.AddrPort{}
	for _, l := range i.portLines("whole") {
		now[l.ID] = l.Address
	}
	for _, l := range before {
		if l.Kind == ports.KindMapping && now[l.ID] != l.Address {
			i.t.Errorf("%s was at %s and is at %s after a restart", l.ID, l.Address, now[l.ID])
		}
	}
	at := after["default/balanced:%/TCP"].Address
	i.cluster("whole", "delete", "service", "balanced")
	eventually(i.t, time.Minute, func() error {
		conn, err := net.Dial("tcp", at.String())
		if err != nil {
			return nil //nolint:nilerr // as it should be
		}
		return errors.Join(fmt.Errorf("%s is open, and its service is gone", at), conn.Close())
	})
}

// addPorts adds and removes ports of the running cluster.
func addPorts(i *installation, first, balancedPort, mapped int) {
	i.holds(i.loam("cluster", "ports", "add", "whole", fmt.Sprintf("%d:30080", mapped), "--dry-run"), fmt.Sprintf("+ %d:30080/tcp", mapped))
	i.refused(`port "x": must be`, "cluster", "ports", "add", "whole", "80:80/sctp", "x")
	i.refused("the API server has this port", "cluster", "ports", "add", "whole", fmt.Sprintf("%d:30080", first))
	taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", mapped))
	if err != nil {
		i.t.Fatal(err)
	}
	i.loam("cluster", "ports", "add", "whole", fmt.Sprintf("%d:30080", mapped), fmt.Sprintf("%d:30080", balancedPort))
	eventually(i.t, time.Minute, func() error {
		out := i.loam("cluster", "ports", "whole")
		for _, want := range []string{
			fmt.Sprintf("port %d of this host is taken by %s (process %d)", mapped, program(i.t), os.Getpid()),
			fmt.Sprintf(`port %d of this host is taken by default/balanced of cluster "whole"`, balancedPort),
		} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("%q is not in\n%s", want, out)
			}
		}
		return nil
	})
	_ = taken.Close()
	i.loam("cluster", "ports", "remove", "whole", fmt.Sprintf("%d:30080", mapped), fmt.Sprintf("%d:30080", balancedPort))
	if out := i.loam("cluster", "ports", "whole"); strings.Contains(out, "Mapping") {
		i.t.Errorf("ports that were removed are left:\n%s", out)
	}
	// A range, and two free ones for the same service, one over UDP.
	names := i.cluster("whole", "-n", "kube-system", "get", "service", "names", "-o", "jsonpath={.spec.ports[0].nodePort}")
	i.loam("cluster", "ports", "add", "whole", fmt.Sprintf("%d-%d:30080-30081", mapped, mapped+1), ":30080", ":30080", ":"+names+"/udp")
	var free []netip.AddrPort
	eventually(i.t, time.Minute, func() error {
		free = nil
		for _, l := range i.portLines("whole") {
			if l.Kind == ports.KindMapping && l.NodePort == 30080 {
				free = append(free, l.Address)
			}
		}
		if len(free) != 3 || free[1] == free[2] || free[0].Port() != uint16(mapped) {
			return fmt.Errorf("the ports are %v", free)
		}
		return nil
	})
	for _, at := range free {
		eventually(i.t, time.Minute, func() error { return answers("page", at) })
	}
}

// program is what the kernel calls this process.
func program(t testing.TB) string {
	t.Helper()
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(name))
}

// portLines are the lines of loam cluster ports.
func (i *installation) portLines(cluster string) []ports.Line {
	i.t.Helper()
	out, err := i.command("cluster", "ports", cluster, "-o", "json").Output()
	if err != nil {
		i.t.Fatalf("ports of %s: %v", cluster, err)
	}
	var lines []ports.Line
	if err := json.Unmarshal(out, &lines); err != nil {
		i.t.Fatalf("ports of %s: %v\n%s", cluster, err, out)
	}
	return lines
}

// lineName tells lines apart by what a reader sees.
func lineName(l ports.Line) string {
	switch {
	case l.Kind == ports.KindPublished && l.Name == "":
		return "Published " + l.Title()
	case l.Kind != ports.KindService:
		return fmt.Sprintf("%s %s:%d", l.Kind, l.Title(), l.Port)
	case l.Name == "balanced":
		return "default/balanced:%/TCP"
	}
	return fmt.Sprintf("%s:%d/%s", l.Title(), l.Port, l.Protocol)
}

// ports waits until each line is as wanted: the service answers, or the note says
// why it does not.
func (i *installation) ports(cluster string, want map[string]string) map[string]ports.Line {
	i.t.Helper()
	found := map[string]ports.Line{}
	eventually(i.t, 2*time.Minute, func() error {
		clear(found)
		for _, l := range i.portLines(cluster) {
			found[lineName(l)] = l
		}
		for name, wanted := range want {
			l, there := found[name]
			switch {
			case !there:
				return fmt.Errorf("there is no line %q in %+v", name, found)
			case wanted == "page" || wanted == "names":
				if err := answers(wanted, l.Address); err != nil || !l.Reachable {
					return fmt.Errorf("%+v: %w", l, err)
				}
			case !strings.Contains(l.Note, wanted):
				return fmt.Errorf("%+v does not say %q", l, wanted)
			}
		}
		return nil
	})
	return found
}

// answers asks the page for its text, or names for one, over UDP.
func answers(what string, at netip.AddrPort) error {
	if what == "page" {
		body, err := fetch("http://" + at.String() + "/")
		if err == nil && !strings.Contains(body, "written-once-") {
			err = fmt.Errorf("%s says %q", at, body)
		}
		return err
	}
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", at.String())
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	addresses, err := resolver.LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
	if err == nil && len(addresses) == 0 {
		err = fmt.Errorf("%s knows no address", at)
	}
	return err
}
