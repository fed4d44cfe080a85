package pki

import (
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
)

// EnsureEncryption makes the file, mode 0600, that tells the API server to
// encrypt resources (resource, or resource.group) at rest. A file that is there
// stays as it is: it may hold several keys, the first of which writes and all
// of which read, and losing one loses what it wrote.
func EnsureEncryption(path string, resources []string) error {
	if _, err := os.Stat(path); err == nil {
		return os.Chmod(path, 0o600)
	} else if !os.IsNotExist(err) {
		return fmt.Errorf("reading %q: %w", path, err)
	}
	key, err := newEncryptionKey()
	if err != nil {
		return err
	}
	return writeEncryption(path, &apiserverv1.EncryptionConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: apiserverv1.SchemeGroupVersion.String(), Kind: "EncryptionConfiguration"},
		Resources: []apiserverv1.ResourceConfiguration{{
			Resources: resources,
			Providers: []apiserverv1.ProviderConfiguration{{
				Secretbox: &apiserverv1.SecretboxConfiguration{
					Keys: []apiserverv1.Key{{Name: "1", Secret: key}},
				},
			}},
		}},
	})
}
