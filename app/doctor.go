package app

import (
	"context"
	"net/netip"
	"slices"

	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots/doctor"
	"github.com/loam-cloud/loam/shoots/doctor/collect"
	"github.com/loam-cloud/loam/shoots/insight"
)

// HostFacts collects what the doctor judges of this host. Garden is the address
// of the garden that runs on the data folder; empty where none does.
func (i *Insight) HostFacts(ctx context.Context, dataDir, gardenAddress string) doctor.Host {
	h := collect.Host(ctx)
	note := func(check string, err error) {
		if err != nil {
			h.Unknown[check] = err.Error()
		}
	}
	if gardenAddress != "" {
		h.Ports = append(h.Ports, doctor.Port{Address: gardenAddress, Use: "the garden's", Ours: true})
	} else {
		p := doctor.Port{Address: garden.DefaultListen, Use: "the garden", Otherwise: ", or choose another port: loam up --listen 127.0.0.1:0"}
		h.Ports = append(h.Ports, held(p, note))
	}
	disk := func(use, path string) {
		d, err := collect.Disk(use, path)
		note("disk of "+use, err)
		h.Disks = append(h.Disks, d)
	}
	disk("the garden's data", dataDir)
	if err := i.driver.Ping(ctx); err != nil {
		h.Engine.Problem = err.Error()
		return h
	}
	e, err := i.driver.Host(ctx)
	if err != nil {
		h.Engine.Problem = err.Error()
		return h
	}
	h.Engine = doctor.Engine{
		Address: e.Address, Local: e.Local, Version: e.Daemon, System: e.System, CgroupDriver: e.CgroupDriver,
		StorageDriver: e.StorageDriver, Backing: e.Backing, Root: e.Root,
	}
	if e.Local {
		disk("the container engine", e.Root)
	}
	h.Engine.Missing, err = i.driver.MissingCapabilities(ctx)
	note("capabilities", err)
	h.Engine.Nodes, err = i.driver.Nodes(ctx)
	note("nodes", err)
	images, err := NodeImages(ctx, "")
	note("node images", err)
	for _, image := range images {
		h.NodeImages = append(h.NodeImages, image.KubernetesVersion)
	}
	slices.Sort(h.NodeImages)
	h.NodeImages = slices.Compact(h.NodeImages)
	return h
}

// ClusterFacts collects what the doctor judges of a cluster.
func (i *Insight) ClusterFacts(ctx context.Context, known insight.Known, hibernated bool) (doctor.Cluster, error) {
	looker := i.Looker()
	view, err := looker.Look(ctx, known)
	if err != nil {
		return doctor.Cluster{}, err
	}
	facts := doctor.Cluster{View: view, Hibernated: hibernated, FromNodes: looker.FromNodes(ctx, view)}
	for _, m := range view.Machines {
		for _, p := range m.Ports {
			one := doctor.Port{
				Address: netip.AddrPortFrom(p.HostAddress, p.HostPort).String(), Use: "cluster " + known.Name, Ours: m.State == machines.StateRunning,
			}
			if p.Protocol == machines.TCP && !one.Ours {
				facts.Ports = append(facts.Ports, held(one, func(string, error) {}))
			}
		}
	}
	return facts, nil
}

// held adds who listens on a port.
func held(p doctor.Port, note func(check string, err error)) doctor.Port {
	address, err := netip.ParseAddrPort(p.Address)
	if err == nil {
		p.Holder, err = collect.Holder(address, "tcp")
	}
	note("ports", err)
	return p
}
