// Command loam turns hosts into a Kubernetes cloud. It only runs package cli.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	// Schedules have time zones, and small hosts no database of them.
	_ "time/tzdata"

	"github.com/loam-cloud/loam/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := cli.New().ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
	}
	stop()
	os.Exit(cli.ExitCode(err))
}
