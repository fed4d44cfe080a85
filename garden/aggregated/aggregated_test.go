package aggregated_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/access/identity"
	"github.com/loam-cloud/loam/garden/aggregated"
	"github.com/loam-cloud/loam/garden/aggregated/aggregatedtest"
	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

func clientOf(t *testing.T, r *aggregatedtest.Replica) client.Client {
	t.Helper()
	return gardentest.ClientFor(t, r.Config)
}

func namespace(t *testing.T) string {
	t.Helper()
	name := "agg-" + rand.String(6)
	if err := gardentest.Client(t).Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestReplicas wants two replicas to share keys and objects, and nothing of them
// in the store of the Kubernetes beside them.
func TestReplicas(t *testing.T) {
	etcd, ns := gardentest.Etcd(t), namespace(t)
	one, two := aggregatedtest.Run(t, ns, etcd), aggregatedtest.Run(t, ns, etcd)

	class := &v1beta1.ExposureClass{ObjectMeta: metav1.ObjectMeta{Name: "c" + rand.String(6)}, Handler: "here"}
	secret := &v1beta1.InternalSecret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: ns}, Data: map[string][]byte{"a": []byte("b")}}
	for _, object := range []client.Object{class, secret} {
		if err := clientOf(t, one).Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		if err := clientOf(t, two).Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Errorf("the second replica does not see %T: %v", object, err)
		}
	}
	if err := gardentest.Client(t).Get(t.Context(), client.ObjectKeyFromObject(class), class); !apierrors.IsNotFound(err) {
		t.Errorf("the Kubernetes beside it has the object too: %v", err)
	}

	one.Stop()
	if err := clientOf(t, two).Delete(t.Context(), class); err != nil {
		t.Errorf("with one replica gone: %v", err)
	}
}

// TestSecretsAreEncrypted looks into etcd for what an InternalSecret holds, and
// for how everything else is stored.
func TestSecretsAreEncrypted(t *testing.T) {
	const clearText = "clear-text-that-must-not-be-in-etcd"
	etcd, ns := gardentest.Etcd(t), namespace(t)
	r := aggregatedtest.Run(t, ns, etcd)
	secret := &v1beta1.InternalSecret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: ns}, Data: map[string][]byte{"key": []byte(clearText)}}
	class := &v1beta1.ExposureClass{ObjectMeta: metav1.ObjectMeta{Name: "seen"}, Handler: "can-be-read"}
	for _, object := range []client.Object{secret, class} {
		if err := clientOf(t, r).Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	// Rewritten, it is encrypted anew.
	secret.Labels = map[string]string{"a": "b"}
	if err := clientOf(t, r).Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for key, value := range gardentest.Raw(t, etcd) {
		if bytes.Contains(value, []byte(clearText)) || bytes.Contains(value, []byte(base64.StdEncoding.EncodeToString([]byte(clearText)))) {
			t.Errorf("%s holds the secret in clear", key)
		}
		switch {
		case strings.HasSuffix(key, "/core.gardener.cloud/internalsecrets/"+ns+"/s"):
			found["secret"] = bytes.HasPrefix(value, []byte("k8s:enc:secretbox:v1:"))
		case strings.HasSuffix(key, "/core.gardener.cloud/exposureclasses/seen"):
			found["class"] = bytes.HasPrefix(value, []byte("k8s\x00")) && bytes.Contains(value, []byte("can-be-read"))
		}
	}
	if !found["secret"] || !found["class"] {
		t.Errorf("in etcd there is an encrypted secret: %v, a class as protobuf: %v", found["secret"], found["class"])
	}
	if err := clientOf(t, r).Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil || string(secret.Data["key"]) != clearText {
		t.Errorf("read back %q, %v", secret.Data, err)
	}
}

// TestDelegates wants the Kubernetes beside it to decide who may do what.
func TestDelegates(t *testing.T) {
	r := aggregatedtest.Run(t, namespace(t), gardentest.Etcd(t))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.Config.CAData)
	anonymous := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	for path, want := range map[string]int{"/readyz": http.StatusOK, "/apis/core.gardener.cloud/v1beta1/seeds": http.StatusForbidden, identity.ConfigurationPath: http.StatusOK, identity.KeysPath: http.StatusOK} {
		answer, err := anonymous.Get(r.Config.Host + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, answer.StatusCode, want)
		}
	}

	account := rest.AnonymousClientConfig(r.Config)
	account.BearerToken = readerToken(t)
	viewer, err := client.New(account, client.Options{Scheme: scheme.Client()})
	if err != nil {
		t.Fatal(err)
	}
	if err := viewer.List(t.Context(), &v1beta1.SeedList{}); err != nil {
		t.Errorf("a reader cannot read: %v", err)
	}
	if err := viewer.Create(t.Context(), &v1beta1.ExposureClass{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Handler: "here"}); !apierrors.IsForbidden(err) {
		t.Errorf("a reader writes: %v", err)
	}
}

// TestAgentsAreHeldToTheirSeed asks as two agents' API server would, and as an
// agent itself.
func TestAgentsAreHeldToTheirSeed(t *testing.T) {
	r := aggregatedtest.Run(t, namespace(t), gardentest.Etcd(t))
	for _, name := range []string{"one", "two"} {
		if err := clientOf(t, r).Create(t.Context(), bootstrap.LocalSeed(name, "local")); err != nil {
			t.Fatal(err)
		}
	}
	kube, err := kubernetes.NewForConfig(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(seed string) *authorizationv1.SubjectAccessReview {
		review := &authorizationv1.SubjectAccessReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"},
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User: "gardener.cloud:system:seed:one", Groups: []string{"gardener.cloud:system:seeds"},
				ResourceAttributes: &authorizationv1.ResourceAttributes{Group: v1beta1.GroupName, Version: "v1beta1", Resource: "seeds", Name: seed, Verb: "get"},
			},
		}
		text, err := json.Marshal(review)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := kube.Discovery().RESTClient().Post().AbsPath("/webhooks/authorize-seeds").Body(text).DoRaw(t.Context())
		if err == nil {
			err = json.Unmarshal(answer, review)
		}
		if err != nil {
			t.Fatal(err)
		}
		return review
	}
	for range 100 { // what was written follows within milliseconds
		if ask("one").Status.Allowed {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if got := ask("one").Status; !got.Allowed {
		t.Errorf("an agent does not see its seed: %+v", got)
	}
	if got := ask("two").Status; got.Allowed || !got.Denied {
		t.Errorf("an agent sees another seed: %+v", got)
	}

	as := rest.CopyConfig(r.Config)
	as.Impersonate = rest.ImpersonationConfig{UserName: "gardener.cloud:system:seed:one", Groups: []string{"gardener.cloud:system:seeds"}}
	agent, err := client.New(as, client.Options{Scheme: scheme.Client()})
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Get(t.Context(), client.ObjectKey{Name: "one"}, &v1beta1.Seed{}); err != nil {
		t.Errorf("an agent does not see its seed: %v", err)
	}
	if err := agent.Get(t.Context(), client.ObjectKey{Name: "two"}, &v1beta1.Seed{}); !apierrors.IsForbidden(err) {
		t.Errorf("an agent sees another seed: %v", err)
	}
}

// readerToken is that of a service account which may read what the server holds.
func readerToken(t *testing.T) string {
	t.Helper()
	c, ns, name := gardentest.Client(t), namespace(t), "reader-"+rand.String(6)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}}
	for _, object := range []client.Object{
		account,
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{v1beta1.GroupName}, Resources: []string{"*"}, Verbs: []string{"get", "list"}}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: name}},
		},
	} {
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	token := &authenticationv1.TokenRequest{}
	if err := c.SubResource("token").Create(t.Context(), account, token); err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

// TestRegistration wants APIServices of others left alone. Those of this
// Kubernetes are its own: it serves the groups itself.
func TestRegistration(t *testing.T) {
	r := aggregatedtest.Run(t, namespace(t), gardentest.Etcd(t))
	for range 100 {
		if strings.Contains(r.Log(), "--take-over") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if got := r.Log(); !strings.Contains(got, "is registered by something else (served by the cluster itself") {
		t.Errorf("the log does not say whose registration is kept:\n%s", got)
	}
	if err := gardentest.Client(t).List(t.Context(), &v1beta1.SeedList{}); err != nil {
		t.Errorf("the group is served no more: %v", err)
	}
}

func TestValidate(t *testing.T) {
	err := aggregated.Config{Listen: "nowhere", CertFile: "aggregated_test.go"}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, path := range []string{"listen", "namespace", "service", "etcd.servers", "tls.keyFile", "tls.caFile"} {
		if !strings.Contains(err.Error(), path+":") {
			t.Errorf("%v: nothing about %s", err, path)
		}
	}
}
