package bootstrap_test

import (
	"context"
	"os"
	"slices"
	"testing"

	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

func profile(t *testing.T) (*corev1beta1.CloudProfile, []string) {
	t.Helper()
	profile := &corev1beta1.CloudProfile{}
	if err := gardentest.Client(t).Get(context.Background(), client.ObjectKey{Name: bootstrap.Name}, profile); err != nil {
		t.Fatal(err)
	}
	var versions []string
	for _, version := range profile.Spec.Kubernetes.Versions {
		versions = append(versions, version.Version)
	}
	return profile, versions
}

// TestRefreshVersions walks a cloud profile through images that come and go and
// a user who has a mind of their own.
func TestRefreshVersions(t *testing.T) {
	ctx, c := context.Background(), gardentest.Client(t)
	user := func(change func(*corev1beta1.CloudProfile)) func() {
		return func() {
			profile, _ := profile(t)
			change(profile)
			if err := c.Update(ctx, profile); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, step := range []struct {
		name   string
		before func()
		images []string
		want   []string
	}{
		{"as the garden started", nil, gardentest.Versions(), []string{"1.36.3", "1.35.4"}},
		{"an image is built", nil, []string{"v1.35.4", "1.36.3", "v1.37.1"}, []string{"1.37.1", "1.36.3", "1.35.4"}},
		{"twice the same", nil, []string{"v1.37.1", "1.37.1", "v1.35.4", "v1.36.3"}, []string{"1.37.1", "1.36.3", "1.35.4"}},
		{"an image is gone", nil, []string{"v1.37.1", "v1.36.3"}, []string{"1.37.1", "1.36.3"}},
		{"a user adds a version", user(func(p *corev1beta1.CloudProfile) {
			p.Spec.Kubernetes.Versions = append(p.Spec.Kubernetes.Versions, corev1beta1.ExpirableVersion{Version: "1.9.0"})
		}), []string{"v1.37.1", "v1.36.3"}, []string{"1.37.1", "1.36.3", "1.9.0"}},
		{"a user takes one out", user(func(p *corev1beta1.CloudProfile) {
			p.Spec.Kubernetes.Versions = slices.DeleteFunc(p.Spec.Kubernetes.Versions, func(v corev1beta1.ExpirableVersion) bool { return v.Version == "1.37.1" })
		}), []string{"v1.37.1", "v1.36.3"}, []string{"1.36.3", "1.9.0"}},
		{"its image goes and comes", func() {
			if err := bootstrap.RefreshVersions(ctx, c, []string{"v1.36.3"}); err != nil {
				t.Fatal(err)
			}
		}, []string{"v1.37.1", "v1.36.3"}, []string{"1.37.1", "1.36.3", "1.9.0"}},
		{"all images are gone", nil, nil, []string{"1.9.0"}},
		{"the profile is gone", func() {
			p, _ := profile(t)
			if err := c.Delete(ctx, p); err != nil {
				t.Fatal(err)
			}
		}, []string{"v1.36.3"}, []string{"1.36.3"}},
	} {
		if step.before != nil {
			step.before()
		}
		for range 2 {
			if err := bootstrap.RefreshVersions(ctx, c, step.images); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if _, got := profile(t); !slices.Equal(got, step.want) {
				t.Errorf("%s: got %v, want %v", step.name, got, step.want)
			}
		}
	}
	if err := bootstrap.RefreshVersions(ctx, c, []string{"newest"}); err == nil {
		t.Error("a version that is none was taken")
	}
}

// TestMachineTypes adds what a profile of an older version has not got, and leaves
// what a user did to it.
func TestMachineTypes(t *testing.T) {
	ctx, c := context.Background(), gardentest.Client(t)
	types := func() map[string]string {
		var p corev1beta1.CloudProfile
		if err := c.Get(ctx, client.ObjectKey{Name: bootstrap.Name}, &p); err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, m := range p.Spec.MachineTypes {
			all[m.Name] = m.CPU.String() + " " + m.Memory.String()
		}
		return all
	}
	if got := types(); got["local"] == "" || got["local-2c-4g"] != "2 4Gi" || len(got) < 5 {
		t.Errorf("a new profile has %v", got)
	}
	change := func(change func(*corev1beta1.CloudProfile)) {
		t.Helper()
		var p corev1beta1.CloudProfile
		if err := c.Get(ctx, client.ObjectKey{Name: bootstrap.Name}, &p); err != nil {
			t.Fatal(err)
		}
		change(&p)
		if err := c.Update(ctx, &p); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := bootstrap.RefreshVersions(ctx, c, gardentest.Versions()); err != nil {
				t.Fatal(err)
			}
		}
	}
	change(func(p *corev1beta1.CloudProfile) {
		mine := p.Spec.MachineTypes[1]
		mine.Name = "mine"
		p.Spec.MachineTypes = append(slices.DeleteFunc(p.Spec.MachineTypes, func(m corev1beta1.MachineType) bool { return m.Name == "local-2c-4g" }), mine)
		p.Spec.MachineTypes[1].Memory = resource.MustParse("3Gi")
	})
	if got := types(); got["mine"] == "" || got["local-2c-4g"] != "" || got["local-1c-1g"] != "1 3Gi" {
		t.Errorf("after a user's change it has %v", got)
	}
	change(func(p *corev1beta1.CloudProfile) {
		p.Annotations = nil
		p.Spec.MachineTypes = slices.DeleteFunc(p.Spec.MachineTypes, func(m corev1beta1.MachineType) bool { return m.Name != "local" && m.Name != "mine" })
	})
	if got := types(); got["mine"] == "" || got["local-2c-4g"] != "2 4Gi" {
		t.Errorf("a profile of an older version has %v", got)
	}
}

func TestEnsureRepairsAndLeavesAlone(t *testing.T) {
	ctx, c := context.Background(), gardentest.Client(t)
	seed := &corev1beta1.Seed{ObjectMeta: metav1.ObjectMeta{Name: bootstrap.Name}}
	if err := c.Delete(ctx, seed); err != nil {
		t.Fatal(err)
	}
	project := &corev1beta1.Project{}
	if err := c.Get(ctx, client.ObjectKey{Name: bootstrap.Name}, project); err != nil {
		t.Fatal(err)
	}
	purpose := "mine"
	project.Spec.Purpose = &purpose
	if err := c.Update(ctx, project); err != nil {
		t.Fatal(err)
	}
	if err := bootstrap.Ensure(ctx, c, "somebody", gardentest.Versions()); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(seed), seed); err != nil {
		t.Errorf("the seed did not come back: %v", err)
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(project), project); err != nil || *project.Spec.Purpose != purpose || project.Spec.Owner.Name == "somebody" {
		t.Errorf("the project was changed: %+v, %v", project.Spec, err)
	}
	namespace := &corev1.Namespace{}
	if err := c.Get(ctx, client.ObjectKey{Name: bootstrap.ProjectNamespace}, namespace); err != nil || namespace.Labels["project.gardener.cloud/name"] != bootstrap.Name {
		t.Errorf("namespace: %v, %v", namespace.Labels, err)
	}
}
