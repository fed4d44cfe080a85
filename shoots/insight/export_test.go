package insight

// Processes are those of a node without static pods that answers the text.
func Processes(text string) []Process { return parseProbe(text).list([]string{"etcd"}, nil) }
