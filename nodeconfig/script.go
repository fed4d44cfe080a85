package nodeconfig

// AwaitContainerd is the part of a shell script that waits in a node for its
// containerd, which was started with the machine, and ends the script with status
// 1 after 60 s.
const AwaitContainerd = `
i=0
until test -S /run/containerd/containerd.sock; do
  i=$((i+1)); test $i -lt 600 || { echo "containerd did not start within 60 s" >&2; exit 1; }
  sleep 0.1
done
`

// AwaitSystemd is the part that waits until systemd takes orders.
const AwaitSystemd = `
i=0
until test -S /run/systemd/private; do
  i=$((i+1)); test $i -lt 600 || { echo "systemd did not start within 60 s" >&2; exit 1; }
  sleep 0.1
done
`
