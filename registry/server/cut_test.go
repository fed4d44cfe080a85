package server_test

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
)

// cutSource has one blob, of which only half can be read.
type cutSource struct{}

const cutDigest digest.Digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func (cutSource) Manifest(context.Context, store.Repository, string) (server.Manifest, error) {
	return server.Manifest{}, fault.Missing
}

func (cutSource) Blob(context.Context, store.Repository, digest.Digest) (store.Content, error) {
	return &cutContent{}, nil
}

func (cutSource) BlobSize(context.Context, store.Repository, digest.Digest) (int64, error) {
	return cutSize, nil
}

func (cutSource) Tags(context.Context, store.Repository, string, int) ([]string, string, error) {
	return nil, "", fault.Missing
}

func (cutSource) Referrers(context.Context, store.Repository, digest.Digest, string) ([]ocispec.Descriptor, string, error) {
	return nil, "it is made for tests", nil
}

const cutSize = 1 << 20

type cutContent struct{ at int64 }

func (c *cutContent) Size() int64 { return cutSize }

func (c *cutContent) Read(b []byte) (int, error) {
	left := cutSize/2 - c.at
	if left == 0 {
		return 0, errors.New("the other half is lost")
	}
	n := min(int64(len(b)), left)
	clear(b[:n])
	c.at += n
	return int(n), nil
}

func (c *cutContent) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		offset += cutSize
	}
	c.at = offset
	return offset, nil
}

func (c *cutContent) Close() error { return nil }

func download(client *http.Client, url string) (int64, error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return io.Copy(io.Discard, resp.Body)
}
