package garden_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	kubev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	encryptioncontroller "k8s.io/apiserver/pkg/server/options/encryptionconfig/controller"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/operations"
)

// TestRotateEncryptionKey wants every secret encrypted with a new key, and the
// old key gone from the folder, while the garden runs and after it.
func TestRotateEncryptionKey(t *testing.T) {
	// A minute otherwise; tests are what this variable is for.
	encryptioncontroller.EncryptionConfigFileChangePollDuration = time.Second
	dir := t.TempDir()
	config := gardenConfig(t, dir)
	config.Backups.Interval = -1
	g, err := garden.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	secret := &kubev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s"}, Data: map[string][]byte{"a": []byte(clearText)}}
	internal := &v1beta1.InternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: "i"}, Data: map[string][]byte{"a": []byte(clearText)}}
	for _, object := range []client.Object{secret, internal} {
		if err := clientOf(t, g).Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "encryption.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	// As a user does, over HTTPS.
	if err := operations.RotateEncryptionKey(t.Context(), childConfig(t, dir), func(step string) { told = append(told, step) }); err != nil {
		t.Fatalf("%v; it told %q", err, told)
	}
	if len(told) < 3 {
		t.Errorf("it told only %q", told)
	}
	for _, object := range []client.Object{secret, internal} {
		if err := clientOf(t, g).Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Errorf("after the rotation: %v", err)
		}
	}
	stop(t, g)

	after, err := os.ReadFile(filepath.Join(dir, "encryption.yaml"))
	if err != nil || bytes.Equal(before, after) || bytes.Count(after, []byte("secret:")) != 1 {
		t.Errorf("the keys: %v, %d", err, bytes.Count(after, []byte("secret:")))
	}
	seen := 0
	for key, value := range rawStore(t, dir) {
		if strings.HasPrefix(key, "/registry/secrets/") || strings.Contains(key, "/internalsecrets/") {
			seen++
			if !bytes.HasPrefix(value, []byte("k8s:enc:secretbox:v1:2:")) {
				t.Errorf("%s is not encrypted with the new key: %.30q", key, value)
			}
		}
	}
	if seen < 2 {
		t.Errorf("%d secrets in the store", seen)
	}
	g = start(t, dir)
	defer stop(t, g)
	if err := clientOf(t, g).Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil || string(secret.Data["a"]) != clearText {
		t.Errorf("after a restart: %v, %q", err, secret.Data)
	}
}
