package garden_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/gardentest"
)

// childFolder makes this binary a garden on that folder, for tests that kill or
// weigh a whole process.
const childFolder = "LOAM_TEST_GARDEN_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		os.Exit(runChild(dir))
	}
	os.Exit(gardentest.Main(m))
}

func runChild(dir string) int {
	g, err := garden.Start(context.Background(), gardentest.Config(dir, func(args ...any) { fmt.Fprintln(os.Stderr, args...) }))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	<-g.Done()
	return 0
}

// startChild runs a garden in a process of its own and returns when it is ready.
func startChild(tb testing.TB, dir string) *exec.Cmd {
	tb.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childFolder+"="+dir)
	child.Stderr = os.Stderr
	output, err := child.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := child.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { kill(child) })
	if line, err := bufio.NewReader(output).ReadString('\n'); line != "ready\n" {
		tb.Fatalf("the child did not start: %q, %v", line, err)
	}
	return child
}

// kill ends a child without giving it time for a last word.
func kill(child *exec.Cmd) {
	_ = child.Process.Kill() // it may have ended already
	_ = child.Wait()
}

// childConfig is for clients of a child.
func childConfig(tb testing.TB, dir string) *rest.Config {
	tb.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "kubeconfig"))
	if err != nil {
		tb.Fatal(err)
	}
	config.QPS = -1
	return config
}
