package garden

import (
	"context"
	"time"

	"github.com/loam-cloud/loam/garden/internal/pki"
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
