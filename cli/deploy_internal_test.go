package cli

import (
	"testing"
	"time"
)

// TestDeployedLeaseEndsSoon wants another process to lead within 20 s after the
// leader of the manifests' was killed: when its lease has run out and the other
// has asked once more, which client-go does after up to 1.2 retry periods.
func TestDeployedLeaseEndsSoon(t *testing.T) {
	c, err := readControllerManagerConfig("../deploy/controller-manager/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const (
		most      = 20 * time.Second
		startWork = 3 * time.Second
		jitter    = 1.2
	)
	election := c.LeaderElection
	if takes := election.LeaseDuration.Duration + time.Duration(jitter*float64(election.RetryPeriod.Duration)) + startWork; takes > most {
		t.Errorf("another leads and works after %s, want %s at most", takes, most)
	}
}
