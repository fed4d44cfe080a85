package images_test

import (
	"slices"
	"testing"

	"github.com/loam-cloud/loam/images"
)

func TestSupported(t *testing.T) {
	for _, want := range []string{images.Default, "v1.35.4"} {
		if !slices.Contains(images.Supported(), want) {
			t.Errorf("%s is not among %v", want, images.Supported())
		}
	}
	if slices.Contains(images.Supported(), "v1.2.3") {
		t.Error("v1.2.3 is said to be supported")
	}
	if !slices.Contains(images.Supported(), images.Default) {
		t.Errorf("the default %s cannot be built", images.Default)
	}
}

func TestTag(t *testing.T) {
	if got := images.Tag("v1.36.3"); got != "loam/node:v1.36.3" {
		t.Errorf("got %s", got)
	}
}

func TestDefaultCacheDir(t *testing.T) {
	t.Setenv("LOAM_CACHE_DIR", "/somewhere")
	if got := images.DefaultCacheDir(); got != "/somewhere" {
		t.Errorf("with LOAM_CACHE_DIR: got %s", got)
	}
	t.Setenv("LOAM_CACHE_DIR", "")
	t.Setenv("XDG_CACHE_HOME", "/xdg")
	if got := images.DefaultCacheDir(); got != "/xdg/loam" {
		t.Errorf("with XDG_CACHE_HOME: got %s", got)
	}
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "/home/someone")
	if got := images.DefaultCacheDir(); got != "/home/someone/.cache/loam" {
		t.Errorf("with HOME: got %s", got)
	}
}

func TestAdvice(t *testing.T) {
	for version, want := range map[string]string{
		"v1.36.2": `build its node image with "loam image build --kubernetes-version v1.36.2"`,
		"v1.30.0": "node images can be built for v1.35.4, v1.36.2, v1.36.3",
	} {
		if got := images.Advice(version); got != want {
			t.Errorf("%s: got %s, want %s", version, got, want)
		}
	}
}
