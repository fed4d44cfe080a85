package boot_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/images"
	"github.com/loam-cloud/loam/nodeconfig/profile"
	"github.com/loam-cloud/loam/test/boot"
	"github.com/loam-cloud/loam/test/tools"
)

// kubernetesVersion is the one whose node image has the kubelet.
const kubernetesVersion = "v1.36.3"

// needVM skips a test that boots a machine unless it is asked for: `make e2e-vm`.
func needVM(t *testing.T) {
	t.Helper()
	if os.Getenv("LOAM_VM") == "" {
		t.Skip("boots a virtual machine under emulation, which takes minutes: make e2e-vm")
	}
}

// fromNodeImage takes a program out of the node image.
func fromNodeImage(t *testing.T, path, name string) boot.File {
	t.Helper()
	id, err := exec.Command("docker", "create", images.Tag(kubernetesVersion)).Output()
	if err != nil {
		t.Fatalf("taking %s out of the node image: %v; `loam image build` makes it", name, err)
	}
	container := strings.TrimSpace(string(id))
	t.Cleanup(func() { _ = exec.Command("docker", "rm", container).Run() })
	file := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("docker", "cp", "--follow-link", container+":"+path, file).CombinedOutput(); err != nil {
		t.Fatalf("taking %s out of the node image: %v: %s", path, err, out)
	}
	return boot.Program(t, "/bin/"+name, file)
}

// withUser is a profile that also has somebody of the site.
func withUser(t *testing.T, name string, in profile.Input) *profile.Rendered {
	t.Helper()
	p, err := profile.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	p, problems := p.With("the test", nil, []byte(`users: {ann: {sudo: true, sshAuthorizedKeys: ["`+aKey+`"]}}`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	in.CgroupVersion, in.Name, in.SSHKeys, in.Networks = 2, machineName, []string{aKey}, []profile.Network{{Name: "eth0"}}
	made, err := p.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func seed(instance string, made *profile.Rendered) boot.Seed {
	return boot.Seed{Instance: instance, UserData: made.UserData, VendorData: made.VendorData, NetworkConfig: made.NetworkConfig}
}

// everyMachine is what all are asked.
var everyMachine = []boot.Question{
	{Name: "cloud-init", Script: "cloud-init status --long"},
	{Name: "schema", Script: "cloud-init schema --system"},
	{Name: "failed", Script: "systemctl --failed --no-legend --plain"},
	{Name: "name", Script: "hostname; grep -c 127.0.1.1 /etc/hosts"},
	{Name: "zone", Script: "readlink -f /etc/localtime"},
	{Name: "agent", Script: "systemctl is-enabled qemu-guest-agent systemd-timesyncd; systemctl is-active qemu-guest-agent systemd-timesyncd"},
	{Name: "keys", Script: "cat ~debian/.ssh/authorized_keys ~ann/.ssh/authorized_keys; id -nG ann; sudo -u ann sudo -n id -u; passwd --status ann | cut -d' ' -f2"},
	{Name: "root", Script: "sshd -T | grep -i -e passwordauthentication"},
	{Name: "host keys", Script: "sha256sum /etc/ssh/ssh_host_ed25519_key"},
	{Name: "address", Script: "ip -4 -o address show dev eth0"},
}

// ask adds what is asked about files and kernel settings.
func ask(made *profile.Rendered, further ...boot.Question) []boot.Question {
	var paths, sysctls []string
	for _, f := range made.Files {
		paths = append(paths, f.Path)
		if f.Path == profile.SysctlPath {
			sysctls = settings(f)
		}
	}
	return slices.Concat(everyMachine, []boot.Question{
		{Name: "files", Script: "for f in " + strings.Join(paths, " ") + "; do stat -c '%n %a %U:%G' $f; sha256sum <$f; done"},
		{Name: "sysctls", Script: "for s in " + strings.Join(sysctls, " ") + "; do echo $s = $(sysctl -n $s); done"},
	}, further)
}

// settings are the names in a file of sysctl.
func settings(f profile.File) []string {
	var names []string
	for line := range strings.Lines(string(f.Content)) {
		if name, _, ok := strings.Cut(line, " = "); ok {
			names = append(names, name)
		}
	}
	return names
}

// expect compares what every machine answers with what was rendered.
func expect(t *testing.T, made *profile.Rendered, answers map[string]boot.Answer) {
	t.Helper()
	contains := func(name string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(answers[name].Text, want) {
				t.Errorf("%s: %q is missing in:\n%s", name, want, answers[name].Text)
			}
		}
	}
	contains("cloud-init", "status: done")
	contains("schema", "Valid cloud-config")
	contains("name", machineName)
	contains("zone", "UTC")
	// Debian starts the agent when there is something to listen on, and only then.
	contains("agent", "static\nenabled\nactive\nactive")
	contains("keys", aKey+"\n"+aKey, "ann", "\n0\nL")
	contains("root", "passwordauthentication no")
	contains("address", "10.0.2.15")
	if text := answers["failed"].Text; text != "" {
		t.Errorf("units failed: %s", text)
	}
	for _, f := range made.Files {
		contains("files", fmt.Sprintf("%s %o root:root\n%x ", f.Path, f.Mode.Perm(), sha256.Sum256(f.Content)))
		if f.Path == profile.SysctlPath {
			for line := range strings.Lines(string(f.Content)) {
				if strings.Contains(line, " = ") {
					contains("sysctls", strings.TrimSpace(line))
				}
			}
		}
	}
}

// TestPlainMachineBoots boots the profile of any machine.
func TestPlainMachineBoots(t *testing.T) {
	needVM(t)
	made := withUser(t, "plain", profile.Input{})
	expect(t, made, boot.New(t, machineUUID).Boot(seed("one", made), ask(made)))
}

// TestImageCacheMachineBoots boots the profile of a machine with the image cache,
// which serves.
func TestImageCacheMachineBoots(t *testing.T) {
	needVM(t)
	made := withUser(t, "registry", profile.Input{})
	m := boot.New(t, machineUUID)
	m.Files = []boot.File{boot.Program(t, "/bin/loam", "../../bin/loam")}
	answers := m.Boot(seed("one", made), ask(made, boot.Question{Name: "cache", Script: `
i=0
until curl -sf http://127.0.0.1:5001/healthz; do i=$((i+1)); test $i -lt 120 || break; sleep 2; done
systemctl is-active loam-registry
ss -ltnH | awk '{print $4}' | sort`}))
	expect(t, made, answers)
	for _, want := range []string{"active", "127.0.0.1:5050", "127.0.0.1:5001", "*:5000", "*:5010", "*:5020", "*:5030"} {
		if !strings.Contains(answers["cache"].Text, want) {
			t.Errorf("%q is missing in:\n%s", want, answers["cache"].Text)
		}
	}
}

// kubeletService runs a kubelet with what kubeadm would merge into its configuration,
// and no cluster. The test may ask it without a certificate.
const kubeletService = `[Unit]
Description=kubelet
After=containerd.service
[Service]
ExecStart=/loam-test/bin/kubelet --config=` + profile.KubeletPatchPath + ` --config-dir=/loam-test/kubelet.conf.d --v=1
Restart=always
[Install]
WantedBy=multi-user.target
`

const kubeletForTest = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
`

// kubernetesQuestions are asked of a node.
var kubernetesQuestions = []boot.Question{
	{Name: "first boot", Script: `
i=0
until test -e /etc/loam/first-boot/done; do i=$((i+1)); test $i -lt 120 || break; sleep 2; done
stat -c '%n %a' ` + discovery + ` /etc/loam/secrets/registry
cat ` + discovery + `
test -e /etc/loam/first-boot/ticket && echo "the ticket is still there"
journalctl -b -o cat -u loam-first-boot.service`},
	{Name: "logind", Script: "busctl get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager InhibitDelayMaxUSec"},
	{Name: "stop timeout", Script: "systemctl show --property TimeoutStopUSec kubelet"},
	{Name: "modules", Script: "cut -d' ' -f1 /proc/modules"},
	{Name: "configz", Script: `
i=0
until curl -skf https://127.0.0.1:10250/configz; do i=$((i+1)); test $i -lt 150 || { journalctl -o cat -u kubelet | tail -n 30; exit 1; }; sleep 2; done`},
	// It holds shutdowns back once its runtime is ready.
	{Name: "inhibitors", Script: `
i=0
until systemd-inhibit --list --no-legend --no-pager | grep kubelet; do i=$((i+1)); test $i -lt 120 || { journalctl -o cat -u kubelet | grep -i -e shutdown -e runtime | tail -n 10; break; }; sleep 2; done
ls /etc/systemd/logind.conf.d`},
	{Name: "containerd", Script: "/loam-test/bin/containerd config dump; systemctl is-active containerd"},
	{Name: "stops", Script: "journalctl -b -o cat -u containerd.service -u systemd-logind.service | grep -c '^Stopped' || true"},
}

// TestKubernetesMachineBoots boots a node that fetches at its first boot what is not
// in its boot data, and boots it again with a new instance-id, which changes nothing.
func TestKubernetesMachineBoots(t *testing.T) {
	needVM(t)
	const agent = "10.0.2.100:443"
	d := openDesk(t, "10.0.2.100")
	own := []profile.File{
		{Path: "/etc/systemd/system/kubelet.service", Content: []byte(kubeletService), Mode: 0o644},
		{Path: "/etc/systemd/system/containerd.service.d/50-test.conf", Content: []byte("[Service]\nExecStart=\nExecStart=/loam-test/bin/containerd\n"), Mode: 0o644, Restart: []string{"containerd.service"}},
	}
	for _, f := range d.firstBoot(t, agent, "") {
		own = append(own, profile.File{Path: f.Path, Content: f.Content, Mode: f.Mode})
	}
	made := withUser(t, "kubernetes", profile.Input{Role: v1alpha1.RoleWorker, KubernetesVersion: kubernetesVersion, ContainerdVersion: "2.2.1", Files: own})
	m := boot.New(t, machineUUID)
	m.Reach[agent] = d.server.Listener.Addr().String()
	m.Files = []boot.File{
		fromNodeImage(t, "/usr/local/bin/kubelet", "kubelet"), boot.Program(t, "/bin/containerd", tools.Containerd(t)),
		{Path: "/kubelet.conf.d/99-test.conf", Content: []byte(kubeletForTest), Mode: 0o644},
	}
	first := m.Boot(seed("one", made), ask(made, kubernetesQuestions...))
	expectNode(t, made, first)
	if text := first["first boot"].Text; strings.Contains(text, "still there") {
		t.Errorf("a used ticket stays:\n%s", text)
	}
	d.locked(func() {
		if d.asked != 2 {
			t.Errorf("the machine asked %d times, want 2: the first answer said to come again", d.asked)
		}
	})
	second := m.Boot(seed("two", made), ask(made, kubernetesQuestions...))
	expectNode(t, made, second)
	if second["stops"].Text != "0" {
		t.Errorf("services were restarted although nothing changed: %s", second["stops"].Text)
	}
	if first["host keys"] != second["host keys"] {
		t.Errorf("the host's keys changed from %s to %s", first["host keys"].Text, second["host keys"].Text)
	}
}

func expectNode(t *testing.T, made *profile.Rendered, answers map[string]boot.Answer) {
	t.Helper()
	// The ticket is gone once it was used.
	expect(t, &profile.Rendered{Files: slices.DeleteFunc(slices.Clone(made.Files), func(f profile.File) bool { return strings.HasSuffix(f.Path, "/ticket") })}, answers)
	for name, wants := range map[string][]string{
		"first boot":   {discovery + " 600", "/etc/loam/secrets/registry 400", machineName + " " + joinToken},
		"logind":       {"t 480000000"},
		"stop timeout": {"TimeoutStopUSec=7min"},
		"modules":      {"overlay", "br_netfilter"},
		// The kubelet holds shutdowns back, and found logind patient enough.
		"inhibitors": {"kubelet", "delay", "zz-loam.conf"},
		"containerd": {"max_concurrent_downloads = 20", "schedule_delay = '30m0s'", "/etc/containerd/certs.d", "\nactive"},
	} {
		for _, want := range wants {
			if !strings.Contains(answers[name].Text, want) {
				t.Errorf("%s: %q is missing in:\n%s", name, want, answers[name].Text)
			}
		}
	}
	if text := answers["inhibitors"].Text; strings.Contains(text, "99-kubelet.conf") {
		t.Errorf("the kubelet had to make logind more patient:\n%s", text)
	}
	var shown struct {
		Kubelet kubeletv1beta1.KubeletConfiguration `json:"kubeletconfig"`
	}
	if err := json.Unmarshal([]byte(answers["configz"].Text), &shown); err != nil {
		t.Fatalf("configz: %v:\n%s", err, answers["configz"].Text)
	}
	expectKubelet(t, shown.Kubelet)
}

// expectKubelet wants the values of the specification in a kubelet that runs.
func expectKubelet(t *testing.T, got kubeletv1beta1.KubeletConfiguration) {
	t.Helper()
	var bands []string
	for _, b := range got.ShutdownGracePeriodByPodPriority {
		bands = append(bands, fmt.Sprintf("%d:%d", b.Priority, b.ShutdownGracePeriodSeconds))
	}
	for name, values := range map[string][2]any{
		"systemReserved": {got.SystemReserved, map[string]string{"cpu": "200m", "memory": "512Mi"}},
		"kubeReserved":   {got.KubeReserved, map[string]string{"cpu": "200m", "memory": "512Mi"}},
		"evictionHard": {got.EvictionHard, map[string]string{
			"imagefs.available": "20%", "imagefs.inodesFree": "5%", "memory.available": "500Mi", "nodefs.available": "15%", "nodefs.inodesFree": "5%", "pid.available": "10%",
		}},
		"evictionSoft memory":  {got.EvictionSoft["memory.available"], "1Gi"},
		"evictionSoft nodefs":  {got.EvictionSoft["nodefs.available"], "20%"},
		"evictionSoft imagefs": {got.EvictionSoft["imagefs.available"], "25%"},
		"grace memory":         {got.EvictionSoftGracePeriod["memory.available"], "30s"},
		"grace nodefs":         {got.EvictionSoftGracePeriod["nodefs.available"], "60s"},
		"grace imagefs":        {got.EvictionSoftGracePeriod["imagefs.available"], "30s"},
		"swap":                 {got.MemorySwap.SwapBehavior, "LimitedSwap"},
		"failSwapOn":           {*got.FailSwapOn, false},
		"containerLogMaxSize":  {got.ContainerLogMaxSize, "10Mi"},
		"containerLogMaxFiles": {*got.ContainerLogMaxFiles, int32(3)},
		"serializeImagePulls":  {*got.SerializeImagePulls, false},
		// Of the 50 of the profile: with more, kubelets of this version end at the first pull.
		"maxParallelImagePulls":    {*got.MaxParallelImagePulls, int32(31)},
		"shutdown by pod priority": {strings.Join(bands, " "), "0:20 200000:20 400000:30 600000:30 800000:90 1000000:30 1200000:30 2000000000:30 2000001000:30"},
	} {
		if fmt.Sprint(values[0]) != fmt.Sprint(values[1]) {
			t.Errorf("%s is %v, want %v", name, values[0], values[1])
		}
	}
}
