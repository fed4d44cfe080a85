package container_test

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loam-cloud/loam/machines/container"
)

// daemon answers pings and tells no events, until it is ended. The channel is closed
// when somebody listens for events.
func daemon(t *testing.T, socket string) (end func(), followed chan struct{}) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	followed = make(chan struct{})
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.44")
		w.WriteHeader(http.StatusOK)
		if strings.HasSuffix(r.URL.Path, "/events") {
			_ = http.NewResponseController(w).Flush()
			close(followed)
			<-r.Context().Done()
		}
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return func() { _ = server.Close() }, followed
}

func TestAwaitRestart(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	driver := newDriver(t, container.Config{Instance: "loam", Host: "unix://" + socket})
	end, followed := daemon(t, socket)
	restarted := make(chan error, 1)
	go func() { restarted <- driver.AwaitRestart(t.Context()) }()
	<-followed
	select {
	case err := <-restarted:
		t.Fatalf("the daemon is there, and AwaitRestart returned %v", err)
	default:
	}
	end()
	_, _ = daemon(t, socket)
	if err := <-restarted; err != nil {
		t.Error(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := driver.AwaitRestart(ctx); err == nil {
		t.Error("who does not wait any longer is told that the daemon was restarted")
	}
}
