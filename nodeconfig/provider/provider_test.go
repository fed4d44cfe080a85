package provider_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/provider"
)

func TestControlPlane(t *testing.T) {
	const head = `{"apiVersion":"loam.dev/v1alpha1","kind":"ControlPlaneConfig"`
	for text, want := range map[string]string{
		"":         "",
		head + `}`: "",
		head + `,"apiServer":{"address":"::1","port":6443},"dnsSearch":[]}`:                                                                        "",
		head + `,"proxy":{"httpsProxy":"http://p:3128","noProxy":["10.0.0.0/8"]}}`:                                                                 "",
		head + `,"portMappings":[{"containerPortRange":"1-2","hostPortRange":"11-12"},{"containerPort":1},{"containerPort":1}]}`:                   "",
		head + `,"portMappings":[{"containerPort":1,"protocol":"SCTP"},{"containerPortRange":"1-3","hostPortRange":"1-2"},{"containerPort":-1}]}`:  "config.portMappings[0].protocol, config.portMappings[1].hostPortRange, config.portMappings[2].containerPort",
		head + `,"portMappings":[{"containerPort":1,"hostPort":9},{"containerPortRange":"1-3","hostPortRange":"8-10","listenAddress":"0.0.0.0"}]}`: "config.portMappings[1].hostPortRange",
		`{}`:      "apiVersion, config.kind",
		`[]`:      "config",
		`{"a":1}`: "config.a, config.apiVersion, config.kind",
		`{"apiVersion":"loam.dev/v1","kind":"WorkerConfig"}`:                                       "config.apiVersion, config.kind",
		head + `,"apiServer":{"port":6443,"colour":"red"}}`:                                        "config.apiServer.colour",
		head + `,"APIServer":{}}`:                                                                  "config.APIServer",
		head + `,"apiServer":{"address":"localhost","port":-1}}`:                                   "config.apiServer.address, config.apiServer.port",
		head + `,"proxy":{"httpProxy":"http://me:hush@p:1","httpsProxy":"p:1","noProxy":["a b"]}}`: "config.proxy.httpProxy, config.proxy.httpsProxy, config.proxy.noProxy[0]",
		head + `,"containerdConfigPatches":["["],"kubeadmConfigPatches":["a: b"]}`:                 "config.containerdConfigPatches[0], config.kubeadmConfigPatches[0]",
	} {
		_, problems := provider.ControlPlane(&runtime.RawExtension{Raw: []byte(text)}, field.NewPath("config"))
		compare(t, text, want, problems)
	}
}

func TestWorker(t *testing.T) {
	const head = `{"apiVersion":"loam.dev/v1alpha1","kind":"WorkerConfig"`
	for text, want := range map[string]string{
		head + `,"extraPortMappings":[{"containerPort":80},{"containerPortRange":"1-9"}]}`:                                             "",
		head + `,"extraPortMappings":[{"containerPort":80,"hostPort":80}]}`:                                                            "config.extraPortMappings[0].hostPort",
		head + `,"extraMounts":[{"hostPath":"a","containerPath":"/"},{"hostPath":"/a:b","containerPath":"/b","selinuxRelabel":true}]}`: "config.extraMounts[0].containerPath, config.extraMounts[0].hostPath, config.extraMounts[1].selinuxRelabel",
		head + `,"extraMounts":[{"hostPath":"/a","containerPath":"/b/"},{"hostPath":"/a","containerPath":"/b"}]}`:                      "config.extraMounts[1].containerPath",
		head + `,"kubeadmConfigPatchesJSON6902":[{"group":"a","version":"b","kind":"C","patch":"{"}]}`:                                 "config.kubeadmConfigPatchesJSON6902[0].kind, config.kubeadmConfigPatchesJSON6902[0].patch",
	} {
		_, problems := provider.Worker(&runtime.RawExtension{Raw: []byte(text)}, 2, field.NewPath("config"))
		compare(t, text, want, problems)
	}
}

// compare wants problems at the paths, and no password in any of them.
func compare(t *testing.T, text, want string, problems field.ErrorList) {
	t.Helper()
	got := problems.ToAggregate()
	if want == "" {
		if got != nil {
			t.Errorf("%s is refused: %v", text, got)
		}
		return
	}
	for path := range strings.SplitSeq(want, ", ") {
		if got == nil || !strings.Contains(got.Error(), path+":") || strings.Contains(got.Error(), "hush") {
			t.Errorf("%s: problems %v do not name %s", text, got, path)
		}
	}
	if len(problems) != strings.Count(want, ",")+1 {
		t.Errorf("%s: problems are %v, want those of %s", text, got, want)
	}
}

func TestPorts(t *testing.T) {
	ports, problems := provider.Ports([]v1alpha1.PortMapping{
		{ContainerPortRange: "30000-30002", HostPortRange: "31000-31002", ListenAddress: "0.0.0.0", Protocol: "udp"},
		{ContainerPort: 80}, {ContainerPort: 80},
	}, field.NewPath("ports"))
	if len(problems) > 0 || len(ports) != 5 {
		t.Fatalf("ports are %v, %v", ports, problems)
	}
	if p := ports[2]; p.Container != 30002 || p.Host != 31002 || p.Protocol != "UDP" || p.Address.String() != "0.0.0.0" {
		t.Errorf("the last of the range is %+v", p)
	}
	if ports[3].Host != 0 || ports[4].Host != 0 {
		t.Errorf("two free ports are %+v", ports[3:])
	}
	_, problems = provider.Ports([]v1alpha1.PortMapping{
		{ContainerPort: 1, HostPort: 31001}, {ContainerPortRange: "1-3", HostPortRange: "31000-31002"},
	}, field.NewPath("ports"))
	if len(problems) != 1 || problems[0].Field != "ports[1].hostPortRange" {
		t.Errorf("a port that is given twice: %v", problems)
	}
}
