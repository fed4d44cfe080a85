// Package soak loads a garden and its controllers with what users do at random,
// kills the controllers again and again, and looks for what they left behind.
//
// `make soak` runs it for an hour; a part of `make test` for some minutes. It
// knows the kinds of the garden and nothing of how controllers work.
package soak_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/cli"
	"github.com/loam-cloud/loam/garden/gardentest"
)

const (
	// kubeconfigEnv makes this binary the controller manager of a garden.
	kubeconfigEnv = "LOAM_SOAK_KUBECONFIG"
	// durationEnv is how long the load lasts.
	durationEnv     = "LOAM_SOAK_DURATION"
	defaultDuration = 5 * time.Minute
	clients         = 20
	// quiet is how long nothing may change before all is at its end, patience how
	// long what is wrong may stay so with nobody writing: longer than the longest
	// pause between two attempts. Those who write for longer than endless never end.
	quiet    = 10 * time.Second
	patience = 4 * time.Minute
	endless  = 15 * time.Minute
)

func TestMain(m *testing.M) {
	if os.Getenv(commandEnv) != "" {
		err := cli.New().ExecuteContext(context.Background())
		fmt.Fprintln(os.Stderr, err)
		os.Exit(cli.ExitCode(err))
	}
	if kubeconfig := os.Getenv(kubeconfigEnv); kubeconfig != "" {
		os.Exit(runManager(kubeconfig))
	}
	os.Exit(gardentest.Main(m))
}

// runManager is the controller manager as `loam controller-manager` runs it.
func runManager(kubeconfig string) int {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err == nil {
		config.QPS = -1
		c := &controllermanagerconfigv1alpha1.ControllerManagerConfiguration{}
		controllermanagerconfigv1alpha1.SetObjectDefaults_ControllerManagerConfiguration(c)
		c.LeaderElection.LeaderElect = ptr.To(false)
		c.Server.HealthProbes.Port, c.Server.Metrics.Port = -1, -1
		err = app.ControllerManager(context.Background(), config, app.FleetConfig{ControllerManager: c}, os.Stderr)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// manager is a controller manager in a process of its own.
type manager struct {
	t       *testing.T
	log     *os.File
	running *exec.Cmd
}

func newManager(t *testing.T) *manager {
	t.Helper()
	log, err := os.Create(t.TempDir() + "/controllers.log")
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{t: t, log: log}
	t.Cleanup(func() {
		m.kill()
		_ = log.Close() // nothing is written any more
		if t.Failed() {
			m.showEnd()
		}
	})
	return m
}

func (m *manager) start() {
	m.t.Helper()
	m.running = exec.Command(os.Args[0])
	m.running.Env = append(os.Environ(), kubeconfigEnv+"="+gardentest.Start(m.t).KubeconfigPath())
	m.running.Stdout, m.running.Stderr = m.log, m.log
	if err := m.running.Start(); err != nil {
		m.t.Fatal(err)
	}
}

// kill leaves it no time for a last word.
func (m *manager) kill() {
	if m.running == nil {
		return
	}
	_ = m.running.Process.Kill() // it may have ended already
	_ = m.running.Wait()
	m.running = nil
}

// showEnd shows the last lines of the controllers' log.
func (m *manager) showEnd() {
	const last = 8000
	text, err := os.ReadFile(m.log.Name())
	if err != nil {
		m.t.Log(err)
		return
	}
	m.t.Logf("the controllers said last:\n%s", text[max(0, len(text)-last):])
}

// TestSoak wants nothing left over where it does not belong, neither while the
// objects live nor after they went.
func TestSoak(t *testing.T) {
	duration := defaultDuration
	if value := os.Getenv(durationEnv); value != "" {
		var err error
		if duration, err = time.ParseDuration(value); err != nil {
			t.Fatalf("%s: %v", durationEnv, err)
		}
	}
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("load for %s with seed %d", duration, seed)
	l, m := newLoad(t), newManager(t)
	m.start()
	l.prepare()

	ctx, cancel := context.WithCancel(t.Context())
	done := l.run(ctx, seed)
	stopAgents := l.playAgents(t.Context())
	defer stopAgents()
	deadline := time.Now().Add(duration)
	// At least three lives, also in a short run.
	for life := min(time.Minute, duration/4); time.Now().Add(life).Before(deadline); {
		time.Sleep(life)
		m.kill()
		m.start()
	}
	time.Sleep(time.Until(deadline))
	cancel()
	<-done
	l.report()

	l.settle("while objects live", l.checkLiving)
	l.deleteAll()
	l.settle("after all objects were deleted", l.checkGone)
}
