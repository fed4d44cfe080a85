package garden

import (
	"context"

	"k8s.io/client-go/rest"

	"github.com/loam-cloud/loam/fault"
)

// Garden is a running garden.
type Garden struct{}

// Start runs a garden and returns once it is ready and bootstrapped. ctx bounds
// the start only; Stop ends the garden. What the user has to change (folder in
// use or not writable, port taken) is fault.Invalid, and then nothing is left
// behind.
func Start(ctx context.Context, cfg Config) (*Garden, error) {
	return nil, fault.New(fault.Internal, "not there yet")
}

// RESTConfig returns a new client configuration with all rights and without a
// rate limit. It works inside this process only and ends with it.
func (g *Garden) RESTConfig() *rest.Config { return nil }

// KubeconfigPath is the file for administrators, mode 0600.
func (g *Garden) KubeconfigPath() string { return "" }

// Address is the host:port on which the API listens.
func (g *Garden) Address() string { return "" }

// Done is closed when the garden has ended, by Stop or by itself.
func (g *Garden) Done() <-chan struct{} { return nil }

// Err says why the garden ended by itself; nil before Done and after Stop.
func (g *Garden) Err() error { return nil }

// Stop ends the garden: first what PostStart started, then the API, then etcd.
// It returns when all is closed, or with an error when ctx ends before.
func (g *Garden) Stop(ctx context.Context) error { return nil }
