package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"path/filepath"
	"time"
)

// EtcdFiles are the paths of what EnsureEtcd keeps.
type EtcdFiles struct {
	CACert, CAKey         string
	ServerCert, ServerKey string
	ClientCert, ClientKey string
}

// EtcdFilesIn names the files below dir.
func EtcdFilesIn(dir string) EtcdFiles {
	in := func(name string) string { return filepath.Join(dir, name) }
	return EtcdFiles{
		CACert: in("ca.crt"), CAKey: in("ca.key"),
		ServerCert: in("server.crt"), ServerKey: in("server.key"),
		ClientCert: in("client.crt"), ClientKey: in("client.key"),
	}
}

// EnsureEtcd does what Ensure does for an authority below dir that an etcd on
// hosts and its only client, the API server, know each other by.
func EnsureEtcd(dir string, hosts []string, now time.Time) (EtcdFiles, error) {
	files := EtcdFilesIn(dir)
	authority, err := ensureAuthority(Files{CACert: files.CACert, CAKey: files.CAKey}, now)
	if err != nil {
		return files, err
	}
	server := serverTemplate(hosts)
	server.Subject = pkix.Name{CommonName: "loam-etcd"}
	// etcd is a client of itself, for its gateway.
	server.ExtKeyUsage = append(server.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	if err := authority.ensureLeaf(files.ServerCert, files.ServerKey, server, now); err != nil {
		return files, err
	}
	return files, authority.ensureLeaf(files.ClientCert, files.ClientKey, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "loam-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, now)
}
