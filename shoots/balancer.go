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
// which machines keep for life.
func (r *run) bootBalancer(ctx context.Context) error {
	files, err := nodeconfig.BalancerFiles(r.controlPlaneMembers(), r.authorities["ca.crt"])
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	m := r.balancer
	if m.State != machines.StateRunning {
		if err := r.put(ctx, m, files); err != nil {
			return err
		}
	}
	if err := r.Machines.Start(ctx, m.Cluster, m.Name); err != nil {
		return fmt.Errorf("starting machine %q: %w", m.Name, err)
	}
	_, err = r.script(ctx, m, balancerScript)
	return err
}

// balancerScript waits until the balancer takes connections. An image of others
// may have none.
const balancerScript = `
test -x /usr/sbin/haproxy || { echo "the node image has no load balancer: several control planes need an image of loam image build" >&2; exit 1; }
` + nodeconfig.AwaitSystemd + `
systemctl start ` + nodeconfig.BalancerUnit + `
`

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
		all[i] = nodeconfig.Member{Name: m.Hostname, Address: m.Addresses[0]}
	}
	return all
}
