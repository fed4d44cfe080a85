// Command pause holds the namespaces of a pod while its containers come and go.
// Where a pod shares its process namespace it is also process 1 and reaps what
// others leave behind. With -v it names itself and ends: kubeadm runs it so, to see
// whether a cluster starts pods. It is built into the pause image of a node and
// must not know anything of Kubernetes.
package main

import (
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
)

func main() {
	if slices.Contains(os.Args[1:], "-v") {
		_, _ = os.Stdout.WriteString("pause\n") // whether anybody reads it
		return
	}
	// One of these runs per pod: it allocates nothing, so collecting is waste.
	debug.SetGCPercent(-1)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			os.Exit(0)
		}
		reap()
	}
}

// reap collects every ended child: one signal may stand for several.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}
