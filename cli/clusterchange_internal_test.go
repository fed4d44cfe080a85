package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/shoots/plan"
)

func TestSettingFlags(t *testing.T) {
	const before = `{"version":"1.36.3","kubelet":{"featureGates":{"B":true},"maxPods":30}}`
	for name, test := range map[string]struct {
		flags settingFlags
		// want is the configuration afterwards, or, of one that is refused, what is said.
		want, refused string
	}{
		"numbers, text and what lies deeper": {
			flags: settingFlags{kubelet: []string{"maxPods=50", "evictionHard.memoryAvailable=200Mi", "cpuCFSQuota=false"}},
			want:  `{"kubelet":{"cpuCFSQuota":false,"evictionHard":{"memoryAvailable":"200Mi"},"featureGates":{"B":true},"maxPods":50},"version":"1.36.3"}`,
		},
		"taken back": {flags: settingFlags{kubelet: []string{"maxPods-"}}, want: `{"kubelet":{"featureGates":{"B":true}},"version":"1.36.3"}`},
		"a gate of one program": {
			flags: settingFlags{gates: []string{"kubeAPIServer:A=true"}},
			want:  `{"kubeAPIServer":{"featureGates":{"A":true}},"kubelet":{"featureGates":{"B":true},"maxPods":30},"version":"1.36.3"}`,
		},
		"a gate of all programs": {
			flags: settingFlags{gates: []string{"A=false"}},
			want: `{"kubeAPIServer":{"featureGates":{"A":false}},"kubeControllerManager":{"featureGates":{"A":false}},"kubeScheduler":{"featureGates":{"A":false}},` +
				`"kubelet":{"featureGates":{"A":false,"B":true},"maxPods":30},"version":"1.36.3"}`,
		},
		"a gate taken back from those that have it": {flags: settingFlags{gates: []string{"B-"}}, want: `{"kubelet":{"maxPods":30},"version":"1.36.3"}`},
		"versions of the API": {
			flags: settingFlags{runtime: []string{"api/alpha=true"}},
			want:  `{"kubeAPIServer":{"runtimeConfig":{"api/alpha":true}},"kubelet":{"featureGates":{"B":true},"maxPods":30},"version":"1.36.3"}`,
		},
		"an unknown setting":     {flags: settingFlags{kubelet: []string{"colour=red"}}, refused: `unknown field "colour"; fields are those of spec.kubernetes.kubelet`},
		"text for a number":      {flags: settingFlags{kubelet: []string{"maxPods=many"}}, refused: "maxPods"},
		"no value":               {flags: settingFlags{kubelet: []string{"maxPods"}}, refused: `"maxPods" must be NAME=VALUE, or NAME- to take it back`},
		"no name":                {flags: settingFlags{runtime: []string{"=true"}}, refused: `"=true" names nothing`},
		"neither true nor false": {flags: settingFlags{gates: []string{"A=perhaps"}}, refused: `"A=perhaps" must be true or false`},
		"an unknown program":     {flags: settingFlags{gates: []string{"etcd:A=true"}}, refused: "must name one of kubeAPIServer, kubeControllerManager, kubeScheduler, kubelet"},
		"nothing to take back":   {flags: settingFlags{gates: []string{"C-"}}, refused: `"C" is not set`},
		"several problems":       {flags: settingFlags{gates: []string{"A=x"}, runtime: []string{"b=y"}}, refused: `"b=y" must be true or false`},
	} {
		t.Run(name, func(t *testing.T) {
			var k gardencorev1beta1.Kubernetes
			if err := json.Unmarshal([]byte(before), &k); err != nil {
				t.Fatal(err)
			}
			err := test.flags.apply(&k)
			if test.refused != "" {
				if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("got %v, want %s", err, test.refused)
				}
				return
			}
			got, _ := json.Marshal(k)
			if err != nil || canonical(t, got) != test.want {
				t.Errorf("got  %s, %v\nwant %s", canonical(t, got), err, test.want)
			}
		})
	}
}

// canonical has the keys of a document in order.
func canonical(t *testing.T, text []byte) string {
	t.Helper()
	var document any
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	sorted, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(sorted)
}

func TestPoolFlags(t *testing.T) {
	for name, test := range map[string]struct {
		flags         poolFlags
		want, refused string
	}{
		"nodes":        {flags: poolFlags{nodes: 3}, want: `{"labels":{"a":"b"},"machine":{"type":"local"},"maximum":3,"minimum":3,"name":"w","taints":[{"effect":"NoSchedule","key":"k"}]}`},
		"labels":       {flags: poolFlags{nodes: 1, labels: []string{"a-", "c=", "d=e"}}, want: `{"labels":{"c":"","d":"e"},"machine":{"type":"local"},"maximum":1,"minimum":1,"name":"w","taints":[{"effect":"NoSchedule","key":"k"}]}`},
		"taints":       {flags: poolFlags{nodes: 1, taints: []string{"k:NoSchedule-", "x=y:NoExecute"}}, want: `{"labels":{"a":"b"},"machine":{"type":"local"},"maximum":1,"minimum":1,"name":"w","taints":[{"effect":"NoExecute","key":"x","value":"y"}]}`},
		"a taint anew": {flags: poolFlags{nodes: 1, taints: []string{"k=v:NoSchedule"}}, want: `{"labels":{"a":"b"},"machine":{"type":"local"},"maximum":1,"minimum":1,"name":"w","taints":[{"effect":"NoSchedule","key":"k","value":"v"}]}`},
		"its own kubelet": {
			flags: poolFlags{nodes: 1, kubelet: []string{"maxPods=20"}},
			want:  `{"kubernetes":{"kubelet":{"maxPods":20}},"labels":{"a":"b"},"machine":{"type":"local"},"maximum":1,"minimum":1,"name":"w","taints":[{"effect":"NoSchedule","key":"k"}]}`,
		},
		"fewer than none":  {flags: poolFlags{nodes: -1}, refused: "--nodes: -1 must not be negative"},
		"no such label":    {flags: poolFlags{nodes: 1, labels: []string{"x-"}}, refused: `pool "w" has no label "x"`},
		"no such taint":    {flags: poolFlags{nodes: 1, taints: []string{"x:NoSchedule-"}}, refused: `pool "w" has no taint x:NoSchedule`},
		"half a taint":     {flags: poolFlags{nodes: 1, taints: []string{"x"}}, refused: `"x" must be KEY[=VALUE]:EFFECT`},
		"several problems": {flags: poolFlags{nodes: -1, taints: []string{"x"}, labels: []string{"y"}}, refused: `"x" must be KEY`},
	} {
		t.Run(name, func(t *testing.T) {
			var pool gardencorev1beta1.Worker
			if err := json.Unmarshal([]byte(`{"name":"w","minimum":1,"maximum":1,"machine":{"type":"local"},"labels":{"a":"b"},"taints":[{"key":"k","effect":"NoSchedule"}]}`), &pool); err != nil {
				t.Fatal(err)
			}
			err := test.flags.apply(&pool, func(flag string) bool { return flag == "nodes" })
			if test.refused != "" {
				if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("got %v, want %s", err, test.refused)
				}
				return
			}
			got, _ := json.Marshal(pool)
			if err != nil || canonical(t, got) != test.want {
				t.Errorf("got  %s, %v\nwant %s", canonical(t, got), err, test.want)
			}
		})
	}
}

func TestPrintChangePlan(t *testing.T) {
	p := changePlan{Cluster: "demo", Steps: []plan.Step{
		{Action: plan.Configure, Node: "demo-control-plane-0", Pool: "control-plane", Role: v1alpha1.RoleControlPlane, Batch: 1, Changes: []plan.Change{
			{Name: "kubelet.maxPods", From: "110", To: "50"}, {Name: "kubelet.podPidsLimit", To: "4096"},
		}},
		{Action: plan.Create, Node: "demo-batch-0", Pool: "batch", Role: v1alpha1.RoleWorker, Batch: 2},
		{Action: plan.Mark, Node: "demo-worker-0", Pool: "worker", Role: v1alpha1.RoleWorker, Batch: 3, Changes: []plan.Change{{Name: "label a", From: "a=b", To: "a=c"}}},
		{Action: plan.Upgrade, Node: "demo-worker-0", Pool: "worker", Role: v1alpha1.RoleWorker, From: "v1.36.2", To: "v1.36.3", Drained: true, Batch: 4},
		{Action: plan.Remove, Node: "demo-old-0", Pool: "old", Role: v1alpha1.RoleWorker, Batch: 5},
	}}
	const want = `Cluster "demo" changes, in this order:
NODE                   POOL            ACTION      CHANGE                                   PODS
demo-control-plane-0   control-plane   configure   kubelet.maxPods: 110 → 50                stay
                                                   kubelet.podPidsLimit: (default) → 4096   
demo-batch-0           batch           create                                               none yet
demo-worker-0          worker          mark        - a=b                                    stay
                                                   + a=c                                    
demo-worker-0          worker          upgrade     1.36.2 → 1.36.3                          move to other nodes
demo-old-0             old             remove                                               stop
`
	var out bytes.Buffer
	if err := p.print(&out); err != nil || out.String() != want {
		t.Errorf("got\n%s%v\nwant\n%s", out.String(), err, want)
	}
	out.Reset()
	if err := (changePlan{Cluster: "demo"}).print(&out); err != nil || out.String() != "Cluster \"demo\": nothing changes\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// TestWriteChange writes although a controller wrote meanwhile, and not when the
// user did: the plan that was shown is of another Shoot then.
func TestWriteChange(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := gardencorev1beta1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		meanwhile func(*gardencorev1beta1.Shoot)
		want      string
	}{
		"a controller labels it": {func(s *gardencorev1beta1.Shoot) { s.Labels = map[string]string{"a": "b"} }, "1.36.3"},
		"its user changes it":    {func(s *gardencorev1beta1.Shoot) { s.Generation++ }, "1.36.2"},
	} {
		t.Run(name, func(t *testing.T) {
			shoot := &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: "demo", Generation: 1}}
			shoot.Spec.Kubernetes.Version = "1.36.2"
			api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(shoot).Build()
			key := client.ObjectKeyFromObject(shoot)
			if err := api.Get(t.Context(), key, shoot); err != nil {
				t.Fatal(err)
			}
			latest := shoot.DeepCopy()
			test.meanwhile(latest)
			if err := api.Update(t.Context(), latest); err != nil {
				t.Fatal(err)
			}
			raised := func(s *gardencorev1beta1.Shoot) error {
				raise(&s.Spec, "1.36.3")
				return nil
			}
			_, err := writeChange(t.Context(), api, &project{name: "local"}, shoot, raised)
			if refused := err != nil; refused != (test.want == "1.36.2") {
				t.Errorf("the answer is %v", err)
			}
			if err := api.Get(t.Context(), key, latest); err != nil || latest.Spec.Kubernetes.Version != test.want {
				t.Errorf("the version is %s (%v), want %s", latest.Spec.Kubernetes.Version, err, test.want)
			}
		})
	}
}
