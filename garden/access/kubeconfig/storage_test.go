package kubeconfig_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1alpha1 "github.com/gardener/gardener/pkg/apis/authentication/v1alpha1"
	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// cluster is a Shoot whose agent has published all that kubeconfigs need.
type cluster struct {
	*testing.T
	admin client.Client
	shoot *corev1beta1.Shoot
	ca    *x509.Certificate
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{T: t, admin: gardentest.Client(t)}
	namespace := gardentest.Namespace(t)
	c.shoot = &corev1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "plant"},
		Spec: corev1beta1.ShootSpec{
			SeedName:     ptr.To("local"),
			CloudProfile: &corev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: "local"},
			Region:       "local",
			Kubernetes:   corev1beta1.Kubernetes{Version: "1.36.3"},
			Provider:     corev1beta1.Provider{Type: "local"},
		},
	}
	c.create(c.shoot)
	return c
}

func (c *cluster) create(object client.Object) {
	c.Helper()
	if err := c.admin.Create(context.Background(), object); err != nil {
		c.Fatal(err)
	}
}

// publish does what the agent does once the cluster answers, in steps.
func (c *cluster) publish() []func() {
	key, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		c.Fatal(err)
	}
	signer, err := keyutil.ParsePrivateKeyPEM(key)
	if err != nil {
		c.Fatal(err)
	}
	c.ca, err = cert.NewSelfSignedCACert(cert.Config{CommonName: "kubernetes"}, signer.(crypto.Signer))
	if err != nil {
		c.Fatal(err)
	}
	text, err := cert.EncodeCertificates(c.ca)
	if err != nil {
		c.Fatal(err)
	}
	named := func(suffix string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: c.shoot.Namespace, Name: "plant" + suffix}
	}
	return []func(){
		func() {
			base := c.shoot.DeepCopy()
			c.shoot.Status.AdvertisedAddresses = []corev1beta1.ShootAdvertisedAddress{{Name: "external", URL: "https://plant.example.org"}, {Name: "internal", URL: "https://10.0.0.1"}}
			if err := c.admin.Status().Patch(context.Background(), c.shoot, client.MergeFrom(base)); err != nil {
				c.Fatal(err)
			}
		},
		func() {
			c.create(&corev1beta1.InternalSecret{ObjectMeta: named(".ca-client"), Data: map[string][]byte{"ca.crt": text, "ca.key": key}})
			time.Sleep(200 * time.Millisecond) // read from memory
		},
		func() {
			c.create(&corev1.ConfigMap{ObjectMeta: named(".ca-cluster"), Data: map[string]string{"ca.crt": string(text)}})
		},
	}
}

func (c *cluster) ask(as client.Client, subresource string, seconds *int64) (kubeconfig []byte, end time.Time, err error) {
	ctx := context.Background()
	if subresource == "adminkubeconfig" {
		request := &authenticationv1alpha1.AdminKubeconfigRequest{Spec: authenticationv1alpha1.AdminKubeconfigRequestSpec{ExpirationSeconds: seconds}}
		err = as.SubResource(subresource).Create(ctx, c.shoot, request)
		return request.Status.Kubeconfig, request.Status.ExpirationTimestamp.Time, err
	}
	request := &authenticationv1alpha1.ViewerKubeconfigRequest{Spec: authenticationv1alpha1.ViewerKubeconfigRequestSpec{ExpirationSeconds: seconds}}
	err = as.SubResource(subresource).Create(ctx, c.shoot, request)
	return request.Status.Kubeconfig, request.Status.ExpirationTimestamp.Time, err
}

// allow lets a user ask, as the roles of projects do.
func (c *cluster) allow(user, subresource string) client.Client {
	c.Helper()
	name := user + "-" + subresource
	c.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: c.shoot.Namespace, Name: name}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"core.gardener.cloud"}, Resources: []string{"shoots/" + subresource}, Verbs: []string{"create"},
	}}})
	c.create(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: c.shoot.Namespace, Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
	})
	as := gardentest.ClientFor(c.T, gardentest.User(c.T, user))
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, _, err := c.ask(as, subresource, nil); !apierrors.IsForbidden(err) {
			return as
		}
		if time.Now().After(end) {
			c.Fatal("the role is not known")
		}
	}
}

// TestKubeconfigs is "garden-api: Kinds/authentication.gardener.cloud/v1alpha1":
// AdminKubeconfigRequest and ViewerKubeconfigRequest.
func TestKubeconfigs(t *testing.T) {
	c := newCluster(t)
	jane := "jane-" + rand.String(5)
	member := c.allow(jane, "adminkubeconfig")
	viewer := c.allow(jane, "viewerkubeconfig")
	for _, step := range c.publish() {
		if _, _, err := c.ask(member, "adminkubeconfig", nil); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "cannot be reached yet") {
			t.Errorf("before the cluster is there: %v", err)
		}
		step()
	}
	operator := gardentest.ClientFor(t, gardentest.User(t, "root", "system:masters"))
	for _, test := range []struct {
		name        string
		as          client.Client
		subresource string
		seconds     *int64
		user, group string
		lifetime    time.Duration
	}{
		{"a member", member, "adminkubeconfig", nil, jane, "gardener.cloud:project:admins", time.Hour},
		{"a viewer", viewer, "viewerkubeconfig", nil, jane, "gardener.cloud:project:viewers", time.Hour},
		{"an operator", operator, "adminkubeconfig", ptr.To[int64](600), "root", "gardener.cloud:system:admins", 10 * time.Minute},
		{"an operator who looks", operator, "viewerkubeconfig", ptr.To[int64](7200), "root", "gardener.cloud:system:viewers", 2 * time.Hour},
		{"somebody who wants too much", member, "adminkubeconfig", ptr.To[int64](1 << 40), jane, "gardener.cloud:project:admins", 24 * time.Hour},
	} {
		now := time.Now()
		kubeconfig, end, err := c.ask(test.as, test.subresource, test.seconds)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if off := end.Sub(now.Add(test.lifetime)); off.Abs() > 5*time.Second {
			t.Errorf("%s: ends %s", test.name, end)
		}
		c.wantKubeconfig(test.name, kubeconfig, test.user, test.group, end)
	}
}

func (c *cluster) wantKubeconfig(name string, text []byte, user, group string, end time.Time) {
	c.Helper()
	file, err := clientcmd.Load(text)
	if err != nil {
		c.Fatalf("%s: %v", name, err)
	}
	project := c.shoot.Namespace + "--plant"
	if len(file.Contexts) != 2 || file.CurrentContext != project+"-external" || file.Clusters[project+"-internal"].Server != "https://10.0.0.1" {
		c.Errorf("%s: contexts are %v", name, file.Contexts)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil || config.Host != "https://plant.example.org" {
		c.Errorf("%s: got %v, %v", name, config, err)
	}
	certificates, err := cert.ParseCertsPEM(config.CertData)
	if err != nil {
		c.Fatalf("%s: %v", name, err)
	}
	leaf, roots := certificates[0], x509.NewCertPool()
	roots.AddCert(c.ca)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		c.Errorf("%s: %v", name, err)
	}
	if leaf.Subject.CommonName != user || !slices.Equal(leaf.Subject.Organization, []string{group}) || leaf.PublicKeyAlgorithm != x509.ECDSA || !leaf.NotAfter.Equal(end.UTC().Truncate(time.Second)) {
		c.Errorf("%s: the certificate is for %v until %s", name, leaf.Subject, leaf.NotAfter)
	}
}

func TestRefusals(t *testing.T) {
	c := newCluster(t)
	for _, step := range c.publish() {
		step()
	}
	if _, _, err := c.ask(c.admin, "adminkubeconfig", ptr.To[int64](599)); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.expirationSeconds: Invalid value: 599: must be 600") {
		t.Errorf("too short: %v", err)
	}
	viewer := c.allow("vera-"+rand.String(5), "viewerkubeconfig")
	if _, _, err := c.ask(viewer, "adminkubeconfig", nil); !apierrors.IsForbidden(err) {
		t.Errorf("a viewer asks for more: %v", err)
	}
	other := *c
	other.shoot = c.shoot.DeepCopy()
	other.shoot.Name = "weed"
	if _, _, err := other.ask(c.admin, "adminkubeconfig", nil); !apierrors.IsNotFound(err) {
		t.Errorf("no such cluster: %v", err)
	}
	request := &authenticationv1alpha1.AdminKubeconfigRequest{}
	if err := c.admin.SubResource("adminkubeconfig").Create(t.Context(), c.shoot, request, client.DryRunAll); err != nil || len(request.Status.Kubeconfig) > 0 {
		t.Errorf("a dry run gave a kubeconfig of %d bytes, %v", len(request.Status.Kubeconfig), err)
	}
}
