package images

import (
	"bufio"
	"fmt"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/loam-cloud/loam/fault"
)

// kubeadmImages are the images that kubeadm expects, by the last element of
// their repository: "etcd" is registry.k8s.io/etcd:3.6.8-0.
type kubeadmImages map[string]name.Tag

// wanted are the images that are built under kubeadm's names.
var wanted = [...]string{
	"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "etcd", "pause",
}

// parseImageList reads the output of `kubeadm config images list`. Lines that are
// no image reference are an error: an image that is missed here is missed by
// kubeadm at the first start of a cluster.
func parseImageList(output string) (kubeadmImages, error) {
	images := kubeadmImages{}
	scanner := bufio.NewScanner(strings.NewReader(output))
	for scanner.Scan() {
		line := strings.TrimSpace(scanner.Text())
		if line == "" {
			continue
		}
		reference, err := name.NewTag(line, name.StrictValidation)
		if err != nil {
			return nil, fault.New(fault.Internal, "reading kubeadm's list of images: line %q: %w", line, err)
		}
		key := path.Base(reference.RepositoryStr())
		if earlier, twice := images[key]; twice {
			return nil, fault.New(fault.Internal, "reading kubeadm's list of images: both %s and %s are %s", earlier, reference, key)
		}
		images[key] = reference
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("reading kubeadm's list of images: %w", err)
	}
	for _, key := range wanted {
		if _, found := images[key]; !found {
			return nil, fault.New(fault.Internal, "kubeadm's list of images has no %s", key)
		}
	}
	if len(images) != len(wanted) {
		return nil, fault.New(fault.Internal, "kubeadm asks for %d images, of which %d can be built: %s",
			len(images), len(wanted), strings.Join(wanted[:], ", "))
	}
	return images, nil
}

// moduleVersion gives the version of the module behind an image: etcd's tag
// 3.6.8-0 counts the builds of v3.6.8.
func moduleVersion(tag name.Tag) string {
	version, _, _ := strings.Cut(strings.TrimPrefix(tag.TagStr(), "v"), "-")
	return "v" + version
}
