package mask

import (
	"encoding/base64"
	"regexp"
)

var (
	// keyBlock is a private key of a file, whole or not.
	keyBlock = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[^-]*`)
	// secretField are the fields of a kubeconfig that authenticate.
	secretField = regexp.MustCompile(`(?m)^\s*(?:client-key-data|token|password):\s*["']?([^\s"']+)`)
)

// Keys returns what in a file authenticates: private keys in PEM, and keys,
// tokens and passwords of a kubeconfig, in all forms that they have there.
func Keys(content []byte) [][]byte {
	all := keyBlock.FindAll(content, -1)
	for _, field := range secretField.FindAllSubmatch(content, -1) {
		all = append(all, field[1])
		if decoded, err := base64.StdEncoding.DecodeString(string(field[1])); err == nil {
			all = append(all, keyBlock.FindAll(decoded, -1)...)
		}
	}
	return all
}
