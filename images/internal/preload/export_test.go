package preload

// Settle is what is done to a database once containerd has ended.
var Settle = settle
