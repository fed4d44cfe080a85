package footprint

import (
	"debug/elf"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// forgetFiles unmaps the pages of files that this process only reads: of its
// binary, of which a start runs through most, the initialisation of packages that
// it never uses included, and of a database, all of which writing maps. What is
// used comes back from the page cache, without reading the disk. It is worth most
// of what an idle process would hold; when it is impossible nothing is lost.
func forgetFiles(relocated bool) {
	self, err := procfs.Self()
	if err != nil {
		return
	}
	maps, err := self.ProcMaps()
	if err != nil {
		return
	}
	for _, one := range maps {
		if one.Perms.Write || !strings.HasPrefix(one.Pathname, "/") {
			continue
		}
		// A loader writes into what becomes constants after it, and these pages are
		// nowhere else.
		if one.Perms.Private && !one.Perms.Execute && relocated {
			continue
		}
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, one.StartAddr, one.EndAddr-one.StartAddr, unix.MADV_DONTNEED)
	}
}

// isRelocated tells whether the binary was loaded by somebody who changed it, as
// is done with those that are linked against libraries or may lie anywhere.
func isRelocated() bool {
	path, err := os.Executable()
	if err != nil {
		return true
	}
	binary, err := elf.Open(path)
	if err != nil {
		return true
	}
	defer func() { _ = binary.Close() }() // only read
	return slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_DYNAMIC })
}
