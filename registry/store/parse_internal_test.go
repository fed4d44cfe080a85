package store

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/fault"
)

const (
	oneDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	config    = `"config":{"mediaType":"application/vnd.example.config","size":2,"digest":"` + oneDigest + `"}`
)

func TestParseManifest(t *testing.T) {
	for name, tc := range map[string]struct {
		mediaType, content string
		blobs, manifests   int
		refused            string
	}{
		"an image":                       {ocispec.MediaTypeImageManifest, `{"schemaVersion":2,` + config + `,"layers":[]}`, 1, 0, ""},
		"Docker's":                       {DockerManifest, `{"schemaVersion":2,"mediaType":"` + DockerManifest + `",` + config + `}`, 1, 0, ""},
		"with parameters":                {DockerManifest + "; charset=utf-8", `{"schemaVersion":2,` + config + `}`, 1, 0, ""},
		"an index":                       {ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[{"size":1,"digest":"` + oneDigest + `"}]}`, 0, 1, ""},
		"an empty index":                 {ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[]}`, 0, 0, ""},
		"an unknown type":                {"application/vnd.example+json", `{"schemaVersion":2}`, 0, 0, ""},
		"a layer that lies elsewhere":    {ocispec.MediaTypeImageManifest, `{"schemaVersion":2,` + config + `,"layers":[{"size":1,"digest":"` + oneDigest + `","urls":["https://example.com"]}]}`, 1, 0, ""},
		"its type in the text":           {"", `{"schemaVersion":2,"mediaType":"` + DockerManifest + `",` + config + `}`, 1, 0, ""},
		"no type":                        {"", `{"schemaVersion":2}`, 0, 0, "what it is"},
		"two types":                      {ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"mediaType":"` + DockerManifest + `"}`, 0, 0, "sent as"},
		"a type that is none":            {"///", `{"schemaVersion":2}`, 0, 0, "cannot be read"},
		"not JSON":                       {DockerManifest, `<html>`, 0, 0, "not JSON"},
		"schema 1":                       {DockerManifest, `{"schemaVersion":1}`, 0, 0, "schemaVersion is 1"},
		"an image without config":        {DockerManifest, `{"schemaVersion":2}`, 0, 0, "no config"},
		"an index without manifests":     {DockerManifestList, `{"schemaVersion":2}`, 0, 0, "no manifests"},
		"both":                           {ocispec.MediaTypeImageIndex, `{"schemaVersion":2,` + config + `,"manifests":[]}`, 0, 0, "both"},
		"a digest that leads elsewhere":  {DockerManifest, `{"schemaVersion":2,"config":{"size":1,"digest":"sha256:../../etc"}}`, 0, 0, "config: digest"},
		"an algorithm that is not taken": {DockerManifest, `{"schemaVersion":2,` + config + `,"layers":[{"digest":"md5:d41d8cd98f00b204e9800998ecf8427e"}]}`, 0, 0, "layers[0]: digest"},
		"a negative size":                {DockerManifest, `{"schemaVersion":2,"config":{"size":-1,"digest":"` + oneDigest + `"}}`, 0, 0, "size -1"},
		"a subject that is none":         {DockerManifest, `{"schemaVersion":2,` + config + `,"subject":{"digest":"x"}}`, 0, 0, "subject"},
	} {
		t.Run(name, func(t *testing.T) {
			record, err := parseManifest(tc.mediaType, []byte(tc.content))
			if tc.refused != "" {
				if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), tc.refused) {
					t.Errorf("got %v, want %q", err, tc.refused)
				}
				return
			}
			if err != nil || len(record.Blobs) != tc.blobs || len(record.Manifests) != tc.manifests || strings.Contains(record.MediaType, ";") {
				t.Errorf("got %+v, %v", record, err)
			}
		})
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add(DockerManifest, `{"schemaVersion":2,`+config+`}`)
	f.Add("", `{"schemaVersion":2,"manifests":null}`)
	f.Fuzz(func(t *testing.T, mediaType, content string) {
		record, err := parseManifest(mediaType, []byte(content))
		if err != nil {
			return
		}
		for _, d := range append(append([]digest.Digest{}, record.Blobs...), record.Manifests...) {
			if err := CheckDigest(d); err != nil {
				t.Error(err)
			}
		}
	})
}
