package images_test

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images"
)

const list = `registry.k8s.io/kube-apiserver:v1.36.3
registry.k8s.io/kube-controller-manager:v1.36.3
registry.k8s.io/kube-scheduler:v1.36.3
registry.k8s.io/kube-proxy:v1.36.3
registry.k8s.io/coredns/coredns:v1.14.2
registry.k8s.io/pause:3.10.2
registry.k8s.io/etcd:3.6.8-0
`

func TestParseImageList(t *testing.T) {
	got, err := images.ParseImageList(list)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"etcd": "registry.k8s.io/etcd:3.6.8-0", "coredns": "registry.k8s.io/coredns/coredns:v1.14.2", "pause": "registry.k8s.io/pause:3.10.2",
	} {
		if got[key].String() != want {
			t.Errorf("%s: got %s, want %s", key, got[key], want)
		}
	}
}

func TestParseImageListRejects(t *testing.T) {
	for what, test := range map[string]struct{ output, in string }{
		"nothing":           {"", "has no kube-apiserver"},
		"one missing":       {strings.Replace(list, "registry.k8s.io/etcd:3.6.8-0\n", "", 1), "has no etcd"},
		"one more":          {list + "registry.k8s.io/kube-dns:1.0\n", "asks for 8 images"},
		"one twice":         {list + "example.com/etcd:1.0\n", "both"},
		"no tag":            {strings.Replace(list, ":3.10.2", "", 1), `"registry.k8s.io/pause"`},
		"a warning between": {"W1120 12:00:00 falling back to the local version\n" + list, "falling back"},
	} {
		_, err := images.ParseImageList(test.output)
		if err == nil || !strings.Contains(err.Error(), test.in) {
			t.Errorf("%s: got error %v, want one with %q", what, err, test.in)
		}
		if kind := fault.KindOf(err); kind != fault.Internal {
			t.Errorf("%s: got fault %s, want %s", what, kind, fault.Internal)
		}
	}
}

func FuzzParseImageList(f *testing.F) {
	f.Add(list)
	f.Add("registry.k8s.io/etcd\n\n:x")
	f.Fuzz(func(t *testing.T, output string) {
		got, err := images.ParseImageList(output)
		if err != nil {
			return
		}
		if len(got) != len(images.Wanted) {
			t.Fatalf("accepted %d images", len(got))
		}
		for _, key := range images.Wanted {
			if !strings.Contains(output, got[key].TagStr()) {
				t.Fatalf("%s has tag %q, which is not in the output", key, got[key].TagStr())
			}
		}
	})
}

func TestModuleVersion(t *testing.T) {
	for tag, want := range map[string]string{
		"registry.k8s.io/etcd:3.6.8-0": "v3.6.8", "registry.k8s.io/coredns/coredns:v1.14.2": "v1.14.2", "registry.k8s.io/etcd:3.7.0-rc.1-0": "v3.7.0",
	} {
		reference, err := name.NewTag(tag)
		if err != nil {
			t.Fatal(err)
		}
		if got := images.ModuleVersion(reference); got != want {
			t.Errorf("%s: got %s, want %s", tag, got, want)
		}
	}
}
