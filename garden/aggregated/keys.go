package aggregated

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/loam-cloud/loam/garden/internal/pki"
	"github.com/loam-cloud/loam/garden/kinds"
)

const (
	// secretName is the Secret that replicas share: the authority of their serving
	// certificates, and the key that encrypts secrets in etcd.
	secretName = "loam-apiserver"

	caCertEntry     = "ca.crt"
	caKeyEntry      = "ca.key"
	encryptionEntry = "encryption.yaml"

	// refresh is how often a replica looks whether the shared Secret has changed,
	// certificates are due, or registrations were lost.
	refresh = time.Minute
)

// keys are what one replica holds of the shared Secret: files in a folder of its
// own that ends with the process. The server reads them again when they change.
type keys struct {
	kube      kubernetes.Interface
	namespace string
	hosts     []string
	folder    string
}

func (k *keys) path(name string) string { return filepath.Join(k.folder, name) }

// sync makes the Secret where it is missing and brings the folder in line with
// it. It returns the authority that clients have to trust.
func (k *keys) sync(ctx context.Context) ([]byte, error) {
	secret, err := k.secret(ctx)
	if err != nil {
		return nil, err
	}
	for _, entry := range []string{caCertEntry, caKeyEntry, encryptionEntry} {
		if err := k.write(entry, secret.Data[entry]); err != nil {
			return nil, err
		}
	}
	if _, err := pki.EnsureServer(k.folder, k.hosts, time.Now()); err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(k.path(caCertEntry))
	if err != nil {
		return nil, fmt.Errorf("reading the server's authority: %w", err)
	}
	if !bytes.Equal(authority, secret.Data[caCertEntry]) {
		// It was near its end and has been signed anew under its old key.
		secret.Data[caCertEntry] = authority
		if _, err := k.kube.CoreV1().Secrets(k.namespace).Update(ctx, secret, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) {
			return nil, fmt.Errorf("renewing the authority in secret %q: %w", secretName, err)
		}
	}
	return authority, nil
}

// secret reads the shared Secret. The first replica makes it.
func (k *keys) secret(ctx context.Context) (*corev1.Secret, error) {
	secrets := k.kube.CoreV1().Secrets(k.namespace)
	secret, err := secrets.Get(ctx, secretName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if secret, err = k.newSecret(); err != nil {
			return nil, err
		}
		created, createErr := secrets.Create(ctx, secret, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(createErr) {
			// Another replica was first.
			created, createErr = secrets.Get(ctx, secretName, metav1.GetOptions{})
		}
		secret, err = created, createErr
	}
	if err != nil {
		return nil, fmt.Errorf("reading secret %q in namespace %q: %w", secretName, k.namespace, err)
	}
	for _, entry := range []string{caCertEntry, caKeyEntry, encryptionEntry} {
		if len(secret.Data[entry]) == 0 {
			// A new key could not read what the lost one wrote.
			return nil, fmt.Errorf("secret %q in namespace %q has no entry %q: put it back", secretName, k.namespace, entry)
		}
	}
	return secret, nil
}

func (k *keys) newSecret() (*corev1.Secret, error) {
	folder, err := os.MkdirTemp(k.folder, "new-")
	if err != nil {
		return nil, fmt.Errorf("making keys: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }() // its parent goes with the process
	if _, err := pki.EnsureServer(folder, k.hosts, time.Now()); err != nil {
		return nil, err
	}
	if err := pki.EnsureEncryption(filepath.Join(folder, encryptionEntry), kinds.Encrypted()); err != nil {
		return nil, err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secretName, Namespace: k.namespace}, Data: map[string][]byte{}}
	for _, entry := range []string{caCertEntry, caKeyEntry, encryptionEntry} {
		if secret.Data[entry], err = os.ReadFile(filepath.Join(folder, entry)); err != nil {
			return nil, fmt.Errorf("reading a new key: %w", err)
		}
	}
	return secret, nil
}

// write replaces a file of the folder unless it holds that content.
func (k *keys) write(name string, content []byte) error {
	if existing, err := os.ReadFile(k.path(name)); err == nil && bytes.Equal(existing, content) {
		return nil
	}
	if err := os.WriteFile(k.path(name)+".new", content, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.Rename(k.path(name)+".new", k.path(name)); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
