// Package rotation replaces the key by which a garden's secrets are encrypted in
// its store.
//
// The garden is its caller. It must not know how the server finds its keys, only
// what it writes with them.
package rotation

import (
	"bytes"
	"context"
	"fmt"
	"sync"
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

	"github.com/loam-cloud/loam/garden/internal/etcd"
	"github.com/loam-cloud/loam/garden/internal/pki"
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

// Rotation replaces the key by which secrets at rest are encrypted.
type Rotation struct {
	Store *etcd.Server
	// Client writes through the server that encrypts.
	Client client.Client
	// KeyFile configures the server's encryption. The server reads it again by
	// itself.
	KeyFile string
	// KeysInUse is held while the old key and what it wrote go.
	KeysInUse sync.Locker
}

// Run makes a new key, writes every secret again with it, proves that in the
// store, and forgets the old key and everything it wrote. It tells progress.
// Interrupted at any moment it can be called again and goes on. One at a time.
func (r Rotation) Run(ctx context.Context, progress func(string)) error {
	name, err := pki.BeginKeyRotation(r.KeyFile)
	if err != nil {
		return err
	}
	progress(fmt.Sprintf("Key %q is in place; waiting until it is in use, a minute at most", name))
	if err := r.awaitKey(ctx, name); err != nil {
		return err
	}
	progress("Writing every secret again")
	written, err := rewriteAll(ctx, r.Client)
	if err != nil {
		return err
	}
	progress(fmt.Sprintf("Wrote %d secrets; looking at what is stored", written))
	if err := r.proveKey(ctx, name); err != nil {
		return err
	}
	if err := r.forget(ctx); err != nil {
		return err
	}
	progress(fmt.Sprintf("All secrets are encrypted with key %q; the old key is gone", name))
	return nil
}

// forget clears the store's history, which until now can be read with the old
// key, and then removes that.
func (r Rotation) forget(ctx context.Context) error {
	r.KeysInUse.Lock()
	defer r.KeysInUse.Unlock()
	usage, err := r.Store.Usage(ctx)
	if err != nil {
		return err
	}
	if err := r.Store.Compact(ctx, usage.Revision); err != nil {
		return err
	}
	if err := r.Store.Defragment(ctx); err != nil {
		return err
	}
	return pki.EndKeyRotation(r.KeyFile)
}

// awaitKey returns when the server writes with the key.
func (r Rotation) awaitKey(ctx context.Context, name string) error {
	store, err := r.Store.Client()
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // nothing was left to send
	secret := probe()
	key := "/registry/secrets/" + secret.Namespace + "/" + secret.Name
	defer func() { _ = r.Client.Delete(context.WithoutCancel(ctx), probe()) }() // one that stays harms nothing
	err = wait.PollUntilContextTimeout(ctx, time.Second, keyInUse, true, func(ctx context.Context) (bool, error) {
		secret := probe()
		secret.StringData = map[string]string{"at": time.Now().Format(time.RFC3339Nano)}
		err := r.Client.Update(ctx, secret)
		if apierrors.IsNotFound(err) {
			err = r.Client.Create(ctx, secret)
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
func (r Rotation) proveKey(ctx context.Context, name string) error {
	store, err := r.Store.Client()
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
