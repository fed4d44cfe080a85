package listen

import (
	"log"
	"strings"

	"github.com/go-logr/logr"
)

// quiet passes on what net/http has to say, as information: it speaks of clients
// that broke off a handshake.
func quiet(l logr.Logger) *log.Logger { return log.New(lines{l}, "", 0) }

type lines struct{ logr.Logger }

// Write implements io.Writer.
func (l lines) Write(b []byte) (int, error) {
	l.V(1).Info("Connection ended", "reason", strings.TrimSpace(string(b)))
	return len(b), nil
}
