package app

import (
	"context"
	"slices"

	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/machines/container"
	"github.com/loam-cloud/loam/shoots/insight"
)

// Insight looks at the clusters that one installation of Loam has on this host,
// whether its garden runs or not. Whoever opened it closes it.
type Insight struct {
	driver *container.Driver
}

// OpenInsight opens the installation by its name: that of Config.Instance, or of
// the agent that serves a seed.
func OpenInsight(instance string) (*Insight, error) {
	driver, err := container.New(container.Config{Instance: instance})
	if err != nil {
		return nil, err
	}
	return &Insight{driver: driver}, nil
}

// AgentInstance is the name of the installation of an agent that serves a seed.
func AgentInstance(seed string) string { return "loam-" + seed }

// Close ends connections to the container engine.
func (i *Insight) Close() { _ = i.driver.Close() } // nobody waits for them

// Looker looks at the installation's clusters.
func (i *Insight) Looker() *insight.Looker {
	return &insight.Looker{Machines: i.driver, Clock: clock.RealClock{}}
}

// Clusters are the technical ids of the clusters that have machines.
func (i *Insight) Clusters(ctx context.Context) ([]string, error) {
	all, err := i.driver.List(ctx, "")
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, m := range all {
		ids = append(ids, m.Cluster)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
