package cli

import (
	"cmp"
	"encoding/json"
	"net/url"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/provider"
)

// passProxy has the nodes of a new cluster use the proxy that this command's
// environment names, as far as the cluster says nothing of its own.
func passProxy(shoot *gardencorev1beta1.Shoot, getenv func(string) string, say sayer) error {
	p := v1alpha1.Proxy{HTTPProxy: variable(getenv, "HTTP_PROXY"), HTTPSProxy: variable(getenv, "HTTPS_PROXY")}
	if p.HTTPProxy == "" && p.HTTPSProxy == "" {
		return nil
	}
	for _, at := range []*string{&p.HTTPProxy, &p.HTTPSProxy} {
		parsed, err := url.Parse(*at)
		if err != nil {
			say("The proxy of this environment is not passed to the nodes: its address is no URL")
			return nil //nolint:nilerr // a cluster can be made without; the error would show the address, passwords included
		}
		if parsed.User != nil {
			say("The proxy of this environment is not passed to the nodes: its address holds a password, which everybody who reads the cluster's description would see")
			return nil
		}
	}
	for destination := range strings.SplitSeq(variable(getenv, "NO_PROXY"), ",") {
		if destination = strings.TrimSpace(destination); destination != "" {
			p.NoProxy = append(p.NoProxy, destination)
		}
	}
	config := v1alpha1.ControlPlaneConfig{}
	config.APIVersion, config.Kind = v1alpha1.SchemeGroupVersion.String(), provider.KindControlPlaneConfig
	if raw := shoot.Spec.Provider.ControlPlaneConfig; raw != nil {
		if err := json.Unmarshal(raw.Raw, &config); err != nil || config.Proxy != nil {
			return nil //nolint:nilerr // the garden says what is wrong with it
		}
	}
	config.Proxy = &p
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	shoot.Spec.Provider.ControlPlaneConfig = &runtime.RawExtension{Raw: text}
	return nil
}

// variable reads one in either spelling.
func variable(getenv func(string) string, name string) string {
	return cmp.Or(getenv(name), getenv(strings.ToLower(name)))
}
