package store_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/registry/store"
)

// TestWhatIsPushedBetweenMarkAndSweepStays: no age protects anything here, only that
// the sweep looks again at what was pushed or pulled meanwhile, and what that needs.
func TestWhatIsPushedBetweenMarkAndSweepStays(t *testing.T) {
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	put := func(tag string, m any) ocispec.Descriptor {
		t.Helper()
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		done, err := s.PutManifest(private, store.Put{Content: raw, Tag: tag})
		if err != nil {
			t.Fatal(err)
		}
		return ocispec.Descriptor{MediaType: done.MediaType, Digest: done.Digest, Size: int64(len(raw))}
	}
	describe := func(content string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: upload(t, s, private, content), Size: int64(len(content))}
	}
	version := specs.Versioned{SchemaVersion: 2}
	image := func(name string, subject *ocispec.Descriptor) ocispec.Manifest {
		return ocispec.Manifest{
			Versioned: version, MediaType: ocispec.MediaTypeImageManifest, Config: describe("config of " + name),
			Layers: []ocispec.Descriptor{describe("layer of " + name)}, Subject: subject,
		}
	}
	indexOf := func(all ...ocispec.Descriptor) ocispec.Index {
		return ocispec.Index{Versioned: version, MediaType: ocispec.MediaTypeImageIndex, Manifests: all}
	}
	child := put("", image("child", nil))
	index := put("", indexOf(child))
	signature := put("", image("signature", &index))
	subject := put("", image("subject", nil))
	pulledChild := put("", image("pulled child", nil))
	pulled := put("", indexOf(pulledChild))
	lost := put("", image("lost", nil))
	lostSignature := put("", image("lost signature", &lost))

	var remark ocispec.Descriptor
	before := time.Now().Add(time.Hour)
	swept, err := s.SweepAround(private, store.Sweep{Before: before, Untagged: true}, func() {
		put("v1", indexOf(child))
		remark = put("", image("remark", &subject))
		// What is open is in use.
		t.Cleanup(s.Pin(pulled.Digest))
	})
	if err != nil {
		t.Fatal(err)
	}
	gone := append(slices.Clone(swept.Manifests), swept.Blobs...)
	for name, d := range map[string]digest.Digest{
		"a child of an index that was tagged": child.Digest, "the index": index.Digest, "its signature": signature.Digest,
		"the signature's layer": digest.FromString("layer of signature"), "the child's layer": digest.FromString("layer of child"),
		"a subject that was remarked on": subject.Digest, "its layer": digest.FromString("layer of subject"), "the remark": remark.Digest,
		"what was pulled": pulled.Digest, "the child of that": pulledChild.Digest, "its child's layer": digest.FromString("layer of pulled child"),
	} {
		if slices.Contains(gone, d) {
			t.Errorf("%s went", name)
		}
	}
	for _, d := range []digest.Digest{lost.Digest, lostSignature.Digest, digest.FromString("layer of lost")} {
		if !slices.Contains(gone, d) {
			t.Errorf("%s stays, which nobody wants", d)
		}
	}
}
