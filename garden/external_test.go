package garden_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kubev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/gardentest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestExternalEtcd wants the objects in the etcd that was given, and keys and
// certificates alone in the folder.
func TestExternalEtcd(t *testing.T) {
	external := gardentest.Etcd(t)
	dir := t.TempDir()
	config := gardentest.Config(dir, t.Log)
	config.Etcd = external
	secret := &kubev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "garden", Name: "external"}, StringData: map[string]string{"a": clearText}}
	for _, round := range []string{"first", "again"} {
		ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
		defer cancel()
		g, err := garden.Start(ctx, config)
		if err != nil {
			t.Fatalf("%s: %v", round, err)
		}
		c := clientOf(t, g)
		if round == "first" {
			err = c.Create(t.Context(), secret)
		} else {
			err = c.Get(t.Context(), client.ObjectKeyFromObject(secret), secret)
		}
		if err != nil {
			t.Errorf("%s: %v", round, err)
		}
		stop(t, g)
	}

	// Another folder has another key.
	config.DataDir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	g, err := garden.Start(ctx, config)
	if err == nil {
		stop(t, g)
		t.Fatal("a garden started that cannot read its secrets")
	}
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "encryption.yaml") {
		t.Errorf("got %v, want an error that names encryption.yaml", err)
	}
}

// TestExternalEtcdThatIsNotThere wants each server named with what is wrong with it,
// and nothing left behind.
func TestExternalEtcdThatIsNotThere(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + taken.Addr().String()
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	config := gardentest.Config(filepath.Join(t.TempDir(), "data"), t.Log)
	config.Etcd = garden.ExternalEtcd{Servers: []string{address}}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if g, err := garden.Start(ctx, config); err == nil {
		stop(t, g)
		t.Fatal("a garden started without its etcd")
	} else if !errors.Is(err, fault.Transient) || !strings.Contains(err.Error(), address+": dial tcp") {
		t.Errorf("got %v, want an error that names %s", err, address)
	}
	if _, err := os.Stat(config.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data folder was left behind: %v", err)
	}
}

func TestExternalEtcdValidate(t *testing.T) {
	for name, test := range map[string]struct {
		etcd garden.ExternalEtcd
		want []string
	}{
		"none":             {garden.ExternalEtcd{}, nil},
		"loopback":         {garden.ExternalEtcd{Servers: []string{"http://127.0.0.1:2379"}}, nil},
		"clear text":       {garden.ExternalEtcd{Servers: []string{"http://10.0.0.1:2379"}}, []string{"etcd.servers[0]"}},
		"no URL":           {garden.ExternalEtcd{Servers: []string{"10.0.0.1:2379", "https://"}}, []string{"etcd.servers[0]", "etcd.servers[1]"}},
		"no authority":     {garden.ExternalEtcd{Servers: []string{"https://10.0.0.1:2379"}}, []string{"etcd.caFile"}},
		"half a pair":      {garden.ExternalEtcd{Servers: []string{"http://[::1]:2379"}, KeyFile: "external_test.go"}, []string{"etcd.certFile"}},
		"missing file":     {garden.ExternalEtcd{Servers: []string{"https://a:2379"}, CAFile: "nowhere"}, []string{"etcd.caFile"}},
		"file without use": {garden.ExternalEtcd{CAFile: "external_test.go"}, []string{"etcd.caFile"}},
	} {
		var got []string
		for _, problem := range test.etcd.Validate(field.NewPath("etcd")) {
			got = append(got, problem.Field)
		}
		if strings.Join(got, " ") != strings.Join(test.want, " ") {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
