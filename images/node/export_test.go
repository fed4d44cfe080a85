package node

import "io/fs"

// Files is everything that is embedded.
func Files() fs.FS { return files }
