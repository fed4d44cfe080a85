package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
)

func kubeconfigFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "kubeconfig", "", "kubeconfig file to change (default $KUBECONFIG, else ~/.kube/config)")
}

func newClusterKubeconfig(o *options, p *project) *cobra.Command {
	var path string
	var print bool
	cmd := &cobra.Command{
		Use:   "kubeconfig NAME",
		Short: "Put access to a cluster into your kubeconfig",
		Long: `Merge access to a cluster into your kubeconfig file, as context loam-NAME, or
loam-PROJECT--NAME outside project local, and make it the current one. The file
is locked meanwhile; other entries stay.`,
		Example: `  loam cluster kubeconfig demo
  loam cluster kubeconfig demo --print > demo.kubeconfig`,
		Args:              exactlyOne("the name of a cluster"),
		ValidArgsFunction: o.completeClusters(p),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			text, err := clusterKubeconfig(cmd.Context(), c, p, args[0])
			if err != nil {
				return err
			}
			if print {
				_, err := cmd.OutOrStdout().Write(text)
				return err
			}
			return mergeKubeconfig(path, p.contextName(args[0]), text, printer(cmd.ErrOrStderr()))
		},
	}
	kubeconfigFlag(cmd, &path)
	cmd.Flags().BoolVar(&print, "print", false, "print the kubeconfig instead of merging it")
	return cmd
}

// clusterKubeconfig reads the Secret that holds access to a cluster.
func clusterKubeconfig(ctx context.Context, c client.Client, p *project, name string) ([]byte, error) {
	if _, err := getShoot(ctx, c, p, name); err != nil {
		return nil, err
	}
	var secret corev1.Secret
	err := c.Get(ctx, client.ObjectKey{Namespace: p.namespace(), Name: name + ".kubeconfig"}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fault.New(fault.Waiting, "%s has no kubeconfig yet: it is made once the API server runs", p.describe(name))
	case err != nil:
		return nil, fmt.Errorf("reading the kubeconfig of %s: %w", p.describe(name), err)
	}
	return secret.Data["kubeconfig"], nil
}

// previousExtension is where a context keeps the name of the one that was
// current before it.
const previousExtension = "loam.dev/previous-context"

// mergeKubeconfig puts a cluster's kubeconfig into a file, under the lock that
// kubectl takes too, and makes it the current context.
func mergeKubeconfig(path, name string, text []byte, say sayer) error {
	fresh, err := clientcmd.Load(text)
	if err != nil {
		return fmt.Errorf("reading the cluster's kubeconfig: %w", err)
	}
	path = kubeconfigFile(path)
	err = changeKubeconfig(path, func(config *clientcmdapi.Config) {
		config.Clusters[name] = fresh.Clusters[fresh.CurrentContext]
		config.AuthInfos[name] = fresh.AuthInfos[fresh.CurrentContext]
		previous := config.CurrentContext
		entry := clientcmdapi.NewContext()
		entry.Cluster, entry.AuthInfo = name, name
		if old := config.Contexts[name]; old != nil {
			entry.Namespace, entry.Extensions = old.Namespace, old.Extensions
		}
		if previous != "" && previous != name {
			setPreviousContext(entry, previous)
		}
		config.Contexts[name] = entry
		config.CurrentContext = name
	})
	if err != nil {
		return err
	}
	say("Context %q is now the current one in %s", name, path)
	return nil
}

// forgetKubeconfig takes a cluster out of a file again and returns to the
// context that was current before. A file without it is left alone.
func forgetKubeconfig(path, name string, say sayer) error {
	path = kubeconfigFile(path)
	config, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Invalid, "reading kubeconfig %s: %w", path, err)
	}
	if config.Contexts[name] == nil && config.Clusters[name] == nil && config.AuthInfos[name] == nil {
		return nil
	}
	err = changeKubeconfig(path, func(config *clientcmdapi.Config) {
		previous := previousContext(config.Contexts[name])
		delete(config.Contexts, name)
		for _, other := range config.Contexts {
			// Who would return to this one returns to where it would have.
			if previousContext(other) == name {
				setPreviousContext(other, previous)
			}
		}
		delete(config.Clusters, name)
		delete(config.AuthInfos, name)
		if config.CurrentContext == name {
			config.CurrentContext = ""
			if config.Contexts[previous] != nil {
				config.CurrentContext = previous
			}
		}
	})
	if err != nil {
		return err
	}
	say("Context %q is gone from %s", name, path)
	return nil
}

// setPreviousContext records the name of a context; the empty one takes the
// record away.
func setPreviousContext(c *clientcmdapi.Context, name string) {
	if name == "" {
		delete(c.Extensions, previousExtension)
		return
	}
	// A string always has a JSON form.
	raw, _ := json.Marshal(name)
	c.Extensions[previousExtension] = &runtime.Unknown{Raw: raw, ContentType: runtime.ContentTypeJSON}
}

func previousContext(c *clientcmdapi.Context) string {
	if c == nil {
		return ""
	}
	raw, ok := c.Extensions[previousExtension].(*runtime.Unknown)
	if !ok {
		return ""
	}
	var name string
	if err := json.Unmarshal(raw.Raw, &name); err != nil {
		return "" // not of our making: nothing to return to
	}
	return name
}

// kubeconfigFile is the file that kubectl would write to.
func kubeconfigFile(path string) string {
	options := clientcmd.NewDefaultPathOptions()
	options.LoadingRules.ExplicitPath = path
	return options.GetDefaultFilename()
}

// lockPatience bounds the wait for a lock that another program holds.
const lockPatience = 5 * time.Second

// lockKubeconfig takes the lock that kubectl takes too, under the same name that
// a user gave: a file <path>.lock that only one program can create.
func lockKubeconfig(path string) (unlock func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fault.New(fault.Invalid, "kubeconfig %s: %w", path, err)
	}
	lock := path + ".lock"
	for end := time.Now().Add(lockPatience); ; time.Sleep(50 * time.Millisecond) {
		f, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case err == nil:
			return func() error { return errors.Join(f.Close(), os.Remove(lock)) }, nil
		case !errors.Is(err, fs.ErrExist):
			return nil, fault.New(fault.Invalid, "locking kubeconfig %s: %w", path, err)
		case time.Now().After(end):
			return nil, fault.New(fault.Invalid, "kubeconfig %s is locked: if no other program changes it, remove %s", path, lock)
		}
	}
}

// changeKubeconfig changes one file, locked, from what it holds to what it is to
// hold. It holds keys: whatever its mode was, only its owner reads it after.
func changeKubeconfig(path string, change func(*clientcmdapi.Config)) (err error) {
	unlock, err := lockKubeconfig(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	// A link stays a link: the file behind it is replaced.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	config, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		config, err = clientcmdapi.NewConfig(), nil
	}
	if err != nil {
		return fault.New(fault.Invalid, "reading kubeconfig %s: %w", path, err)
	}
	change(config)
	text, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("writing kubeconfig %s: %w", path, err)
	}
	if err := replace(path, text); err != nil {
		return fault.New(fault.Invalid, "writing kubeconfig %s: %w", path, err)
	}
	return nil
}

// replace writes a file that only its owner reads, at once.
func replace(path string, text []byte) error {
	f, err := renameio.NewPendingFile(path, renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }() // what was replaced is not there any more
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}
