package garden_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	kubev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func gardenConfig(t *testing.T, dir string) garden.Config {
	t.Helper()
	return gardentest.Config(dir, t.Log)
}

func big(name string) *kubev1.ConfigMap {
	return &kubev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string]string{"a": strings.Repeat("x", 256<<10)}}
}

// TestStoreNeverFills fills a small store until nothing new is taken in, and
// wants updates and deletions to go on, and new objects again when there is room.
func TestStoreNeverFills(t *testing.T) {
	config := gardenConfig(t, t.TempDir())
	config.StoreQuotaBytes = 64 << 20
	config.Backups.Interval = -1
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	g, err := garden.Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, g)
	c := clientOf(t, g)
	var full *apierrors.StatusError
	created := 0
	for ; created < 400; created++ {
		if err := g.LookAtStore(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(t.Context(), big(fmt.Sprint("big-", created))); errors.As(err, &full) {
			break
		} else if err != nil && !strings.Contains(err.Error(), "database space exceeded") {
			// etcd itself may be first in a store this small; the next look mends that.
			t.Fatalf("object %d: %v", created, err)
		}
	}
	if full == nil || full.ErrStatus.Code != http.StatusInsufficientStorage || !strings.Contains(full.Error(), "--store-quota") {
		t.Fatalf("after %d objects: %v, want a refusal", created, full)
	}

	object := big("big-0")
	object.Data["a"] = strings.Repeat("y", 256<<10)
	eventually(t, "an update is taken", func() error {
		err := c.Update(t.Context(), object)
		if err != nil && strings.Contains(err.Error(), "database space exceeded") {
			if err := g.LookAtStore(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else if err != nil {
			t.Fatalf("an update is refused: %v", err)
		}
		return err
	})
	for i := range created {
		if err := client.IgnoreNotFound(c.Delete(t.Context(), big(fmt.Sprint("big-", i)))); err != nil {
			t.Errorf("a deletion is refused: %v", err)
		}
	}
	// More than once: what the first look has seen the second may forget, and etcd
	// counts what is free when it next commits.
	eventually(t, "there is room again", func() error {
		if err := g.LookAtStore(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c.Create(t.Context(), &kubev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "small"}})
	})
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "big-0"}, object); !apierrors.IsNotFound(err) {
		t.Errorf("a deleted object is there: %v", err)
	}
}

// TestAFullDiskIsRefusedBeforeItIsMet wants new objects refused, changes and
// deletions taken, and no start that would end in a panic.
func TestAFullDiskIsRefusedBeforeItIsMet(t *testing.T) {
	config := gardenConfig(t, t.TempDir())
	config.Backups.Interval = -1
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	g, err := garden.Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, g)
	c, object := clientOf(t, g), big("one")
	if err := c.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	look := func(free int64) {
		t.Helper()
		g.SetFree(free)
		if err := g.LookAtStore(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	look(100 << 20)
	var full *apierrors.StatusError
	if err := c.Create(t.Context(), big("two")); !errors.As(err, &full) || full.ErrStatus.Code != http.StatusInsufficientStorage || !strings.Contains(err.Error(), "has 100 MiB free") {
		t.Errorf("a new object: %v, want a refusal", err)
	}
	object.Data["a"] = "less"
	if err := c.Update(t.Context(), object); err != nil {
		t.Errorf("an update: %v", err)
	}
	if err := c.Delete(t.Context(), object); err != nil {
		t.Errorf("a deletion: %v", err)
	}
	look(1 << 30)
	if err := c.Create(t.Context(), big("two")); err != nil {
		t.Errorf("there is room, and yet: %v", err)
	}

	for _, test := range []struct {
		free  int64
		fresh bool
		good  bool
	}{{300 << 20, true, true}, {200 << 20, true, false}, {200 << 20, false, true}, {70 << 20, false, false}} {
		g.SetFree(test.free)
		if err := g.CheckRoom(test.fresh); test.good != (err == nil) || err != nil && !errors.Is(err, fault.Exhausted) {
			t.Errorf("%d bytes, fresh %v: %v", test.free, test.fresh, err)
		}
	}
}
