// Package capability finds out which Linux capabilities the container daemon
// of a host can hand on. The container driver asks it before it makes a
// machine, because a container that asks for one that is not there cannot be
// started. It must not know containers or the daemon's API.
package capability

import (
	"fmt"
	"strconv"
	"strings"
)

// names lists the capabilities by number, from linux/capability.h.
func names() []string {
	return []string{
		"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
		"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
		"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
		"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
		"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
		"CHECKPOINT_RESTORE",
	}
}

// Missing returns the capabilities that the kernel knows and that the bounding
// set of a process lacks. Status is the text of /proc/<pid>/status, last that
// of /proc/sys/kernel/cap_last_cap.
func Missing(status, last string) ([]string, error) {
	highest, err := strconv.Atoi(strings.TrimSpace(last))
	if err != nil {
		return nil, fmt.Errorf("reading the number of the last capability: %w", err)
	}
	bounding, err := boundingSet(status)
	if err != nil {
		return nil, err
	}
	var missing []string
	for number, name := range names() {
		if number <= highest && bounding&(1<<number) == 0 {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

func boundingSet(status string) (uint64, error) {
	for line := range strings.Lines(status) {
		value, found := strings.CutPrefix(line, "CapBnd:")
		if !found {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the bounding set: %w", err)
		}
		return set, nil
	}
	return 0, fmt.Errorf("reading the bounding set: the process status has no line CapBnd")
}
