package garden

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/internal/pki"
	"github.com/loam-cloud/loam/garden/internal/rotation"
	"github.com/loam-cloud/loam/garden/scheme"
)

// renewCertificates keeps a garden that is never restarted from meeting an
// expired certificate. The server reads its files again by itself.
func (g *Garden) renewCertificates(ctx context.Context) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if err := g.writeCertificates(pki.Ensure, now); err != nil {
				g.config.Logger.Error(err, "renewing certificates")
			}
		}
	}
}

// RotateCertificates replaces the keys and certificates of the server and of the
// administrator, and with them the kubeconfig. The authority stays, so that
// clients go on: the server serves the new certificate within a minute, and the
// administrator's former one is good until it ends.
func (g *Garden) RotateCertificates(_ context.Context) error {
	return g.writeCertificates(pki.Rotate, time.Now())
}

func (g *Garden) writeCertificates(write func(dir string, hosts []string, now time.Time) (pki.Files, error), now time.Time) error {
	g.certificates.Lock()
	defer g.certificates.Unlock()
	files, err := write(g.path(pkiDir), g.hosts, now)
	if err != nil {
		return err
	}
	return pki.WriteKubeconfig(g.KubeconfigPath(), g.url(), files)
}

// RotateEncryptionKey makes a new key for secrets at rest, writes every secret
// again with it, proves that in the store, and forgets the old key and everything
// it wrote. It tells progress. Interrupted at any moment it can be called again
// and goes on.
func (g *Garden) RotateEncryptionKey(ctx context.Context, progress func(string)) error {
	if g.store == nil {
		return fault.New(fault.Invalid, "the objects are in an etcd that others run: the history that it keeps cannot be cleared from here")
	}
	if !g.rotating.TryLock() {
		return fault.New(fault.Transient, "the encryption key is being rotated already")
	}
	defer g.rotating.Unlock()
	c, err := client.New(g.RESTConfig(), client.Options{Scheme: scheme.Client()})
	if err != nil {
		return fmt.Errorf("making a client for the rotation: %w", err)
	}
	// Backups take keys and store together, so they wait for the last step.
	return rotation.Rotation{Store: g.store, Client: c, KeyFile: g.path(encryptionFile), KeysInUse: &g.keysInUse}.Run(ctx, progress)
}
