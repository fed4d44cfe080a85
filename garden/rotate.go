package garden

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/internal/pki"
	"github.com/loam-cloud/loam/garden/scheme"
)

const (
	// keyInUse bounds the wait until the server has read a new key: it looks at the
	// file once a minute.
	keyInUse = 3 * time.Minute
	// rewritePage is how many objects are read at once.
	rewritePage = 500
)

// probe is a Secret by which is seen what key the server writes with.
func probe() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "loam-encryption-probe"}}
}

// encryptedPrefixes are the keys in the store below which everything is
// encrypted.
func encryptedPrefixes() []string {
	return []string{"/registry/secrets/", "/registry/" + corev1beta1.GroupName + "/internalsecrets/"}
}

// RotateEncryptionKey makes a new key for secrets at rest, writes every secret
// again with it, proves that in the store, and forgets the old key and everything
// it wrote. It tells progress. Interrupted at any moment it can be called again
// and goes on.
func (g *Garden) RotateEncryptionKey(ctx context.Context, progress func(string)) error {
	if g.store == nil {
		return fault.New(fault.Invalid, "the objects are in an etcd that others run: the history that it keeps cannot be cleared from here")
	}
	if !g.rotating.TryLock() {
		return fault.New(fault.Transient, "the encryption key is being rotated already")
	}
	defer g.rotating.Unlock()
	c, err := client.New(g.RESTConfig(), client.Options{Scheme: scheme.Client()})
	if err != nil {
		return fmt.Errorf("making a client for the rotation: %w", err)
	}
	name, err := pki.BeginKeyRotation(g.path(encryptionFile))
	if err != nil {
		return err
	}
	progress(fmt.Sprintf("Key %q is in place; waiting until it is in use, a minute at most", name))
	if err := g.awaitKey(ctx, c, name); err != nil {
		return err
	}
	progress("Writing every secret again")
	written, err := rewriteAll(ctx, c)
	if err != nil {
		return err
	}
	progress(fmt.Sprintf("Wrote %d secrets; looking at what is stored", written))
	if err := g.proveKey(ctx, name); err != nil {
		return err
	}
	// Backups take keys and store together, so they wait for this last step.
	g.keysInUse.Lock()
	defer g.keysInUse.Unlock()
	usage, err := g.store.Usage(ctx)
	if err != nil {
		return err
	}
	// Until now the store's history can be read with the old key.
	if err := g.store.Compact(ctx, usage.Revision); err != nil {
		return err
	}
	if err := g.store.Defragment(ctx); err != nil {
		return err
	}
	if err := pki.EndKeyRotation(g.path(encryptionFile)); err != nil {
		return err
	}
	progress(fmt.Sprintf("All secrets are encrypted with key %q; the old key is gone", name))
	return nil
}

// awaitKey returns when the server writes with the key.
func (g *Garden) awaitKey(ctx context.Context, c client.Client, name string) error {
	store, err := g.store.Client()
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // nothing was left to send
	secret := probe()
	key := "/registry/secrets/" + secret.Namespace + "/" + secret.Name
	defer func() { _ = c.Delete(context.WithoutCancel(ctx), probe()) }() // one that stays harms nothing
	err = wait.PollUntilContextTimeout(ctx, time.Second, keyInUse, true, func(ctx context.Context) (bool, error) {
		secret := probe()
		secret.StringData = map[string]string{"at": time.Now().Format(time.RFC3339Nano)}
		err := c.Update(ctx, secret)
		if apierrors.IsNotFound(err) {
			err = c.Create(ctx, secret)
		}
		if err != nil {
			return false, fmt.Errorf("writing a secret to see its key: %w", err)
		}
		stored, err := store.Get(ctx, key)
		if err != nil || len(stored.Kvs) != 1 {
			return false, fmt.Errorf("reading a stored secret: %w", err)
		}
		return bytes.HasPrefix(stored.Kvs[0].Value, []byte(pki.EncryptedWith(name))), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for key %q to be in use: %w", name, err)
	}
	return nil
}

// rewriteAll updates every secret without a change: the server writes those
// again that another key has written.
func rewriteAll(ctx context.Context, c client.Client) (int, error) {
	written := 0
	for _, list := range []client.ObjectList{&corev1.SecretList{}, &corev1beta1.InternalSecretList{}} {
		options := &client.ListOptions{Limit: rewritePage}
		for {
			if err := c.List(ctx, list, options); err != nil {
				return written, fmt.Errorf("listing secrets: %w", err)
			}
			if err := meta.EachListItem(list, func(item runtime.Object) error {
				written++
				return rewrite(ctx, c, item.(client.Object))
			}); err != nil {
				return written, err
			}
			if options.Continue = list.GetContinue(); options.Continue == "" {
				break
			}
		}
	}
	return written, nil
}

func rewrite(ctx context.Context, c client.Client, object client.Object) error {
	err := c.Update(ctx, object)
	// Deleted, or written by somebody else just now: with the new key.
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing %T %s/%s again: %w", object, object.GetNamespace(), object.GetName(), err)
	}
	return nil
}

// proveKey looks at every stored secret.
func (g *Garden) proveKey(ctx context.Context, name string) error {
	store, err := g.store.Client()
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // nothing was left to send
	prefix := []byte(pki.EncryptedWith(name))
	for _, below := range encryptedPrefixes() {
		from, end := below, clientv3.GetPrefixRangeEnd(below)
		for {
			page, err := store.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(rewritePage))
			if err != nil {
				return fmt.Errorf("reading stored secrets: %w", err)
			}
			for _, kv := range page.Kvs {
				if !bytes.HasPrefix(kv.Value, prefix) {
					return fmt.Errorf("%s is still encrypted with another key", kv.Key)
				}
				from = string(kv.Key) + "\x00"
			}
			if !page.More {
				break
			}
		}
	}
	return nil
}
