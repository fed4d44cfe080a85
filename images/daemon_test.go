package images_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images"
)

// engine is a container engine that has images and nothing else.
type engine struct {
	tags   map[string]string
	labels map[string]map[string]string
	inUse  string
	loaded string
	answer string
	down   error
}

func (e *engine) ImageInspect(_ context.Context, ref string, _ ...client.ImageInspectOption) (client.ImageInspectResult, error) {
	if e.down != nil {
		return client.ImageInspectResult{}, e.down
	}
	id := ref
	if tagged, found := e.tags[ref]; found {
		id = tagged
	}
	labels, found := e.labels[id]
	if !found {
		return client.ImageInspectResult{}, errdefs.ErrNotFound
	}
	result := client.ImageInspectResult{InspectResponse: image.InspectResponse{ID: id, Config: &dockerspec.DockerOCIImageConfig{}}}
	result.Config.Labels = labels
	for tag, target := range e.tags {
		if target == id {
			result.RepoTags = append(result.RepoTags, tag)
		}
	}
	return result, nil
}

func (e *engine) ImageList(_ context.Context, options client.ImageListOptions) (client.ImageListResult, error) {
	if e.down != nil {
		return client.ImageListResult{}, e.down
	}
	var result client.ImageListResult
	if !options.Filters["label"]["dev.loam.node=1"] {
		return result, errors.New("images of others were asked for")
	}
	for id, labels := range e.labels {
		summary := image.Summary{ID: id, Labels: labels}
		for tag, target := range e.tags {
			if target == id {
				summary.RepoTags = append(summary.RepoTags, tag)
			}
		}
		result.Items = append(result.Items, summary)
	}
	return result, nil
}

func (e *engine) ImageLoad(_ context.Context, archive io.Reader, _ ...client.ImageLoadOption) (client.ImageLoadResult, error) {
	content, err := io.ReadAll(archive)
	e.loaded = string(content)
	return io.NopCloser(strings.NewReader(e.answer)), err
}

func (e *engine) ImageTag(_ context.Context, options client.ImageTagOptions) (client.ImageTagResult, error) {
	e.tags[options.Target] = options.Source
	return client.ImageTagResult{}, nil
}

func (e *engine) ImageRemove(_ context.Context, id string, options client.ImageRemoveOptions) (client.ImageRemoveResult, error) {
	if options.Force || id == e.inUse {
		return client.ImageRemoveResult{}, errdefs.ErrConflict
	}
	delete(e.labels, id)
	return client.ImageRemoveResult{}, nil
}

func labels(version string) map[string]string {
	return map[string]string{images.LabelNode: "1", images.LabelKubernetesVersion: version}
}

func TestList(t *testing.T) {
	has := &engine{
		tags:   map[string]string{"loam/node:v1.36.3": "sha256:b", "mine:1": "sha256:b", "loam/node:v1.9.1": "sha256:a"},
		labels: map[string]map[string]string{"sha256:a": labels("v1.9.1"), "sha256:b": labels("v1.36.3"), "sha256:untagged": labels("v1.36.3")},
	}
	got, err := images.List(t.Context(), has)
	if err != nil {
		t.Fatal(err)
	}
	want := []images.Image{
		{Tag: "loam/node:v1.9.1", ID: "sha256:a", KubernetesVersion: "v1.9.1"},
		{Tag: "loam/node:v1.36.3", ID: "sha256:b", KubernetesVersion: "v1.36.3"},
		{Tag: "mine:1", ID: "sha256:b", KubernetesVersion: "v1.36.3"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("image %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

func TestListOfSilentEngine(t *testing.T) {
	_, err := images.List(t.Context(), &engine{down: errors.New("connection refused")})
	if fault.KindOf(err) != fault.Transient {
		t.Errorf("got %v, want a transient fault", err)
	}
}

func TestPresent(t *testing.T) {
	wanted := images.Image{Tag: "loam/node:v1.36.3", ID: "sha256:b"}
	for what, test := range map[string]struct {
		engine engine
		want   bool
	}{
		"tagged":           {engine{tags: map[string]string{wanted.Tag: "sha256:b"}, labels: map[string]map[string]string{"sha256:b": nil}}, true},
		"under other tag":  {engine{tags: map[string]string{"x:1": "sha256:b"}, labels: map[string]map[string]string{"sha256:b": nil}}, true},
		"tag of older one": {engine{tags: map[string]string{wanted.Tag: "sha256:a"}, labels: map[string]map[string]string{"sha256:a": nil}}, false},
		"nothing there":    {engine{}, false},
	} {
		got, err := images.Present(t.Context(), &test.engine, wanted)
		if err != nil || got != test.want {
			t.Errorf("%s: got %v, %v, want %v", what, got, err, test.want)
		}
		if got && test.engine.tags[wanted.Tag] != wanted.ID {
			t.Errorf("%s: the tag names %s", what, test.engine.tags[wanted.Tag])
		}
	}
}

func TestDiscard(t *testing.T) {
	for what, test := range map[string]struct {
		engine engine
		stays  bool
	}{
		"untagged":      {engine{labels: map[string]map[string]string{"sha256:a": labels("v1.36.3")}}, false},
		"still tagged":  {engine{tags: map[string]string{"x:1": "sha256:a"}, labels: map[string]map[string]string{"sha256:a": labels("v1.36.3")}}, true},
		"of a stranger": {engine{labels: map[string]map[string]string{"sha256:a": nil}}, true},
		"in use":        {engine{inUse: "sha256:a", labels: map[string]map[string]string{"sha256:a": labels("v1.36.3")}}, true},
	} {
		images.Discard(t.Context(), &test.engine, "sha256:a")
		if _, stays := test.engine.labels["sha256:a"]; stays != test.stays {
			t.Errorf("%s: stays %v, want %v", what, stays, test.stays)
		}
	}
}

func TestLoad(t *testing.T) {
	has := &engine{answer: `{"stream":"Loaded image: x"}` + "\n"}
	err := images.Load(t.Context(), has, func(w io.Writer) error { _, err := io.WriteString(w, "archive"); return err })
	if err != nil || has.loaded != "archive" {
		t.Errorf("got %q, %v", has.loaded, err)
	}
	err = images.Load(t.Context(), has, func(io.Writer) error { return errors.New("disk gone") })
	if err == nil || !strings.Contains(err.Error(), "disk gone") {
		t.Errorf("got %v, want the writer's error", err)
	}
}

func TestLoadOutcome(t *testing.T) {
	for messages, want := range map[string]string{
		"":                             "",
		`{"stream":"a"}{"status":"b"}`: "",
		`{"stream":"a"}{"errorDetail":{"message":"no space left"},"error":"no space left"}`: "no space left",
		`{"error":"old form"}`: "old form",
		`<html>`:               "reading what the engine says",
	} {
		err := images.LoadOutcome(strings.NewReader(messages))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", messages, err, want)
		}
	}
}

func FuzzLoadOutcome(f *testing.F) {
	f.Add(`{"stream":"a"}{"errorDetail":{"message":"x"}}`)
	f.Add(`{"error":`)
	f.Fuzz(func(t *testing.T, messages string) {
		if err := images.LoadOutcome(strings.NewReader(messages)); err != nil && fault.KindOf(err) != fault.Transient {
			t.Errorf("%q: fault %s", messages, fault.KindOf(err))
		}
	})
}

func TestBuildRefuses(t *testing.T) {
	for what, test := range map[string]struct {
		options images.Options
		engine  engine
		in      string
	}{
		"unknown version": {images.Options{KubernetesVersion: "v1.2.3"}, engine{}, strings.Join(images.Supported(), ", ")},
		"malformed tag":   {images.Options{Tag: "Not A Tag"}, engine{}, "loam/node:v1.36.3"},
		"no engine":       {images.Options{}, engine{down: errors.New("connection refused")}, "apt-get install docker.io"},
	} {
		test.options.CacheDir = t.TempDir()
		_, err := images.BuildWith(t.Context(), &test.engine, test.options)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.in) {
			t.Errorf("%s: got %v, want an invalid fault with %q", what, err, test.in)
		}
	}
}

func TestBuildWithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := images.BuildWith(t.Context(), &engine{}, images.Options{CacheDir: t.TempDir()})
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "https://go.dev/dl/") {
		t.Errorf("got %v, want advice on installing Go", err)
	}
}
