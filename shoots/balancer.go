package shoots

import (
	"context"
	"fmt"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
)

// balancerName is no name of a node: those end in a number.
const balancerName = "balancer"

// balancer is the machine through which several API servers are reached: none where
// there is one of them.
func (c *Cluster) balancer() []member {
	if len(c.members(v1alpha1.RoleControlPlane)) < 2 {
		return nil
	}
	return []member{{pool: Pool{Name: balancerName, Role: v1alpha1.RoleBalancer, Count: 1}, name: balancerName}}
}

// gate is the machine whose published port leads to the API server.
func (c *Cluster) gate() member {
	all := append(c.balancer(), c.members(v1alpha1.RoleControlPlane)...)
	if len(all) == 0 {
		return member{}
	}
	return all[0]
}

// bootBalancer starts the balancer. It knows the API servers by their addresses,
// which machines keep for life; one that is made anew has another.
func (r *run) bootBalancer(ctx context.Context) error {
	files, err := nodeconfig.BalancerFiles(r.controlPlaneMembers(), r.authorities["ca.crt"])
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	m := r.balancer
	if err := r.put(ctx, m, files); err != nil {
		return err
	}
	if err := r.Machines.Start(ctx, m.Cluster, m.Name); err != nil {
		return fmt.Errorf("starting machine %q: %w", m.Name, err)
	}
	var orders []string
	if r.cluster.Established {
		// An upgrade that was cut short may have left one drained.
		orders = serverOrders(serverReady, r.controlPlanes...)
	}
	_, err = r.script(ctx, m, balancerScript, orders...)
	return err
}

// balancerScript waits until the balancer takes connections, and has it read its
// files again if they are not those that it was last seen with. An image of others
// may have none.
//
//	$1... orders
const balancerScript = `
test -x /usr/sbin/haproxy || { echo "the node image has no load balancer: several control planes need an image of loam image build" >&2; exit 1; }
` + nodeconfig.AwaitSystemd + `
systemctl start ` + nodeconfig.BalancerUnit + `
seen=/run/loam-balancer/seen
sum=$(cat ` + nodeconfig.BalancerPath + ` ` + nodeconfig.BalancerCAPath + ` | sha256sum)
test "$sum" = "$(cat $seen 2>/dev/null)" || { systemctl reload ` + nodeconfig.BalancerUnit + `; echo "$sum" >$seen; }
` + orderScript

// States of a server at the balancer: one that is drained gets no new connections.
const (
	serverReady = "ready"
	serverDrain = "drain"
)

// orderScript gives the balancer orders.
//
//	$1... orders
const orderScript = `
for order; do echo "$order" | socat -t 5 - UNIX-CONNECT:` + nodeconfig.BalancerSocket + `; done
`

// setServer tells the balancer, if there is one, what to do with the API server of a
// machine.
func (r *run) setServer(ctx context.Context, state string, m controlPlane) error {
	if len(r.cluster.balancer()) == 0 {
		return nil
	}
	_, err := r.script(ctx, r.balancer, orderScript, serverOrders(state, m)...)
	return err
}

func serverOrders(state string, all ...controlPlane) []string {
	orders := make([]string, len(all))
	for i, m := range all {
		orders[i] = "set server " + nodeconfig.BalancerBackend + "/" + m.Hostname + " state " + state
	}
	return orders
}

// replaceBalancer has the balancer boot from the image of the cluster's version.
func (r *run) replaceBalancer(ctx context.Context) error {
	members := r.cluster.balancer()
	if len(members) == 0 || !r.cluster.outdated(r.balancer) {
		return nil
	}
	replaced, err := r.Machines.Replace(ctx, r.cluster.spec(members[0]), machines.Replacement{
		Keep: []string{"/etc/loam", "/etc/machine-id"}, Grace: workerGrace,
	})
	if err != nil {
		return err
	}
	r.balancer = replaced
	return r.bootBalancer(ctx)
}

func (r *run) controlPlaneMembers() []nodeconfig.Member {
	all := make([]nodeconfig.Member, len(r.controlPlanes))
	for i, m := range r.controlPlanes {
		all[i] = nodeconfig.Member{Name: m.Hostname, Address: r.cluster.addresses(m.Machine)[0]}
	}
	return all
}
