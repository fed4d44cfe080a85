package footprint

import (
	"os"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// forgetCode unmaps the pages of the binary's code and constants. A start runs
// through most of them, the initialisation of packages that this process never
// uses included, and the kernel maps 15 neighbours with each. What is used comes
// back from the page cache, without reading the disk. It is worth most of what an
// idle process would hold; when it is impossible nothing is lost.
func forgetCode() {
	self, err := procfs.Self()
	if err != nil {
		return
	}
	maps, err := self.ProcMaps()
	if err != nil {
		return
	}
	binary, err := os.Executable()
	if err != nil {
		return
	}
	for _, one := range maps {
		// Nothing that was ever written: those pages are nowhere else.
		if one.Pathname != binary || one.Perms.Write {
			continue
		}
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, one.StartAddr, one.EndAddr-one.StartAddr, unix.MADV_DONTNEED)
	}
}
