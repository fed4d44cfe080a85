package pki

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"

	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/fault"
)

// BeginKeyRotation puts a new key first into an encryption file, and returns its
// name. The others stay, to read with. A rotation that has begun already, so
// that there are several keys, goes on with the key it began with.
func BeginKeyRotation(path string) (string, error) {
	config, keys, err := readEncryption(path)
	if err != nil {
		return "", err
	}
	if len(keys.Keys) > 1 {
		return keys.Keys[0].Name, nil
	}
	secret, err := newEncryptionKey()
	if err != nil {
		return "", err
	}
	highest := 0
	for _, key := range keys.Keys {
		if number, err := strconv.Atoi(key.Name); err == nil {
			highest = max(highest, number)
		}
	}
	name := strconv.Itoa(highest + 1)
	keys.Keys = append([]apiserverv1.Key{{Name: name, Secret: secret}}, keys.Keys...)
	return name, writeEncryption(path, config)
}

// EndKeyRotation takes every key but the first out of an encryption file. What
// they wrote can no longer be read.
func EndKeyRotation(path string) error {
	config, keys, err := readEncryption(path)
	if err != nil {
		return err
	}
	keys.Keys = keys.Keys[:1]
	return writeEncryption(path, config)
}

// EncryptedWith is how a stored value begins that the key of a name wrote.
func EncryptedWith(name string) string { return "k8s:enc:secretbox:v1:" + name + ":" }

// readEncryption returns a file's content and, inside it, the keys that Loam
// made. A file that somebody wrote otherwise is theirs to rotate.
func readEncryption(path string) (*apiserverv1.EncryptionConfiguration, *apiserverv1.SecretboxConfiguration, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the encryption keys: %w", err)
	}
	config := &apiserverv1.EncryptionConfiguration{}
	if err := yaml.UnmarshalStrict(text, config); err != nil {
		return nil, nil, fault.New(fault.Invalid, "file %q cannot be read: %w", path, err)
	}
	if len(config.Resources) != 1 || len(config.Resources[0].Providers) != 1 || config.Resources[0].Providers[0].Secretbox == nil || len(config.Resources[0].Providers[0].Secretbox.Keys) == 0 {
		return nil, nil, fault.New(fault.Invalid, "file %q was written by hand: put a new key first, write every secret again, and take the old key out", path)
	}
	return config, config.Resources[0].Providers[0].Secretbox, nil
}

func writeEncryption(path string, config *apiserverv1.EncryptionConfiguration) error {
	text, err := yaml.Marshal(config)
	if err != nil {
		return fmt.Errorf("encoding %q: %w", path, err)
	}
	return replaceFile(path, text, 0o600)
}

func newEncryptionKey() (string, error) {
	key := make([]byte, 32) // secretbox takes 32 bytes
	if _, err := rand.Read(key); err != nil {
		return "", fmt.Errorf("drawing an encryption key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(key), nil
}
