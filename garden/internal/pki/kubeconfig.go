package pki

import (
	"bytes"
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// contextName is the only context, cluster and user of the kubeconfig.
const contextName = "loam-garden"

// WriteKubeconfig writes the administrator's kubeconfig for the API at server
// (a URL), mode 0600. A file that says the same already is left alone.
func WriteKubeconfig(path, server string, files Files) error {
	config := clientcmdapi.NewConfig()
	content := map[string][]byte{}
	for _, name := range []string{files.CACert, files.AdminCert, files.AdminKey} {
		text, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("reading %q for the kubeconfig: %w", name, err)
		}
		content[name] = text
	}
	config.Clusters[contextName] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: content[files.CACert]}
	config.AuthInfos[contextName] = &clientcmdapi.AuthInfo{
		ClientCertificateData: content[files.AdminCert],
		ClientKeyData:         content[files.AdminKey],
	}
	config.Contexts[contextName] = &clientcmdapi.Context{Cluster: contextName, AuthInfo: contextName}
	config.CurrentContext = contextName
	text, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encoding kubeconfig %q: %w", path, err)
	}
	if existing, err := os.ReadFile(path); err == nil && bytes.Equal(existing, text) {
		return os.Chmod(path, 0o600)
	}
	return replaceFile(path, text, 0o600)
}
