package collect

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// unsynchronised is the kernel's flag for a clock that nothing keeps right
// (STA_UNSYNC of adjtimex).
const unsynchronised = 0x40

// clock asks the kernel, and sets nothing: no field is marked for that.
func (c *collector) clock() error {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return fmt.Errorf("asking the kernel: %w", err)
	}
	c.host.Clock.Synchronised = t.Status&unsynchronised == 0
	return nil
}
