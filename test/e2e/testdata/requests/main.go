// Requests asks a server by its name, ten times a second and with a connection of
// its own each time, and writes what came of it to a file, a line per request. It
// begins to count with the first answer, and ends without a word when it is told
// to.
//
//	requests URL FILE
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	file, err := os.OpenFile(os.Args[2], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Resolvers ask a second time after five seconds.
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for answered := false; ; {
		err := ask(ctx, client, os.Args[1])
		answered = answered || err == nil
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			fmt.Fprintln(file, "ok")
		case answered:
			fmt.Fprintf(file, "failed %s: %v\n", time.Now().UTC().Format(time.RFC3339), err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func ask(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}
