package nodeimages_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/cloudprofile/nodeimages"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

var local = reconcile.Request{NamespacedName: client.ObjectKey{Name: "local"}}

func TestVersionsFollowImages(t *testing.T) {
	garden := gardentest.Client(t)
	var images []string
	var broken error
	r := &nodeimages.Reconciler{Client: garden, Versions: func(context.Context) ([]string, error) { return images, broken }}
	profile := &gardencorev1beta1.CloudProfile{}
	offered := func() string {
		t.Helper()
		result, err := r.Reconcile(t.Context(), local)
		if err != nil || result.RequeueAfter != 10*time.Second {
			t.Errorf("got %+v, %v", result, err)
		}
		if err := garden.Get(t.Context(), local.NamespacedName, profile); err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, v := range profile.Spec.Kubernetes.Versions {
			all = append(all, v.Version)
		}
		return strings.Join(all, " ")
	}
	want := func(what, want string) {
		t.Helper()
		if got := offered(); got != want {
			t.Errorf("%s: %q is offered, want %q", what, got, want)
		}
	}
	change := func(change func()) {
		t.Helper()
		base := profile.DeepCopy()
		change()
		if err := garden.Patch(t.Context(), profile, client.MergeFrom(base)); err != nil {
			t.Fatal(err)
		}
	}

	images = []string{"v1.36.3", "v1.35.4"}
	want("as at the start", "1.36.3 1.35.4")
	version := profile.ResourceVersion
	want("again", "1.36.3 1.35.4")
	if profile.ResourceVersion != version {
		t.Error("the same versions were written again")
	}
	images = append(images, "v1.37.1")
	want("one was built", "1.37.1 1.36.3 1.35.4")

	change(func() {
		profile.Spec.Kubernetes.Versions = append(profile.Spec.Kubernetes.Versions[1:], gardencorev1beta1.ExpirableVersion{Version: "1.34.0"})
	})
	want("a user took one out and added one", "1.36.3 1.35.4 1.34.0")

	broken = errors.New("no engine")
	images = nil
	want("nobody can be asked", "1.36.3 1.35.4 1.34.0")
	broken = nil
	images = []string{"v1.36.3"}
	want("one was removed", "1.36.3 1.34.0")
}

func TestAProfileThatIsGone(t *testing.T) {
	r := &nodeimages.Reconciler{Client: gardentest.Client(t), Versions: func(context.Context) ([]string, error) {
		t.Error("images were looked for")
		return nil, nil
	}}
	gone := reconcile.Request{NamespacedName: client.ObjectKey{Name: "gone"}}
	if result, err := r.Reconcile(t.Context(), gone); err != nil || !result.IsZero() {
		t.Errorf("got %+v, %v", result, err)
	}
}
