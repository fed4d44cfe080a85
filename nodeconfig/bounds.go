package nodeconfig

import (
	"fmt"
	"math"
)

const (
	boundsPath = "/etc/loam/bounds"
	// BoundsUnitPath has a bounded machine told what it may use before the kubelet
	// asks.
	BoundsUnitPath = "/etc/systemd/system/kubelet.service.d/03-loam-bounds.conf"
)

// boundsScript tells programs of a container what it may use, where they ask the
// kernel and would be told what its host has: the kubelet takes the capacity of its
// node from there, and when to throw out pods. The bounds are those of the
// machine's own control group, whoever set them.
//
// Memory is said to be free: how much is used only the control group knows. Of
// processors it is said how many there are, rounded up, not how much of each.
const boundsScript = `#!/bin/sh
set -eu
meminfo=/proc/meminfo
online=/sys/devices/system/cpu/online
umount $meminfo 2>/dev/null || true
umount $online 2>/dev/null || true
groups=/sys/fs/cgroup
if test -e $groups/cgroup.controllers; then
  memory=$(cat $groups/memory.max)
  read -r quota period <$groups/cpu.max
else
  memory=$(cat $groups/memory/memory.limit_in_bytes)
  quota=$(cat $groups/cpu/cpu.cfs_quota_us)
  period=$(cat $groups/cpu/cpu.cfs_period_us)
fi
if test "$memory" != max; then
  kib=$((memory / 1024))
  if test $kib -lt "$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' $meminfo)"; then
    for line in MemTotal:$kib MemFree:$kib MemAvailable:$kib Buffers:0 Cached:0 SwapCached:0 SwapTotal:0 SwapFree:0 Shmem:0 SReclaimable:0; do
      printf '%-15s %8d kB\n' "${line%:*}:" "${line#*:}"
    done >/run/loam-meminfo
    mount --bind /run/loam-meminfo $meminfo
  fi
fi
if test "$quota" != max && test "$quota" != -1; then
  awk -v wanted=$(((quota + period - 1) / period)) -F, '{
    for (i = 1; i <= NF; i++) {
      if (split($i, ends, "-") < 2) ends[2] = ends[1]
      for (n = ends[1] + 0; n <= ends[2] + 0 && count++ < wanted; n++) list = list (list == "" ? "" : ",") n
    }
    print list
  }' $online >/run/loam-online
  mount --bind /run/loam-online $online
fi
`

const boundsUnit = `[Service]
ExecStartPre=` + boundsPath + `
`

// boundFiles have a container that is bounded tell so.
func boundFiles(n Node) []File {
	if n.VirtualMachine || n.CPUs == 0 && n.MemoryBytes == 0 {
		return nil
	}
	return []File{
		{Path: boundsPath, Content: []byte(boundsScript), Mode: program},
		{Path: BoundsUnitPath, Content: []byte(boundsUnit), Mode: public},
	}
}

// Reserved is what the kubelet keeps from pods of a node that has a part of a
// processor only, in thousandths: a processor counts as a whole one in its capacity.
func (n Node) Reserved() int64 {
	if n.VirtualMachine {
		return 0
	}
	return int64(math.Round((math.Ceil(n.CPUs) - n.CPUs) * 1000))
}

// systemReserved is the field of a KubeletConfiguration; nil for nothing.
func (n Node) systemReserved() map[string]any {
	if n.Reserved() == 0 {
		return nil
	}
	return map[string]any{"cpu": fmt.Sprintf("%dm", n.Reserved())}
}
