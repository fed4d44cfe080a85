package app

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/go-logr/logr"

	"github.com/loam-cloud/loam/registry/config"
	"github.com/loam-cloud/loam/registry/daemon"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/upstream"
)

// Registry runs the image cache until the context ends. The configuration has its
// defaults and no problems. ready is called once, when all listeners are open.
//
// Faults: Invalid for what the user has to change before it can start, Waiting
// when another process has the folder.
func Registry(ctx context.Context, c config.Configuration, out io.Writer, ready func()) error {
	return runRegistry(ctx, c, daemon.Options{Ready: ready, Log: newLogger(out).WithName("registry")})
}

// runRegistry gives the image cache what Vault holds, if it wants any.
func runRegistry(ctx context.Context, c config.Configuration, o daemon.Options) error {
	secrets, err := openVault(c.Vault)
	if err != nil {
		return err
	}
	if secrets == nil {
		return daemon.Run(ctx, c, o)
	}
	keeping, stop := context.WithCancel(logr.NewContext(ctx, o.Log))
	var kept sync.WaitGroup
	kept.Go(func() { secrets.Keep(keeping) })
	defer kept.Wait()
	defer stop()
	o.Vault = func(r config.VaultCredentials) upstream.Credentials { return vaultCredentials(secrets, r) }
	return daemon.Run(ctx, c, o)
}

// runRegistryBeside runs the image cache beside a garden, which goes on whatever
// becomes of it. It returns when the cache is ready, or is not to be; wait returns
// when it has ended, some time after the context.
func runRegistryBeside(ctx context.Context, c config.Configuration, log logr.Logger) (wait func()) {
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var err error = c.Validate().ToAggregate()
		if err == nil {
			err = runRegistry(ctx, c, daemon.Options{Yield: true, Log: log, Ready: func() {
				log.Info("The image cache is ready", "folder", c.DataDir)
				close(ready)
			}})
		}
		switch {
		case errors.Is(err, store.ErrLocked):
			log.Info("The image cache is run by another process", "folder", c.DataDir)
		case err != nil:
			log.Error(err, "The image cache does not run; nodes ask the registries themselves", "folder", c.DataDir)
		}
	}()
	select {
	case <-ready:
	case <-ended:
	}
	return func() { <-ended }
}
