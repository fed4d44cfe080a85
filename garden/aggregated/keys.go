package aggregated

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/loam-cloud/loam/garden/internal/pki"
	"github.com/loam-cloud/loam/garden/kinds"
)

const (
	// secretName is the Secret that replicas share: the authority of their serving
	// certificates, the key that encrypts secrets in etcd, and the one that signs
	// tokens of workload identities.
	secretName = "loam-apiserver"

	caCertEntry     = "ca.crt"
	encryptionEntry = "encryption.yaml"
	identityEntry   = "workload-identity.key"

	// refresh is how often a replica looks whether a shared Secret has changed,
	// certificates are due, or registrations were lost.
	refresh = time.Minute
)

// shared is a folder of files that all replicas agree on by way of a Secret. The
// folder ends with the process; the server reads its files again when they
// change.
type shared struct {
	kube      kubernetes.Interface
	namespace string
	secret    string
	// entries of the Secret are files of the folder with the same names.
	entries []string
	folder  string
	// ensure makes what is missing in a folder, and renews what is due.
	ensure func(folder string) error
}

// servingKeys are for the server itself. Each replica signs a certificate of its
// own with the authority in the Secret.
func servingKeys(kube kubernetes.Interface, namespace, service, folder string) *shared {
	hosts := append(serviceHosts(namespace, service), "localhost", "127.0.0.1", "::1")
	return &shared{
		kube: kube, namespace: namespace, secret: secretName, folder: folder,
		entries: []string{caCertEntry, "ca.key", encryptionEntry, identityEntry},
		ensure: func(folder string) error {
			if _, err := pki.EnsureServer(folder, hosts, time.Now()); err != nil {
				return err
			}
			return pki.EnsureEncryption(filepath.Join(folder, encryptionEntry), kinds.Encrypted())
		},
	}
}

// etcdKeys are for an etcd behind a Service of the Secret's name, and for the
// replicas as its clients.
func etcdKeys(kube kubernetes.Interface, namespace, secret, folder string) *shared {
	hosts := serviceHosts(namespace, secret)
	// Each member has a name below that of the Service.
	for _, host := range serviceHosts(namespace, secret) {
		hosts = append(hosts, "*."+host)
	}
	hosts = append(hosts, "localhost", "127.0.0.1", "::1")
	return &shared{
		kube: kube, namespace: namespace, secret: secret, folder: folder,
		entries: []string{caCertEntry, "ca.key", "server.crt", "server.key", "client.crt", "client.key"},
		ensure: func(folder string) error {
			_, err := pki.EnsureEtcd(folder, hosts, time.Now())
			return err
		},
	}
}

func serviceHosts(namespace, service string) []string {
	return []string{service, service + "." + namespace, service + "." + namespace + ".svc", service + "." + namespace + ".svc.cluster.local"}
}

func (s *shared) path(entry string) string { return filepath.Join(s.folder, entry) }

// sync makes the Secret where it is missing, brings the folder in line with it,
// and writes back what was due for renewal.
func (s *shared) sync(ctx context.Context) error {
	secret, err := s.read(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return fmt.Errorf("making a folder for keys: %w", err)
	}
	for _, entry := range s.entries {
		if err := s.write(entry, secret.Data[entry]); err != nil {
			return err
		}
	}
	if err := s.ensure(s.folder); err != nil {
		return err
	}
	renewed, err := s.load(s.folder)
	if err != nil {
		return err
	}
	changed := false
	for entry, content := range renewed {
		changed = changed || !bytes.Equal(secret.Data[entry], content)
		secret.Data[entry] = content
	}
	if !changed {
		return nil
	}
	// Another replica may have renewed it too; then its files come next time.
	if _, err := s.kube.CoreV1().Secrets(s.namespace).Update(ctx, secret, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("renewing secret %q: %w", s.secret, err)
	}
	return nil
}

// read reads the Secret. The first replica makes it.
func (s *shared) read(ctx context.Context) (*corev1.Secret, error) {
	secrets := s.kube.CoreV1().Secrets(s.namespace)
	secret, err := secrets.Get(ctx, s.secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		made, makeErr := s.make()
		if makeErr != nil {
			return nil, makeErr
		}
		if secret, err = secrets.Create(ctx, made, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
			// Another replica was first.
			secret, err = secrets.Get(ctx, s.secret, metav1.GetOptions{})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading secret %q in namespace %q: %w", s.secret, s.namespace, err)
	}
	for _, entry := range s.entries {
		if len(secret.Data[entry]) == 0 {
			// A new key could not read what the lost one wrote.
			return nil, fmt.Errorf("secret %q in namespace %q has no entry %q: put it back", s.secret, s.namespace, entry)
		}
	}
	return secret, nil
}

func (s *shared) make() (*corev1.Secret, error) {
	folder, err := os.MkdirTemp("", "loam-keys-")
	if err != nil {
		return nil, fmt.Errorf("making keys: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }() // private, and small
	if err := s.ensure(folder); err != nil {
		return nil, err
	}
	data, err := s.load(folder)
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: s.secret, Namespace: s.namespace}, Data: data}, err
}

func (s *shared) load(folder string) (map[string][]byte, error) {
	data := map[string][]byte{}
	for _, entry := range s.entries {
		content, err := os.ReadFile(filepath.Join(folder, entry))
		if err != nil {
			return nil, fmt.Errorf("reading keys: %w", err)
		}
		data[entry] = content
	}
	return data, nil
}

// write replaces a file of the folder unless it holds that content.
func (s *shared) write(entry string, content []byte) error {
	if existing, err := os.ReadFile(s.path(entry)); err == nil && bytes.Equal(existing, content) {
		return nil
	}
	if err := renameio.WriteFile(s.path(entry), content, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", entry, err)
	}
	return nil
}
