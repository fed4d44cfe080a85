package nodeconfig

import (
	"fmt"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Member is one of several control planes.
type Member struct {
	// Name is the hostname and the name of the Node object.
	Name    string
	Address netip.Addr
}

const (
	// BalancerPath makes a machine the balancer of a cluster, and no node.
	BalancerPath = "/etc/loam/haproxy.cfg"
	// BalancerUnit is the balancer's own.
	BalancerUnit = "loam-balancer.service"
	// BalancerSocket is where the balancer takes orders.
	BalancerSocket = "/run/loam-balancer/admin.sock"
	// BalancerBackend names the servers together, each of which has the name of its
	// member.
	BalancerBackend = "api-servers"
	// BalancerCAPath is the authority by which it trusts API servers.
	BalancerCAPath = "/etc/loam/balancer-ca.crt"
)

// balancerHead begins the configuration. A server counts as ready when its /readyz
// says so to one who trusts the cluster's authority only; connections to one that
// is not are cut, so that clients come back to another. One that is gone takes no
// connection, which is seen soon; one that is slow because its host is busy has more
// time to answer. Watches are silent for long and kept alive by TCP. Each file
// descriptor that could be had costs memory from the start.
const balancerHead = `global
  user haproxy
  group haproxy
  log stdout format raw daemon notice
  fd-hard-limit 20000
  stats socket ` + BalancerSocket + ` mode 600 level admin

defaults
  mode tcp
  log global
  option clitcpka
  option srvtcpka
  option redispatch 1
  retries 3
  timeout connect 2s
  timeout check 5s
  timeout client 1h
  timeout server 1h

frontend kubernetes
  bind :::%[1]d v4v6
  default_backend ` + BalancerBackend + `

backend ` + BalancerBackend + `
  balance leastconn
  option httpchk GET /readyz
  http-check expect status 200
  default-server check check-ssl check-sni kubernetes verifyhost kubernetes verify required ca-file ` + BalancerCAPath + ` inter 1s fastinter 500ms downinter 500ms rise 1 fall 2 on-marked-down shutdown-sessions
`

// BalancerFiles renders what makes a machine spread connections over the API
// servers of the members, which it asks for their readiness. The authority is the
// cluster's, PEM. The error names every field that is wrong.
func BalancerFiles(members []Member, ca []byte) ([]File, error) {
	problems := append(validateMembers(field.NewPath("members"), members), validateCA(field.NewPath("ca"), ca)...)
	if len(members) == 0 {
		problems = append(problems, field.Required(field.NewPath("members"), "there is nothing to spread connections over"))
	}
	if len(problems) > 0 {
		return nil, problems.ToAggregate()
	}
	var config strings.Builder
	fmt.Fprintf(&config, balancerHead, apiServerPort)
	for _, m := range members {
		fmt.Fprintf(&config, "  server %s %s\n", m.Name, netip.AddrPortFrom(m.Address, apiServerPort))
	}
	return []File{
		{Path: BalancerCAPath, Content: ca, Mode: public},
		{Path: BalancerPath, Content: []byte(config.String()), Mode: public},
	}, nil
}

func validateMembers(at *field.Path, members []Member) field.ErrorList {
	var all field.ErrorList
	names, addresses := map[string]bool{}, map[netip.Addr]bool{}
	for i, m := range members {
		all = append(all, messages(at.Index(i).Child("name"), m.Name, validation.IsDNS1123Subdomain(m.Name))...)
		switch {
		case names[m.Name]:
			all = append(all, field.Duplicate(at.Index(i).Child("name"), m.Name))
		case !m.Address.IsValid():
			all = append(all, field.Required(at.Index(i).Child("address"), "members find each other by it"))
		case addresses[m.Address]:
			all = append(all, field.Duplicate(at.Index(i).Child("address"), m.Address.String()))
		}
		names[m.Name], addresses[m.Address] = true, true
	}
	return all
}

// etcdPatch has the etcd members of all control planes begin as one cluster.
// kubeadm itself begins with one and adds the others, one after the other. Of a
// flag that is given twice etcd takes the last; in a member that has data it takes
// neither.
func etcdPatch(members []Member) any {
	var peers []string
	for _, m := range members {
		peers = append(peers, m.Name+"=https://"+netip.AddrPortFrom(m.Address, etcdPeerPort).String())
	}
	var patch []any
	for _, flag := range []string{"--initial-cluster=" + strings.Join(peers, ","), "--initial-cluster-state=new"} {
		patch = append(patch, map[string]any{"op": "add", "path": "/spec/containers/0/command/-", "value": flag})
	}
	return patch
}
