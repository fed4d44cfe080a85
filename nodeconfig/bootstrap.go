package nodeconfig

import (
	"fmt"
	"net/netip"
	"strings"
)

// Paths and names of what has kubeadm make a control plane's files at boot.
const (
	// BootstrapUnit makes them, before the kubelet starts; started again after a
	// failure it makes what is left to make.
	BootstrapUnit = "loam-bootstrap.service"
	// BootstrappedPath says that kubeadm has nothing left to do in the machine.
	BootstrappedPath = "/etc/loam/bootstrapped"
	// InitLogPath is what kubeadm says.
	InitLogPath = "/var/log/loam/kubeadm-init.log"

	bootstrapPath = "/etc/loam/bootstrap"
	// servicesPath lists the ranges of services, for images that refuse connections
	// to those which nothing answers for.
	servicesPath = "/etc/loam/services"
	// apiServicePath holds the address of the API server's service and where it
	// leads, for images that lead there before kube-proxy does.
	apiServicePath = "/etc/loam/api-service"
	// subnetPath is where a control plane finds the subnet that it will have.
	subnetPath = "/etc/loam/subnet.env"
	manifests  = "/etc/kubernetes/manifests/"
	heldPath   = "/etc/loam/held/"
	unitPath   = "/etc/systemd/system/" + BootstrapUnit
	// wantsPath pulls the unit in: a file can be placed in a machine that has not
	// booted, a link that enables the unit cannot.
	wantsPath = "/etc/systemd/system/kubelet.service.d/05-loam-bootstrap.conf"

	releasePath     = "/etc/loam/release"
	releaseUnit     = "loam-release.service"
	releaseUnitPath = "/etc/systemd/system/" + releaseUnit

	// PrefillPath holds the requests to etcd that are sent to that of a new cluster as
	// soon as it listens.
	PrefillPath     = "/etc/loam/prefill"
	prefillUnit     = "loam-prefill.service"
	prefillUnitPath = "/etc/systemd/system/" + prefillUnit
	sendPath        = "/etc/loam/send-prefill"
)

// CgroupPatch is the part of a shell script that fits the kubelet's configuration
// to the version of cgroups, which only the machine itself can tell. From 1.35 on
// the kubelet refuses version 1 unless told.
const CgroupPatch = `
if test -e /sys/fs/cgroup/cgroup.controllers; then
  printf 'cgroupDriver: systemd\n'
else
  printf 'cgroupDriver: cgroupfs\nfailCgroupV1: false\n'
fi >` + PatchesPath + `/kubeletconfiguration1+merge.yaml
`

// bootstrapScript has kubeadm make certificates, kubeconfigs, static pods and the
// kubelet's configuration. kubeadm starts the kubelet through the init system that
// it finds in its path; here systemd starts it when this has ended.
//
// Controller manager and scheduler are held back: what they ask an API server for
// that does not know its roles yet is refused, and they come back seconds later.
//
// Of the network that Loam's images bring, the first node's configuration is known
// beforehand, and its pods need not wait for flannel, which writes the same.
const bootstrapScript = `#!/bin/sh
set -eu
mkdir -p /var/log/loam ` + heldPath + `
exec >` + InitLogPath + ` 2>&1
` + CgroupPatch + `
kubeadm=$(command -v kubeadm)
PATH=/nonexistent "$kubeadm" init --config=` + KubeadmConfigPath + ` --skip-phases=preflight,wait-control-plane,upload-config,upload-certs,mark-control-plane,bootstrap-token,kubelet-finalize,addon,show-join-command
for name in kube-controller-manager kube-scheduler; do
  mv ` + manifests + `$name.yaml ` + heldPath + `
done
if test -e ` + subnetPath + ` && test -x /usr/local/lib/loam/write-cni-conf; then
  # VXLAN takes 50 bytes of each packet.
  { cat ` + subnetPath + `; echo "FLANNEL_MTU=$(($(cat /sys/class/net/eth0/mtu) - 50))"; } >/run/loam-subnet.env
  /usr/local/lib/loam/write-cni-conf /run/loam-subnet.env
fi
`

// ReleaseScript is the part of a shell script that starts what was held back.
const ReleaseScript = `
for held in ` + heldPath + `*.yaml; do
  test ! -e "$held" || mv "$held" ` + manifests + ` 2>/dev/null || test ! -e "$held"
done
`

// releaseScript starts on a quick machine what was held back as soon as etcd
// listens: while the API server starts, which one processor does, the other has
// nothing to do. A controller manager waits 10 s for its API server and then ends,
// so that on a machine where etcd alone takes longer than 4 s it is left to who sees
// the API server answer.
const releaseScript = `#!/bin/sh
set -eu
now() { cut -d. -f1 /proc/uptime; }
begin=$(now)
until bash -c '</dev/tcp/localhost/2379' 2>/dev/null; do
  test $(($(now) - begin)) -lt 4 || exit 0
  sleep 0.1
done
` + ReleaseScript

const releaseUnitText = `[Unit]
Description=Start the controllers of the control plane early
After=kubelet.service
ConditionPathExists=!` + BootstrappedPath + `

[Service]
ExecStart=` + releasePath + `
`

// sendScript brings etcd what its cluster begins with. It spares the API server work
// and is no condition of anything: where it fails, or an image has no openssl, the API
// server does that work. Only an etcd that has a leader answers; one request more or
// less is no matter, since none overwrites anything.
const sendScript = `#!/bin/sh
pki=/etc/kubernetes/pki
log=/var/log/loam/prefill.log
for try in $(seq 300); do
  if bash -c '</dev/tcp/localhost/2379' 2>/dev/null; then
    openssl s_client -quiet -verify_return_error -verify_hostname localhost -connect localhost:2379 -CAfile $pki/etcd/ca.crt \
      -cert $pki/apiserver-etcd-client.crt -key $pki/apiserver-etcd-client.key <` + PrefillPath + ` >$log 2>&1
    ! grep -q '"raft_term"' $log || exec rm -f ` + PrefillPath + `
  fi
  sleep 0.1
done
exit 1
`

const prefillUnitText = `[Unit]
Description=Fill the etcd of a new cluster
After=kubelet.service
ConditionPathExists=` + PrefillPath + `
ConditionPathExists=!` + BootstrappedPath + `

[Service]
ExecStart=` + sendPath + `
`

const bootstrapUnit = `[Unit]
Description=Have kubeadm make the files of the control plane
Before=kubelet.service
ConditionPathExists=!` + BootstrappedPath + `

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=` + bootstrapPath + `
`

const wants = `[Unit]
Wants=` + BootstrapUnit + `
Wants=` + prefillUnit + `
`

// bootstrapFiles of a new cluster's control plane that is alone have its controllers
// start early: the subnet that they give to its node is the one it has. With several
// it depends on which of them is known first.
func bootstrapFiles(n Node, alone bool) []File {
	files := []File{
		{Path: bootstrapPath, Content: []byte(bootstrapScript), Mode: program},
		{Path: unitPath, Content: []byte(bootstrapUnit), Mode: public},
		{Path: wantsPath, Content: []byte(wants), Mode: public},
		{Path: sendPath, Content: []byte(sendScript), Mode: program},
		{Path: prefillUnitPath, Content: []byte(prefillUnitText), Mode: public},
	}
	if len(n.PodSubnets) == 0 {
		return files
	}
	if alone {
		files[2].Content = []byte(wants + "Wants=" + releaseUnit + "\n")
		files = append(files,
			File{Path: releasePath, Content: []byte(releaseScript), Mode: program},
			File{Path: releaseUnitPath, Content: []byte(releaseUnitText), Mode: public})
	}
	return append(files, File{Path: subnetPath, Content: []byte(lease(n.PodSubnets)), Mode: public})
}

// lease says subnets as flannel does: each by its first address, with its length.
func lease(subnets []netip.Prefix) string {
	var text strings.Builder
	for _, subnet := range subnets {
		name := "FLANNEL_SUBNET"
		if subnet.Addr().Is6() {
			name = "FLANNEL_IPV6_SUBNET"
		}
		fmt.Fprintf(&text, "%s=%s\n", name, netip.PrefixFrom(subnet.Addr().Next(), subnet.Bits()))
	}
	return text.String()
}
