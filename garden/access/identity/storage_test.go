package identity_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	"gopkg.in/go-jose/go-jose.v2"
	"gopkg.in/go-jose/go-jose.v2/jwt"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// read gets a document as somebody whom the garden does not know.
func read(t *testing.T, path string, into any) {
	t.Helper()
	config := gardentest.Anonymous(t)
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	url := path
	if strings.HasPrefix(path, "/") {
		url = config.Host + path
	}
	answer, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", path, answer.Status, text, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func newIdentity(t *testing.T, c client.Client, namespace string) *securityv1alpha1.WorkloadIdentity {
	t.Helper()
	identity := &securityv1alpha1.WorkloadIdentity{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "robot"},
		Spec:       securityv1alpha1.WorkloadIdentitySpec{Audiences: []string{"cloud", "vault"}, TargetSystem: securityv1alpha1.TargetSystem{Type: "local"}},
	}
	if err := c.Create(t.Context(), identity); err != nil {
		t.Fatal(err)
	}
	return identity
}

type named struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

type gardener struct {
	WorkloadIdentity named `json:"workloadIdentity"`
	Shoot            named `json:"shoot"`
	Project          named `json:"project"`
	Seed             named `json:"seed"`
}

// TestATargetSystemTrustsTheToken goes the way of one: it reads the issuer's
// documents, and checks a token with the keys in them.
func TestATargetSystemTrustsTheToken(t *testing.T) {
	c, namespace := gardentest.Client(t), gardentest.Namespace(t)
	identity := newIdentity(t, c, namespace)
	shoot := &corev1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "plant"},
		Spec: corev1beta1.ShootSpec{
			SeedName: ptr.To("local"), CloudProfile: &corev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: "local"},
			Region: "local", Kubernetes: corev1beta1.Kubernetes{Version: "1.36.3"}, Provider: corev1beta1.Provider{Type: "local"},
		},
	}
	if err := c.Create(t.Context(), shoot); err != nil {
		t.Fatal(err)
	}
	request := &securityv1alpha1.TokenRequest{Spec: securityv1alpha1.TokenRequestSpec{
		ExpirationSeconds: ptr.To[int64](1800),
		ContextObject:     &securityv1alpha1.ContextObject{APIVersion: "core.gardener.cloud/v1beta1", Kind: "Shoot", Namespace: &namespace, Name: "plant", UID: shoot.UID},
	}}
	if err := c.SubResource("token").Create(t.Context(), identity, request); err != nil {
		t.Fatal(err)
	}

	var document struct {
		Issuer  string `json:"issuer"`
		KeysURL string `json:"jwks_uri"`
	}
	read(t, "/loam/workload-identity/.well-known/openid-configuration", &document)
	var keys jose.JSONWebKeySet
	read(t, document.KeysURL, &keys)
	token, err := jwt.ParseSigned(request.Status.Token)
	if err != nil {
		t.Fatal(err)
	}
	var standard jwt.Claims
	var own struct {
		Gardener gardener `json:"gardener.cloud"`
	}
	signing := keys.Key(token.Headers[0].KeyID)
	if len(signing) != 1 || token.Headers[0].Algorithm != "ES256" {
		t.Fatalf("headers are %+v, keys %+v", token.Headers, keys)
	}
	if err := token.Claims(signing[0].Key, &standard, &own); err != nil {
		t.Fatal(err)
	}
	subject := "gardener.cloud:workloadidentity:" + namespace + ":robot:" + string(identity.UID)
	if err := standard.Validate(jwt.Expected{Issuer: document.Issuer, Subject: subject, Audience: jwt.Audience{"cloud"}, Time: time.Now()}); err != nil {
		t.Error(err)
	}
	if !slices.Equal(standard.Audience, []string{"cloud", "vault"}) || standard.ID == "" {
		t.Errorf("claims are %+v", standard)
	}
	if off := standard.Expiry.Time().Sub(time.Now().Add(30 * time.Minute)); off.Abs() > 5*time.Second || !standard.Expiry.Time().Equal(request.Status.ExpirationTimestamp.Time) {
		t.Errorf("the token ends %s, is said to end %s", standard.Expiry.Time(), request.Status.ExpirationTimestamp)
	}
	g := own.Gardener
	if g.WorkloadIdentity.UID != string(identity.UID) || g.Shoot.UID != string(shoot.UID) || g.Project.Name != strings.TrimPrefix(namespace, "garden-") || g.Seed.Name != "local" {
		t.Errorf("the token is about %+v", g)
	}

	// It is no credential of the garden's own.
	config := gardentest.Anonymous(t)
	config.BearerToken = request.Status.Token
	if err := gardentest.ClientFor(t, config).List(t.Context(), &corev1beta1.CloudProfileList{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("the garden takes the token: %v", err)
	}
}

func TestTokensThatAreNotGiven(t *testing.T) {
	c, namespace := gardentest.Client(t), gardentest.Namespace(t)
	identity := newIdentity(t, c, namespace)
	about := func(change func(*securityv1alpha1.ContextObject)) securityv1alpha1.TokenRequestSpec {
		object := &securityv1alpha1.ContextObject{APIVersion: "core.gardener.cloud/v1beta1", Kind: "Seed", Name: "local", UID: "wrong"}
		change(object)
		return securityv1alpha1.TokenRequestSpec{ContextObject: object}
	}
	for name, test := range map[string]struct {
		spec securityv1alpha1.TokenRequestSpec
		want string
	}{
		"too short":     {securityv1alpha1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](59)}, "spec.expirationSeconds: Invalid value: 59"},
		"too long":      {securityv1alpha1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](1 << 60)}, "spec.expirationSeconds"},
		"another uid":   {about(func(*securityv1alpha1.ContextObject) {}), "spec.contextObject.uid"},
		"nothing there": {about(func(o *securityv1alpha1.ContextObject) { o.Name = "nothing" }), "spec.contextObject.name: Not found"},
		"another kind":  {about(func(o *securityv1alpha1.ContextObject) { o.Kind, o.APIVersion = "Secret", "v1" }), "spec.contextObject.kind: Unsupported"},
	} {
		err := c.SubResource("token").Create(t.Context(), identity, &securityv1alpha1.TokenRequest{Spec: test.spec})
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	request := &securityv1alpha1.TokenRequest{Spec: securityv1alpha1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](30 * 24 * 3600)}}
	if err := c.SubResource("token").Create(t.Context(), identity, request); err != nil || time.Until(request.Status.ExpirationTimestamp.Time) > 49*time.Hour {
		t.Errorf("a month: %s, %v", request.Status.ExpirationTimestamp, err)
	}
	user := gardentest.ClientFor(t, gardentest.User(t, "jane"))
	if err := user.SubResource("token").Create(t.Context(), identity, &securityv1alpha1.TokenRequest{}); !apierrors.IsForbidden(err) {
		t.Errorf("somebody: %v", err)
	}
}
