package cli

import (
	"fmt"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestPassProxy(t *testing.T) {
	const head = `{"kind":"ControlPlaneConfig","apiVersion":"loam.dev/v1alpha1"`
	for name, tc := range map[string]struct {
		env        map[string]string
		have, want string
		said       bool
	}{
		"none": {nil, "", "", false},
		"upper and lower case": {
			map[string]string{"HTTP_PROXY": "http://a:1", "https_proxy": "http://b:2", "no_proxy": "x, y,"}, "",
			head + `,"proxy":{"httpProxy":"http://a:1","httpsProxy":"http://b:2","noProxy":["x","y"]}}`, false,
		},
		"beside what a file says": {
			map[string]string{"HTTP_PROXY": "http://a:1"}, head + `,"dnsSearch":["x"]}`, head + `,"dnsSearch":["x"],"proxy":{"httpProxy":"http://a:1"}}`, false,
		},
		"the file's own wins":     {map[string]string{"HTTP_PROXY": "http://a:1"}, head + `,"proxy":{}}`, head + `,"proxy":{}}`, false},
		"a password is kept back": {map[string]string{"HTTP_PROXY": "http://me:secret@a:1"}, "", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			shoot := &gardencorev1beta1.Shoot{}
			if tc.have != "" {
				shoot.Spec.Provider.ControlPlaneConfig = &runtime.RawExtension{Raw: []byte(tc.have)}
			}
			said := ""
			err := passProxy(shoot, func(name string) string { return tc.env[name] }, func(format string, args ...any) { said += fmt.Sprintf(format, args...) })
			if err != nil || (said != "") != tc.said || strings.Contains(said, "secret") {
				t.Errorf("says %q, %v", said, err)
			}
			got := ""
			if raw := shoot.Spec.Provider.ControlPlaneConfig; raw != nil {
				got = string(raw.Raw)
			}
			if got != tc.want {
				t.Errorf("config is\n%s, want\n%s", got, tc.want)
			}
		})
	}
}
