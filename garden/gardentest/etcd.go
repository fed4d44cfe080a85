package gardentest

import (
	"context"
	"net"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/loam-cloud/loam/garden"
)

// Etcd runs an etcd of one member, reached over TLS on loopback, until the test
// ends.
func Etcd(tb testing.TB) garden.ExternalEtcd {
	tb.Helper()
	dir := tb.TempDir()
	config := embed.NewConfig()
	config.Dir = dir
	config.LogLevel = "panic"
	client := url.URL{Scheme: "https", Host: FreeAddress(tb)}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	// It has no peers, but etcd wants to say where they would find it.
	config.ListenPeerUrls = nil
	config.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "test.invalid:2380"}}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.ClientAutoTLS = true
	config.SelfSignedCertValidity = 1
	member, err := embed.StartEtcd(config)
	if err != nil {
		tb.Fatalf("starting an etcd for tests: %v", err)
	}
	tb.Cleanup(member.Close)
	select {
	case <-member.Server.ReadyNotify():
	case <-time.After(startTimeout):
		tb.Fatal("the etcd for tests is not ready")
	}
	return garden.ExternalEtcd{Servers: []string{client.String()}, CAFile: filepath.Join(dir, "fixtures", "client", "cert.pem")}
}

// Raw is everything in an etcd of this package, by its key.
func Raw(tb testing.TB, etcd garden.ExternalEtcd) map[string][]byte {
	tb.Helper()
	info := transport.TLSInfo{TrustedCAFile: etcd.CAFile}
	config, err := info.ClientConfig()
	if err != nil {
		tb.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: etcd.Servers, TLS: config, DialTimeout: startTimeout})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = c.Close() }() // it was only read
	answer, err := c.Get(context.Background(), "", clientv3.WithPrefix())
	if err != nil {
		tb.Fatal(err)
	}
	content := map[string][]byte{}
	for _, kv := range answer.Kvs {
		content[string(kv.Key)] = kv.Value
	}
	return content
}

// FreeAddress is an address on loopback that nothing listens on.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = listener.Close() }() // only its number was wanted
	return listener.Addr().String()
}
