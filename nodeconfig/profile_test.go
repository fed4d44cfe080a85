package nodeconfig_test

import (
	"strings"
	"testing"

	"github.com/loam-cloud/loam/nodeconfig"
)

// TestProfileOfNodes has the settings of a cluster win over the profile, those of a pool
// over them, and the Shoot's own words for kubelets over all.
func TestProfileOfNodes(t *testing.T) {
	c, n := cluster(), worker()
	c.NodeSettings = []byte(`{"kubelet":{"maxParallelImagePulls":3,"containerLogMaxFiles":9,"podsPerCore":7},"containerd":{"maxConcurrentDownloads":8},
		"controlPlane":{"apiServer":{"default-not-ready-toleration-seconds":"30"},"controllerManager":{"leader-elect":"true"}}}`)
	n.Settings = []byte(`{"kubelet":{"containerLogMaxFiles":4,"podsPerCore":null},"containerd":{"maxConcurrentDownloads":5}}`)
	n.Kubelet = map[string]any{"containerLogMaxFiles": 5}
	files, err := nodeconfig.JoinFiles(c, n, join(t))
	if err != nil {
		t.Fatal(err)
	}
	decode(t, files)
	patch := text(files, "/etc/loam/patches/kubeletconfiguration+merge.yaml")
	for want, is := range map[string]bool{"maxParallelImagePulls: 3\n": true, "containerLogMaxFiles: 5\n": true, "podsPerCore": false, "failSwapOn: false\n": true} {
		if strings.Contains(patch, want) != is {
			t.Errorf("%q in the patch should be %v: %s", want, is, patch)
		}
	}
	if files, err = nodeconfig.ContainerdFiles(c, n); err != nil || !strings.Contains(text(files, "/etc/containerd/conf.d/05-profile.toml"), "max_concurrent_downloads = 5\n") {
		t.Errorf("containerd's part is %s, %v", print(files), err)
	}
	if files, err = nodeconfig.InitFiles(c, controlPlane(), token); err != nil {
		t.Fatal(err)
	}
	config := text(files, nodeconfig.KubeadmConfigPath)
	for _, want := range []string{"- name: default-not-ready-toleration-seconds\n    value: \"30\"\n", "- name: leader-elect\n    value: \"true\"\n"} {
		if !strings.Contains(config, want) || strings.Count(config, "name: leader-elect") != 2 {
			t.Errorf("%q is not in the configuration, or not once for each program: %s", want, config)
		}
	}
	n.Settings = []byte(`{"kubelet":{"colour":"red","failSwapOn":false,"memorySwap":{"swapBehavior":"Much"}}}`)
	if _, err = nodeconfig.JoinFiles(c, n, join(t)); err == nil || !strings.Contains(err.Error(), "providerConfig.node.kubelet.colour") {
		t.Errorf("what there is not is %v", err)
	}
}

// text is the content of a file; empty when there is none.
func text(files []nodeconfig.File, path string) string {
	for _, f := range files {
		if f.Path == path {
			return string(f.Content)
		}
	}
	return ""
}
