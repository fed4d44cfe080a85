package profile_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/profile"
)

// TestContradictions sets values on top of the profile kubernetes. Each problem names
// both values and both paths.
func TestContradictions(t *testing.T) {
	same := func(*profile.Input) {}
	tests := map[string]struct {
		settings string
		change   func(*profile.Input)
		want     [][]string
	}{
		"none": {"{}", same, nil},
		"bands out of order": {
			"kubelet: {shutdownGracePeriodByPodPriority: [{priority: 10, shutdownGracePeriodSeconds: 1}, {priority: 9, shutdownGracePeriodSeconds: 1}]}", same,
			[][]string{{"kubelet.shutdownGracePeriodByPodPriority[1].priority", "9", "kubelet.shutdownGracePeriodByPodPriority[0].priority", "10"}},
		},
		"bands longer than everything": {
			"kubelet: {shutdownGracePeriodByPodPriority: [{priority: 0, shutdownGracePeriodSeconds: 500}]}", same,
			[][]string{
				{"logind.inhibitDelayMax", "480s", "kubelet.shutdownGracePeriodByPodPriority", "500s"},
				{"kubeletService.stopTimeout", "420s", "kubelet.shutdownGracePeriodByPodPriority", "500s"},
			},
		},
		"equal is not longer": {
			"{logind: {inhibitDelayMax: 310s}, kubeletService: {stopTimeout: 310s}}", same,
			[][]string{{"logind.inhibitDelayMax", "310s", "must be more than"}, {"kubeletService.stopTimeout", "310s", "must be more than"}},
		},
		"the default of logind":  {"logind: null", same, [][]string{{"logind.inhibitDelayMax", "5 s", "310s"}}},
		"the default of systemd": {"kubeletService: null", same, [][]string{{"kubeletService.stopTimeout", "90 s", "310s"}}},
		"the hypervisor cuts first": {
			"{}", func(in *profile.Input) { in.HypervisorShutdown = 180 * time.Second },
			[][]string{{"logind.inhibitDelayMax", "480s", "hypervisorShutdown", "180s"}},
		},
		"two ways to end pods": {
			"kubelet: {shutdownGracePeriod: 60s, shutdownGracePeriodCriticalPods: 90s}", same,
			[][]string{
				{"kubelet.shutdownGracePeriodCriticalPods", "90s", "kubelet.shutdownGracePeriod", "60s"},
				{"kubelet.shutdownGracePeriodByPodPriority", "9 bands", "kubelet.shutdownGracePeriod", "60s"},
			},
		},
		"soft below hard": {
			"kubelet: {evictionSoft: {memory.available: 500Mi, nodefs.available: 10%}}", same,
			[][]string{
				{"kubelet.evictionSoft[memory.available]", "500Mi", "kubelet.evictionHard[memory.available]"},
				{"kubelet.evictionSoft[nodefs.available]", "10%", "kubelet.evictionHard[nodefs.available]", "15%"},
			},
		},
		"soft without a time": {
			"kubelet: {evictionSoftGracePeriod: {memory.available: null, containerfs.available: 1s, pid.available: soon}}", same,
			[][]string{
				{"kubelet.evictionSoftGracePeriod[memory.available]", "kubelet.evictionSoft[memory.available]", "1Gi"},
				{"kubelet.evictionSoftGracePeriod[containerfs.available]", "1s", "kubelet.evictionSoft[containerfs.available]"},
				{"kubelet.evictionSoftGracePeriod[pid.available]", "soon"},
			},
		},
		"a part of the thresholds": {
			"kubelet: {evictionHard: {pid.available: null, memory.available: 101%, disk.available: 1%}}", same,
			[][]string{{"kubelet.evictionHard[pid.available]"}, {"kubelet.evictionHard[memory.available]", "101%"}, {"kubelet.evictionHard[disk.available]"}},
		},
		"asked to go for using what they were given": {
			"kubelet: {evictionSoft: {memory.available: 2Gi}}", same,
			[][]string{{"kubelet.evictionSoft[memory.available]", "2Gi", "kubelet.systemReserved", "kubelet.kubeReserved", "1Gi", "kubelet.evictionHard[memory.available]", "500Mi"}},
		},
		"nothing left for pods": {
			"{}", func(in *profile.Input) { in.MemoryBytes, in.CPUs = 1<<30, 0.4 },
			[][]string{{"memoryBytes", "1073741824", "kubelet.systemReserved", "1Gi", "500Mi"}, {"cpus", "0.4", "400m"}},
		},
		"amounts": {
			"kubelet: {systemReserved: {memory: much, disk: 1Gi}}", same,
			[][]string{{"kubelet.systemReserved[memory]", "much"}, {"kubelet.systemReserved[disk]"}},
		},
		"swap that does not start": {"kubelet: {failSwapOn: true}", same, [][]string{{"kubelet.memorySwap.swapBehavior", "LimitedSwap", "kubelet.failSwapOn", "true"}}},
		"swap that is not there": {
			"{}", func(in *profile.Input) { in.CgroupVersion = 1 },
			[][]string{{"kubelet.memorySwap.swapBehavior", "LimitedSwap", "cgroupVersion", "1"}},
		},
		"swap by another name": {"kubelet: {memorySwap: {swapBehavior: UnlimitedSwap}}", same, [][]string{{"kubelet.memorySwap.swapBehavior", "UnlimitedSwap"}}},
		"pulls": {
			"kubelet: {serializeImagePulls: true, imageGCHighThresholdPercent: 50, imageGCLowThresholdPercent: 60, containerLogMaxFiles: 1}", same,
			[][]string{
				{"kubelet.maxParallelImagePulls", "31", "kubelet.serializeImagePulls", "true"},
				{"kubelet.imageGCLowThresholdPercent", "60", "kubelet.imageGCHighThresholdPercent", "50"}, {"kubelet.containerLogMaxFiles"},
			},
		},
		"more pulls than the kubelet survives": {
			"kubelet: {maxParallelImagePulls: 32}", same, [][]string{{"kubelet.maxParallelImagePulls", "32", "31", "kubernetesVersion", "v1.36.3"}},
		},
		"a kubelet that survives them": {"kubelet: {maxParallelImagePulls: 50}", func(in *profile.Input) { in.KubernetesVersion = "v1.37.1" }, nil},
		"versions": {
			"{}", func(in *profile.Input) {
				in.KubernetesVersion, in.ContainerdVersion, in.Role = "v1.30.1", "1.5.9", "Boss"
			},
			[][]string{{"kubernetesVersion", "v1.31.0"}, {"containerdVersion", "1.6.0"}, {"role", "Boss"}},
		},
		"no versions": {
			"{}", func(in *profile.Input) { in.KubernetesVersion, in.ContainerdVersion, in.Role = "", "", "" },
			[][]string{{"kubernetesVersion"}, {"role"}},
		},
		"a disk": {"{}", func(in *profile.Input) { in.Disk.WriteMBps = -1 }, [][]string{{"disk.writeMBps", "-1"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, problems := load(t, profile.Kubernetes).With("test", nil, []byte(test.settings))
			if len(problems) > 0 {
				t.Fatal(problems.ToAggregate())
			}
			in := machine(v1alpha1.RoleWorker, "2.2.1")
			test.change(&in)
			_, err := p.Render(in)
			wantProblems(t, err, test.want)
		})
	}
}

// wantProblems compares an error with the words that each of its problems has.
func wantProblems(t *testing.T, err error, want [][]string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if err == nil {
		t.Fatalf("not refused, want problems with %q", want)
	}
	var aggregate utilerrors.Aggregate
	if !errors.As(err, &aggregate) {
		t.Fatalf("%v is not a list of problems", err)
	}
	for _, words := range want {
		if !slices.ContainsFunc(aggregate.Errors(), func(problem error) bool {
			return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(problem.Error(), word) })
		}) {
			t.Errorf("no problem has all of %q: %v", words, err)
		}
	}
	if got := len(aggregate.Errors()); got != len(want) {
		t.Errorf("%d problems, want %d: %v", got, len(want), err)
	}
}

// TestParse refuses what is no profile, with the path of every field that is wrong.
func TestParse(t *testing.T) {
	const head = "apiVersion: loam.dev/v1alpha1\nkind: NodeProfile\n"
	for text, want := range map[string][]string{
		head:                                     nil,
		head + "extends: kubernetes\n":           nil,
		"":                                       {"apiVersion", "kind"},
		"[]":                                     {"must be a NodeProfile"},
		head + "extends: nothing\ncolour: red\n": {"extends", "colour"},
		head + "kubelet: {evictionHard: {}, colour: red}\n":                         {"kubelet.colour"},
		head + "inContainer: {kubelet: {colour: red}, containerd: {colour: red}}\n": {"inContainer.kubelet.colour", "inContainer.containerd.colour"},
		head + "containerd: {maxConcurrentDownloads: 0, collection: {pauseThreshold: 0.6, scheduleDelay: -1s, mutationThreshold: -1}}\n": {
			"containerd.maxConcurrentDownloads", "containerd.collection.pauseThreshold", "containerd.collection.scheduleDelay", "containerd.collection.mutationThreshold"},
		head + "containerd: {maxConcurrentDownloads: many}\n":                           {"containerd.maxConcurrentDownloads"},
		head + "kubelet: {maxPods: many}\n":                                             {"kubelet", "maxPods"},
		head + "packages: [a b, ok, ok]\nmodules: [a/b]\nservices: [x]\n":               {"packages[0]", "packages[2]", "modules[0]", "services[0]"},
		head + "sysctls: {panic: \"1\", kernel.panic: \"a\\nb\"}\n":                     {"sysctls[panic]", "sysctls[kernel.panic]"},
		head + "users: {root: {}, ann: {sshAuthorizedKeys: [secret], groups: [a b]}}\n": {"users[root]", "users[ann].sshAuthorizedKeys[0]", "users[ann].groups[0]"},
		head + "files: {a: {content: x}, /etc/../x: {content: x, mode: \"9\", restart: [x]}}\n": {
			"files[a]", "files[/etc/../x]", "files[/etc/../x].mode", "files[/etc/../x].restart[0]"},
		head + "units: {x: text}\ntime: {zone: a b, servers: [a b]}\n": {"units[x]", "time.zone", "time.servers[0]"},
		head + "controlPlane: {apiServer: {--v: \"4\"}}\n":             {"controlPlane.apiServer[--v]"},
		head + "modules: [a]\nmodules: [b]\n":                          {"modules"},
	} {
		_, err := profile.Parse("mine.yaml", []byte(text))
		switch {
		case want == nil && err != nil:
			t.Errorf("%q is refused: %v", text, err)
		case want != nil && err == nil:
			t.Errorf("%q is not refused", text)
		}
		for _, path := range want {
			if err != nil && (!strings.Contains(err.Error(), path) || !strings.HasPrefix(err.Error(), "mine.yaml: ")) {
				t.Errorf("%q: %v does not name %s", text, err, path)
			}
		}
	}
}

// TestWith names the place of a Shoot that a value stands in.
func TestWith(t *testing.T) {
	at := field.NewPath("spec", "provider", "workers").Index(0).Child("providerConfig", "node")
	_, problems := load(t, profile.Kubernetes).With("pool a", at, []byte(`{"kubelet":{"colour":1},"modules":["a/b"],"inContainer":{}}`))
	want := []string{at.String() + ".kubelet.colour", at.String() + ".modules[0]", at.String() + ".inContainer"}
	if len(problems) != len(want) {
		t.Errorf("problems are %v", problems)
	}
	for _, path := range want {
		found := false
		for _, problem := range problems {
			found = found || problem.Field == path
		}
		if !found {
			t.Errorf("problems %v do not name %s", problems, path)
		}
	}
}
