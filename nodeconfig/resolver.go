package nodeconfig

import "net/netip"

// Paths and names of what leads pods without IPv4 to the resolver of their node, which
// the container engine has at an address of IPv4.
const (
	resolverPath  = "/etc/loam/resolver"
	resolverUnit  = "loam-resolver.service"
	resolverWants = "/etc/systemd/system/kubelet.service.d/06-loam-resolver.conf"
	// resolvPath is what the kubelet gives to pods. It lies in memory, and is made at
	// each boot before the kubelet starts.
	resolvPath = "/run/loam/resolv.conf"
)

// resolverScript does either part of the work.
//
//	prepare ADDRESS  writes resolvPath, in which the resolver is at the node's address
//	serve ADDRESS    passes on what comes there
const resolverScript = `#!/bin/sh
set -eu
address=$2
resolver=$(awk '$1 == "nameserver" { print $2; exit }' /etc/resolv.conf)
case $1 in
prepare)
	mkdir -p /run/loam
	awk -v address="$address" '
		$1 == "nameserver" { if (!done) print "nameserver", (index($2, ":") ? $2 : address); done = 1; next }
		{ print }' /etc/resolv.conf >` + resolvPath + `
	;;
serve)
	case $resolver in *:* | "") exit 0 ;; esac
	socat "TCP6-LISTEN:53,bind=[$address],fork,reuseaddr" "TCP4:$resolver:53" &
	exec socat -T5 "UDP6-RECVFROM:53,bind=[$address],fork" "UDP4-SENDTO:$resolver:53"
	;;
esac
`

// resolverFiles serve a node with an address.
func resolverFiles(address netip.Addr) []File {
	unit := `[Unit]
Description=Lead pods without IPv4 to the resolver of the container engine
Before=kubelet.service

[Service]
ExecStartPre=` + resolverPath + ` prepare ` + address.String() + `
ExecStart=` + resolverPath + ` serve ` + address.String() + `
Restart=on-failure
RestartSec=1
`
	return []File{
		{Path: resolverPath, Content: []byte(resolverScript), Mode: program},
		{Path: "/etc/systemd/system/" + resolverUnit, Content: []byte(unit), Mode: public},
		{Path: resolverWants, Content: []byte("[Unit]\nWants=" + resolverUnit + "\n"), Mode: public},
	}
}

// withoutIPv4 tells whether a node has no IPv4 address that its pods could ask at: a
// container, whose resolver has one. Virtual machines have resolvers of their own.
func (n Node) withoutIPv4() bool {
	return !n.VirtualMachine && n.Address.Is6() && !n.SecondAddress.IsValid()
}
