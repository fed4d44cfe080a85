package gardentest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/internal/pki"
	"github.com/loam-cloud/loam/garden/scheme"
)

// Anonymous returns how a client of another process reaches the garden of this
// test binary, with nobody's credentials.
func Anonymous(tb testing.TB) *rest.Config {
	tb.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", Start(tb).KubeconfigPath())
	if err != nil {
		tb.Fatalf("reading the kubeconfig: %v", err)
	}
	config = rest.AnonymousClientConfig(config)
	config.QPS = -1
	return config
}

// User returns a configuration that reaches the garden over HTTPS with a client
// certificate of the garden's authority for a user.
func User(tb testing.TB, name string, groups ...string) *rest.Config {
	tb.Helper()
	config := Anonymous(tb)
	var pair [2][]byte
	for i, file := range []string{"ca.crt", "ca.key"} {
		var err error
		if pair[i], err = os.ReadFile(filepath.Join(one.dir, "pki", file)); err != nil {
			tb.Fatalf("reading the garden's authority: %v", err)
		}
	}
	var err error
	now := time.Now()
	config.CertData, config.KeyData, _, err = pki.SignClient(pair[0], pair[1], pki.Client{User: name, Groups: groups, NotAfter: now.Add(time.Hour)}, now)
	if err != nil {
		tb.Fatalf("making a certificate for %q: %v", name, err)
	}
	return config
}

// ClientFor returns a client with a configuration of this package.
func ClientFor(tb testing.TB, config *rest.Config) client.WithWatch {
	tb.Helper()
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme.Client()})
	if err != nil {
		tb.Fatalf("making a client: %v", err)
	}
	return c
}
