package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	componentbaseconfigv1alpha1 "k8s.io/component-base/config/v1alpha1"
)

const controllerManagerHead = "apiVersion: controllermanager.config.gardener.cloud/v1alpha1\nkind: ControllerManagerConfiguration\n"

// TestControllerManagerConfig reads a file as Gardener's users have them, and
// wants the defaults of the specification for what it leaves out.
func TestControllerManagerConfig(t *testing.T) {
	c, err := parseControllerManagerConfig([]byte(controllerManagerHead + "leaderElection:\n  retryPeriod: 3s\ncontrollers:\n  project:\n    concurrentSyncs: 7\n"))
	if err != nil {
		t.Fatal(err)
	}
	election := c.LeaderElection
	if !*election.LeaderElect || election.LeaseDuration.Duration != 15*time.Second || election.RenewDeadline.Duration != 10*time.Second || election.RetryPeriod.Duration != 3*time.Second {
		t.Errorf("leader election: %+v", election)
	}
	if c.GardenClientConnection.QPS != 50 || c.GardenClientConnection.Burst != 100 || c.Server.HealthProbes.Port != 2718 || c.Server.Metrics.Port != 2719 {
		t.Errorf("client %+v, server %+v", c.GardenClientConnection, c.Server)
	}
	if *c.Controllers.Project.ConcurrentSyncs != 7 || *c.Controllers.Bastion.ConcurrentSyncs != 5 {
		t.Errorf("workers: %d, %d", *c.Controllers.Project.ConcurrentSyncs, *c.Controllers.Bastion.ConcurrentSyncs)
	}
	if c.LogLevel != "info" || c.LogFormat != "json" {
		t.Errorf("log: %s, %s", c.LogLevel, c.LogFormat)
	}
}

func TestControllerManagerConfigRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"empty":         {"", []string{"apiVersion:", "kind:"}},
		"another kind":  {"apiVersion: v1\nkind: Pod\n", []string{"apiVersion:", "kind:"}},
		"unknown field": {controllerManagerHead + "colour: red\n", []string{`"colour"`}},
		"all at once": {
			controllerManagerHead + "logLevel: loud\nlogFormat: xml\ngardenClientConnection: {qps: -1, burst: -1}\nserver: {metrics: {port: 99999}}\ncontrollers: {quota: {concurrentSyncs: -3}}\n",
			[]string{"logLevel:", "logFormat:", "gardenClientConnection.qps:", "gardenClientConnection.burst:", "server.metrics.port:", "controllers.quota.concurrentSyncs:"},
		},
		"leader election": {
			controllerManagerHead + "leaderElection: {resourceLock: configmaps, leaseDuration: 5s, renewDeadline: 6s, retryPeriod: 5s}\n",
			[]string{"leaderElection.resourceLock:", "leaderElection.leaseDuration:", "leaderElection.renewDeadline:"},
		},
		"two documents": {controllerManagerHead + "---\n" + controllerManagerHead, []string{"2 documents"}},
	} {
		_, err := parseControllerManagerConfig([]byte(test.text))
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v: nothing about %s", name, err, want)
			}
		}
	}
}

// TestEnvironmentWins over the kubeconfig of the file, of which the rest counts.
func TestEnvironmentWins(t *testing.T) {
	write := func(name, server string) string {
		path := filepath.Join(t.TempDir(), name)
		text := "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: " + server + "}}]\ncontexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	connection := componentbaseconfigv1alpha1.ClientConnectionConfiguration{Kubeconfig: write("file", "https://file.invalid"), QPS: 7, Burst: 9, ContentType: "application/json"}
	for environment, want := range map[string]string{"": "https://file.invalid", write("environment", "https://environment.invalid"): "https://environment.invalid"} {
		t.Setenv("KUBECONFIG", environment)
		config, err := managerConnection(connection)
		if err != nil || config.Host != want || config.QPS != 7 || config.Burst != 9 || config.ContentType != "application/json" {
			t.Errorf("with %q in the environment: %+v, %v", environment, config, err)
		}
	}
}

func FuzzControllerManagerConfig(f *testing.F) {
	f.Add(controllerManagerHead + "controllers: {project: {concurrentSyncs: 1}}")
	f.Add("leaderElection: {leaseDuration: 1s}")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := parseControllerManagerConfig([]byte(text)); err == nil && c.LeaderElection == nil {
			t.Error("accepted without defaults")
		}
	})
}
