package pki

import (
	"fmt"
	"os"
	"time"
)

// EnsureServer does for the authority, the server's certificate and the key of
// workload identities below dir what Ensure does for all. Only those fields of the result are set.
func EnsureServer(dir string, hosts []string, now time.Time) (Files, error) {
	all := filesIn(dir)
	files := Files{CACert: all.CACert, CAKey: all.CAKey, ServerCert: all.ServerCert, ServerKey: all.ServerKey, WorkloadIdentityKey: all.WorkloadIdentityKey}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return files, fmt.Errorf("making folder %q: %w", dir, err)
	}
	if _, err := ensureKey(files.WorkloadIdentityKey); err != nil {
		return files, err
	}
	authority, err := ensureAuthority(files, now)
	if err != nil {
		return files, err
	}
	return files, authority.ensureLeaf(files.ServerCert, files.ServerKey, serverTemplate(hosts), now)
}
