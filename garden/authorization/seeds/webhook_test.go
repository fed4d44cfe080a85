package seeds_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/gardener/gardener/pkg/apis/core"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/tools/cache"

	"github.com/loam-cloud/loam/garden/authorization/seeds"
)

// shoots is a source that never changes.
func shoots(items ...core.Shoot) seeds.Source {
	return seeds.Source{Name: "shoots", Objects: &cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &core.ShootList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: items}, nil
		},
		WatchFuncWithContext: func(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
			if options.SendInitialEvents != nil {
				return nil, errors.New("only lists are answered")
			}
			return watch.NewFake(), nil
		},
	}}
}

func plant(namespace, name, seed string) core.Shoot {
	return core.Shoot{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: core.ShootSpec{SeedName: &seed}}
}

func kept(tb testing.TB, items ...core.Shoot) *seeds.Authorizer {
	tb.Helper()
	a := seeds.NewAuthorizer()
	if err := a.Keep(tb.Context(), []seeds.Source{shoots(items...)}); err != nil {
		tb.Fatal(err)
	}
	return a
}

func TestWebhook(t *testing.T) {
	server := httptest.NewServer(kept(t, plant("garden-a", "plant", "a")).Webhook())
	defer server.Close()
	ask := func(body []byte) (*http.Response, authorizationv1.SubjectAccessReview) {
		answer, err := http.Post(server.URL, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var review authorizationv1.SubjectAccessReview
		if answer.StatusCode == http.StatusOK {
			if err := json.NewDecoder(answer.Body).Decode(&review); err != nil {
				t.Fatal(err)
			}
		}
		return answer, review
	}
	get := &authorizationv1.ResourceAttributes{Verb: "get", Group: "core.gardener.cloud", Resource: "shoots", Namespace: "garden-a", Name: "plant"}
	selected := func(seed string) *authorizationv1.ResourceAttributes {
		return &authorizationv1.ResourceAttributes{Verb: "list", Group: "core.gardener.cloud", Resource: "shoots", FieldSelector: &authorizationv1.FieldSelectorAttributes{
			Requirements: []metav1.FieldSelectorRequirement{{Key: "spec.seedName", Operator: metav1.FieldSelectorOpIn, Values: []string{seed}}},
		}}
	}
	for _, test := range []struct {
		name, user, group string
		attributes        *authorizationv1.ResourceAttributes
		allowed, denied   bool
	}{
		{"its own", "gardener.cloud:system:seed:a", seedsGroup, get, true, false},
		{"another's", "gardener.cloud:system:seed:b", seedsGroup, get, false, true},
		{"a user", "jane", "developers", get, false, false},
		{"a list", "gardener.cloud:system:seed:a", seedsGroup, selected("a"), true, false},
		{"another's list", "gardener.cloud:system:seed:a", seedsGroup, selected("b"), false, true},
	} {
		body, err := json.Marshal(authorizationv1.SubjectAccessReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"},
			Spec:     authorizationv1.SubjectAccessReviewSpec{User: test.user, Groups: []string{test.group}, ResourceAttributes: test.attributes},
		})
		if err != nil {
			t.Fatal(err)
		}
		answer, review := ask(body)
		if answer.StatusCode != http.StatusOK || review.Status.Allowed != test.allowed || review.Status.Denied != test.denied {
			t.Errorf("%s: got %s, %+v", test.name, answer.Status, review.Status)
		}
	}
	for body, want := range map[string]int{
		"nonsense": http.StatusBadRequest,
		`{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1beta1"}`: http.StatusBadRequest,
		`{"kind":"Pod","apiVersion":"v1"}`:                                           http.StatusBadRequest,
	} {
		if answer, _ := ask([]byte(body)); answer.StatusCode != want {
			t.Errorf("%s: got %s, want %d", body, answer.Status, want)
		}
	}
	answer, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: got %s", answer.Status)
	}
}

func request(seed, namespace, name string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: "gardener.cloud:system:seed:" + seed, Groups: []string{seedsGroup}},
		Verb: "get", APIGroup: "core.gardener.cloud", APIVersion: "v1beta1", Resource: "shoots", Namespace: namespace, Name: name, ResourceRequest: true,
	}
}

// TestBeforeTheGardenIsRead wants agents to wait, and to be told why they are
// denied when they have waited in vain.
func TestBeforeTheGardenIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := seeds.NewAuthorizer()
		decision, reason, err := a.Authorize(context.Background(), request("a", "garden-a", "plant"))
		if decision != authorizer.DecisionDeny || reason == "" || err != nil {
			t.Errorf("got %v, %q, %v", decision, reason, err)
		}
	})
}

func BenchmarkAuthorize(b *testing.B) {
	const shoots, sites = 10_000, 200
	items := make([]core.Shoot, shoots)
	for i := range items {
		items[i] = plant(fmt.Sprintf("garden-%d", i%2000), fmt.Sprintf("plant-%d", i), fmt.Sprint(i%sites))
	}
	a := kept(b, items...)
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		// One in 200 is the seed's own.
		_, _, _ = a.Authorize(b.Context(), request("7", items[i%shoots].Namespace, items[i%shoots].Name))
	}
}
