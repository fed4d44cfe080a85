package certificatesigningrequest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/loam-cloud/loam/controllers/certificatesigningrequest"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/access/agentcert"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

func run(t *testing.T) client.Client {
	t.Helper()
	mgr, err := manager.New(gardentest.Start(t).RESTConfig(), manager.Options{
		Scheme: scheme.Client(), Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := (&certificatesigningrequest.Reconciler{}).AddToManager(mgr); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return gardentest.Client(t)
}

// bootstrap writes a kubeconfig with a new token for a seed.
func bootstrap(t *testing.T, c client.Client, seed string) string {
	t.Helper()
	token, err := agentcert.CreateToken(t.Context(), c, seed, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	anonymous := gardentest.Anonymous(t)
	text, err := token.Kubeconfig(anonymous.Host, anonymous.CAData)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bootstrap")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	// The garden learns of a token by a watch, and may be asked before.
	controllertest.Eventually(t, func() error {
		_, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerVersion()
		return err
	})
	return path
}

// requests of a seed, by what was decided.
func requests(t *testing.T, c client.Client, user string) (approved, denied int) {
	t.Helper()
	list := &certificatesv1.CertificateSigningRequestList{}
	if err := c.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	for _, csr := range list.Items {
		for _, condition := range csr.Status.Conditions {
			if csr.Spec.Username == user && condition.Type == certificatesv1.CertificateApproved {
				approved++
			}
			if csr.Spec.Username == user && condition.Type == certificatesv1.CertificateDenied {
				denied++
			}
		}
	}
	return approved, denied
}

// TestFromTokenToCertificate goes the way of an agent: a token, a certificate, a
// kubeconfig that works, the same again after a restart without a token, and
// another certificate before the first ends.
func TestFromTokenToCertificate(t *testing.T) {
	admin := run(t)
	seed := "s" + rand.String(6)
	user := "gardener.cloud:system:seed:" + seed
	first := agentcert.Config{
		Seed: seed, Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), Bootstrap: bootstrap(t, admin, seed),
		// The shortest that can be asked for.
		Lifetime: 10 * time.Minute,
	}
	agent, err := agentcert.Ensure(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	lease := func(config string) error {
		rest, err := clientcmd.BuildConfigFromFlags("", config)
		if err != nil {
			return err
		}
		err = gardentest.ClientFor(t, rest).Get(t.Context(), client.ObjectKey{Name: "seed-" + seed}, &corev1.Namespace{})
		return client.IgnoreNotFound(err) // allowed, but nobody made it
	}
	if err := lease(first.Kubeconfig); err != nil {
		t.Error(err)
	}
	for _, path := range []string{first.Kubeconfig, filepath.Join(first.Kubeconfig+".d", "agent-current.pem")} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	again := first
	again.Bootstrap = "/nowhere"
	if _, err := agentcert.Ensure(t.Context(), again); err != nil {
		t.Errorf("a second start: %v", err)
	}

	// A manager of another life takes nine minutes for the same: what it would
	// ask for then is asked for now.
	before, err := os.Readlink(filepath.Join(first.Kubeconfig+".d", "agent-current.pem"))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // files are named by the second
	if err := agent.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if approved, denied := requests(t, admin, user); approved != 1 || denied != 0 {
		t.Errorf("%d renewals were approved, %d denied", approved, denied)
	}
	after, err := os.Readlink(filepath.Join(first.Kubeconfig+".d", "agent-current.pem"))
	if err != nil || after == before {
		t.Errorf("the certificate is still %s, %v", after, err)
	}
	if err := lease(first.Kubeconfig); err != nil {
		t.Error(err)
	}
}

func TestATokenIsForOneSeed(t *testing.T) {
	admin := run(t)
	seed := "s" + rand.String(6)
	_, err := agentcert.Ensure(t.Context(), agentcert.Config{
		Seed: "another-" + seed, Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), Bootstrap: bootstrap(t, admin, seed),
	})
	if !errors.Is(err, fault.Denied) {
		t.Errorf("got %v", err)
	}
}

func TestAWrongToken(t *testing.T) {
	admin := run(t)
	path := bootstrap(t, admin, "s")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken, err := clientcmd.Load(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range broken.AuthInfos {
		user.Token = strings.Repeat("a", 6) + "." + strings.Repeat("b", 16)
	}
	if err := clientcmd.WriteToFile(*broken, path); err != nil {
		t.Fatal(err)
	}
	_, err = agentcert.Ensure(t.Context(), agentcert.Config{Seed: "s", Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), Bootstrap: path})
	if !errors.Is(err, fault.Denied) {
		t.Errorf("got %v", err)
	}
	if _, err = agentcert.Ensure(t.Context(), agentcert.Config{Seed: "s", Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), Bootstrap: "/nowhere"}); !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

func TestOneAgentCannotAskForAnothersCertificate(t *testing.T) {
	c := gardentest.ClientFor(t, gardentest.User(t, "gardener.cloud:system:seed:mine", "gardener.cloud:system:seeds"))
	for name, change := range map[string]func(*request){
		"another seed":   func(r *request) { r.user = "gardener.cloud:system:seed:other" },
		"an admin":       func(r *request) { r.groups = []string{"system:masters"}; r.user = "root" },
		"another signer": func(r *request) { r.signer = "kubernetes.io/kubelet-serving" },
	} {
		r := agentRequest("mine")
		change(&r)
		if err := c.Create(t.Context(), r.object(t)); err == nil {
			t.Errorf("%s: the request was accepted", name)
		}
	}
	if err := c.Create(t.Context(), agentRequest("mine").object(t)); err != nil {
		t.Error(err)
	}
	if err := c.List(t.Context(), &certificatesv1.CertificateSigningRequestList{}, &client.ListOptions{Raw: &metav1.ListOptions{}}); err == nil {
		t.Error("an agent lists all requests")
	}
}
