package collect

// HostAt collects below another root.
var HostAt = hostAt
