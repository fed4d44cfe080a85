package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/backup"
)

// upConfiguration is the file of loam up --config.
type upConfiguration struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// DataDir is the folder of the garden's data.
	DataDir string `json:"dataDir,omitempty"`
	// Listen is address and port of the API.
	Listen string `json:"listen,omitempty"`
	// DockerHost is the Docker Engine API that makes machines:
	// unix:///var/run/docker.sock.
	DockerHost string `json:"dockerHost,omitempty"`
	// Etcd holds the garden's objects instead of its own store.
	Etcd etcdConfiguration `json:"etcd,omitzero"`
	// Backups says how the garden backs itself up.
	Backups backupConfiguration `json:"backups,omitzero"`
	// StoreQuota bounds the garden's store: 8Gi.
	StoreQuota *resource.Quantity `json:"storeQuota,omitempty"`
	// Audit says where requests to the API are written down.
	Audit auditConfiguration `json:"audit,omitzero"`
	// Ports says how ports of this host lead to services of clusters.
	Ports portsConfiguration `json:"ports,omitzero"`
	// Registry says how the image cache runs beside the garden.
	Registry imageCacheConfiguration `json:"registry,omitzero"`
	// Manifests are applied once the garden is ready.
	Manifests []string `json:"manifests,omitempty"`
}

// etcdConfiguration is an etcd cluster that others run.
type etcdConfiguration struct {
	// Servers are client URLs, https://10.0.0.1:2379.
	Servers []string `json:"servers,omitempty"`
	// CAFile signed the servers' certificates; CertFile and KeyFile are shown to
	// them.
	CAFile   string `json:"caFile,omitempty"`
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
	// Prefix begins every key.
	Prefix string `json:"prefix,omitempty"`
}

// portsConfiguration is how ports of this host lead to services of clusters.
type portsConfiguration struct {
	// Address is the one of this host that ports are opened on, 127.0.0.1 when
	// empty.
	Address string `json:"address,omitempty"`
	// Way is how nodes are reached: auto (the default), direct or relay.
	Way string `json:"way,omitempty"`
}

// backupConfiguration is how a garden backs itself up.
type backupConfiguration struct {
	// Dir is where backups are written.
	Dir string `json:"dir,omitempty"`
	// Interval is how far apart they are, 24h; negative turns them off.
	Interval metav1.Duration `json:"interval,omitzero"`
	// Keep is how many there are.
	Keep int `json:"keep,omitempty"`
	// Recipients are public keys, age1..., of who may open them.
	Recipients []string `json:"recipients,omitempty"`
}

// auditConfiguration is how a garden keeps its audit log.
type auditConfiguration struct {
	// LogPath is the file, <data-dir>/audit.log when empty.
	LogPath string `json:"logPath,omitempty"`
	// PolicyFile is a Policy of audit.k8s.io/v1.
	PolicyFile string `json:"policyFile,omitempty"`
}

const upConfigurationKind = "UpConfiguration"

// readConfig fills c, and what the image cache is to be, from a configuration file
// where the flags do not say otherwise. An empty path is no file.
func readConfig(path string, c *app.Config, images *imageCacheFlags, flags *pflag.FlagSet) error {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fault.New(fault.Invalid, "reading the configuration: %w", err)
	}
	file, err := parseConfig(text)
	if err != nil {
		return fault.New(fault.Invalid, "configuration file %s: %w", path, err)
	}
	c.DataDir, c.DockerHost = file.DataDir, file.DockerHost
	images.read(file.Registry, flags)
	if file.StoreQuota != nil {
		c.StoreQuotaBytes = file.StoreQuota.Value()
	}
	if c.Backups.Recipients, err = backup.ParseRecipients(file.Backups.Recipients); err != nil {
		return fault.New(fault.Invalid, "configuration file %s: backups.recipients: %w", path, err)
	}
	c.Backups.Dir, c.Backups.Interval, c.Backups.Keep = file.Backups.Dir, file.Backups.Interval.Duration, file.Backups.Keep
	if !flags.Changed("etcd-servers") {
		c.Etcd = garden.ExternalEtcd(file.Etcd)
	}
	if !flags.Changed("listen") {
		c.Listen = file.Listen
	}
	if !flags.Changed("audit-log-path") {
		c.Audit.Path = file.Audit.LogPath
	}
	if !flags.Changed("ports-address") {
		c.Ports.Address = file.Ports.Address
	}
	if !flags.Changed("ports-way") {
		c.Ports.Way = file.Ports.Way
	}
	if !flags.Changed("audit-policy-file") {
		c.Audit.PolicyFile = file.Audit.PolicyFile
	}
	if !flags.Changed("filename") {
		c.Manifests = file.Manifests
	}
	return nil
}

// parseConfig reads a configuration file strictly and names every problem.
func parseConfig(text []byte) (upConfiguration, error) {
	var file upConfiguration
	problems, err := decodeStrict(text, &file)
	if err != nil {
		return file, err
	}
	if want := v1alpha1.SchemeGroupVersion.String(); file.APIVersion != want {
		problems = append(problems, field.NotSupported(field.NewPath("apiVersion"), file.APIVersion, []string{want}))
	}
	if file.Kind != upConfigurationKind {
		problems = append(problems, field.NotSupported(field.NewPath("kind"), file.Kind, []string{upConfigurationKind}))
	}
	return file, errors.Join(problems...)
}

// decodeStrict reads the only document of a file, YAML or JSON. Problems are
// fields that are unknown or stand twice, each with its path; the error is that
// the text cannot be read at all.
func decodeStrict(text []byte, into any) (problems []error, err error) {
	if err := onlyDocument(text); err != nil {
		return nil, err
	}
	converted, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	return json.UnmarshalStrict(converted, into)
}

// onlyDocument refuses a file with several documents, of which only the first
// would be read.
func onlyDocument(text []byte) error {
	documents := 0
	for reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		var content any
		if err := yaml.Unmarshal(document, &content); err != nil || content != nil {
			documents++
		}
	}
	if documents > 1 {
		return fmt.Errorf("it holds %d documents, must hold one", documents)
	}
	return nil
}
