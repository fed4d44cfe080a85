package export_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	discoveryfake "k8s.io/client-go/discovery/fake"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/shoots/export"
	"github.com/loam-cloud/loam/shoots/insight"
)

const (
	id     = "shoot--local--demo"
	body   = "MHcCAQEEIJkeykeykeykeykeykeykeykeykeykeykeykeykeykeykeykeykeyk=="
	key    = "-----BEGIN EC PRIVATE KEY-----\n" + body + "\n-----END EC PRIVATE KEY-----\n"
	hidden = "Tr0ub4dor-and-3"
)

// world is a cluster of a node that runs and one that is off.
func world(t *testing.T) (*fake.Driver, *export.Exporter) {
	t.Helper()
	d := fake.New()
	v := &insight.View{Page: insight.Page{Name: "demo"}}
	for _, name := range []string{"control-plane-0", "worker-0"} {
		if _, err := d.Create(t.Context(), machines.Spec{Cluster: id, Name: name, Hostname: "demo-" + name, Image: "i"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Start(t.Context(), id, "control-plane-0"); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := io.WriteString(w, "rotated "+hidden+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]map[string]string{
		"control-plane-0": {
			"/etc/kubernetes/pki/ca.key":                key,
			"/etc/kubernetes/manifests/etcd.yaml":       "env:\n- name: A_TOKEN\n  value: of-a-manifest\n",
			"/var/log/pods/a_b_c/app/0.log":             "said " + hidden + " and " + body + "\n",
			"/var/log/pods/a_b_c/app/0.log.20261121.gz": packed.String(),
			"/var/log/pods/a_b_c/app/1.log.gz":          "not packed",
			"/var/log/loam/kubeadm-init.log":            "kubeadm join --token abcdef.0123456789abcdef\n",
		},
		"worker-0": {"/var/log/pods/d_e_f/app/0.log": "of a worker that is off\n"},
	} {
		for path, text := range files {
			if err := d.PutFiles(t.Context(), id, name, []machines.File{{Path: path, Content: []byte(text)}}); err != nil {
				t.Fatal(err)
			}
		}
		description, err := d.Describe(t.Context(), id, name)
		if err != nil {
			t.Fatal(err)
		}
		v.Machines = append(v.Machines, description)
	}
	d.Outside.Logs = map[string]string{"control-plane-0": "booted\n" + key, "worker-0": "booted\n"}
	d.Script = func(_ context.Context, _ fake.Guest, c machines.Command) error {
		_, err := fmt.Fprintf(c.Stdout, "%s says password=%s\n", strings.Fields(c.Args[2])[0], hidden)
		return err
	}
	return d, &export.Exporter{
		Machines: d, View: v, Texts: map[string]string{"inspect.txt": "page of " + hidden + "\n"},
		Objects: objects(), Say: func(string, ...any) {},
	}
}

// objects are those of a cluster that has one of each kind.
func objects() *export.Objects {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{
			Namespace: "shop", Name: name, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "somebody"}},
			Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "note": "kept"},
		}
	}
	at := metav1.NewTime(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	client := dynamicfake.NewSimpleDynamicClient(scheme.Scheme, []runtime.Object{
		&corev1.Secret{ObjectMeta: meta("s"), Data: map[string][]byte{"p": []byte(hidden), "namespace": []byte("kube-system"), "key": []byte("of-a-secret-object")}},
		&corev1.Secret{ObjectMeta: meta("t"), Type: corev1.SecretTypeBootstrapToken, Data: map[string][]byte{"expiration": []byte("2026-11-21T12:00:00Z"), "token-secret": []byte("0123456789abcdef")}},
		&corev1.ConfigMap{ObjectMeta: meta("c"), Data: map[string]string{"a": "is " + hidden, "where": "kube-system"}},
		&corev1.Event{ObjectMeta: meta("late"), Reason: "Late", LastTimestamp: metav1.NewTime(at.Add(time.Hour)), InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "p", Namespace: "shop"}, Message: "two\nlines"},
		&corev1.Event{ObjectMeta: meta("early"), Reason: "Early", EventTime: metav1.NewMicroTime(at.Time), InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: "n"}},
	}...)
	list := metav1.Verbs{"list"}
	return &export.Objects{Dynamic: client, Discovery: &discoveryfake.FakeDiscovery{Fake: &clienttesting.Fake{Resources: []*metav1.APIResourceList{
		{GroupVersion: "v1", APIResources: []metav1.APIResource{
			{Name: "secrets", Kind: "Secret", Verbs: list, Namespaced: true}, {Name: "configmaps", Kind: "ConfigMap", Verbs: list, Namespaced: true},
			{Name: "events", Kind: "Event", Verbs: list, Namespaced: true}, {Name: "bindings", Kind: "Binding", Verbs: metav1.Verbs{"create"}, Namespaced: true},
		}},
		{GroupVersion: "events.k8s.io/v1", APIResources: []metav1.APIResource{{Name: "events", Kind: "Event", Verbs: list, Namespaced: true}}},
	}}}}
}

// read reads a folder whole, and holds that only its owner can.
func read(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(folder, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", at, info.Mode().Perm(), want)
		}
		if entry.IsDir() {
			return nil
		}
		text, err := os.ReadFile(at)
		name, _ := filepath.Rel(folder, at)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		for _, secret := range []string{body, hidden, "0123456789abcdef", "of-a-manifest", "of-a-secret-object"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has the secret %q:\n%s", name, secret, text)
			}
		}
	}
	return files
}

func want(t *testing.T, files, want map[string]string) {
	t.Helper()
	for name, part := range want {
		if text, found := files[name]; !found || !strings.Contains(text, part) {
			t.Errorf("%s is %q (there: %v), want it to have %q", name, text, found, part)
		}
	}
}

func TestExport(t *testing.T) {
	_, e := world(t)
	folder := filepath.Join(t.TempDir(), "deep", "logs")
	if err := e.Export(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	files := read(t, folder)
	want(t, files, map[string]string{
		"inspect.txt":                                        "page of ***",
		"demo-control-plane-0/container.log":                 "booted",
		"demo-control-plane-0/kubelet.log":                   "journalctl says password=***",
		"demo-control-plane-0/pods/a_b_c/app/0.log":          "said *** and ***",
		"demo-control-plane-0/pods/a_b_c/app/0.log.20261121": "rotated ***",
		"demo-control-plane-0/manifests/etcd.yaml":           "value: ***",
		"demo-control-plane-0/loam/kubeadm-init.log":         "--token ***",
		"demo-worker-0/pods/d_e_f/app/0.log":                 "of a worker that is off",
		"cluster/objects/configmaps.yaml":                    "where: kube-system",
		"cluster/events.txt":                                 "2026-11-21T13:00:00Z  1            Late    shop/pod/p  two lines",
		"missing.txt":                                        "journals and processes of demo-worker-0: its machine is created",
	})
	if strings.Index(files["cluster/events.txt"], "Early") > strings.Index(files["cluster/events.txt"], "Late") {
		t.Errorf("events are not in order:\n%s", files["cluster/events.txt"])
	}
	if text := files["cluster/objects/configmaps.yaml"]; strings.Contains(text, "somebody") || strings.Contains(text, "last-applied") || !strings.Contains(text, "note: kept") {
		t.Errorf("config maps are\n%s", text)
	}
	if !strings.Contains(files["missing.txt"], "1.log.gz") {
		t.Errorf("a log that cannot be unpacked is not missed:\n%s", files["missing.txt"])
	}
	for _, none := range []string{"cluster/objects/secrets.yaml", "cluster/objects/events.events.k8s.io.yaml", "cluster/objects/bindings.yaml"} {
		if _, found := files[none]; found {
			t.Errorf("%s is there", none)
		}
	}
	if err := e.Export(t.Context(), folder); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a second export into the folder gives %v", err)
	}
}

func TestExportWithoutTheCluster(t *testing.T) {
	d, e := world(t)
	e.Objects, e.View.Page.API.Problem = nil, "connection refused"
	d.Fail = func(c fake.Call) error {
		if c.Method == fake.Run || c.Method == fake.Log {
			return fault.New(fault.Transient, "the engine stumbled")
		}
		return nil
	}
	// Without Secrets only what looks like one is known to be.
	if err := d.PutFiles(t.Context(), id, "control-plane-0", []machines.File{
		{Path: "/var/log/pods/a_b_c/app/0.log", Content: []byte("password=" + hidden + " " + body)}, {Path: "/var/log/pods/a_b_c/app/0.log.20261121.gz"},
	}); err != nil {
		t.Fatal(err)
	}
	e.Texts = nil
	folder := t.TempDir()
	if err := e.Export(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	files := read(t, folder)
	want(t, files, map[string]string{"demo-control-plane-0/pods/a_b_c/app/0.log": "password=*** ***"})
	for _, part := range []string{"objects and events: the API server does not answer: connection refused", "demo-control-plane-0/journal.log", "demo-worker-0/container.log"} {
		if !strings.Contains(files["missing.txt"], part) {
			t.Errorf("missing.txt does not say %q:\n%s", part, files["missing.txt"])
		}
	}
}

func TestFolderThatCannotBe(t *testing.T) {
	_, e := world(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{file, filepath.Join(file, "below")} {
		if err := e.Export(t.Context(), folder); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s gives %v, want Invalid", folder, err)
		}
	}
}

func TestArchive(t *testing.T) {
	_, e := world(t)
	folder, file := t.TempDir(), filepath.Join(t.TempDir(), "logs.tar.gz")
	if err := e.Export(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	if err := export.Archive(folder, "logs", file); err != nil {
		t.Fatal(err)
	}
	packed, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = packed.Close() }() // only read
	if info, err := packed.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the archive is %v, %v", info.Mode(), err)
	}
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for archive := tar.NewReader(unpacked); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		name, found := strings.CutPrefix(header.Name, "logs/")
		if !found || header.Mode != 0o600 {
			t.Errorf("%s has mode %o", header.Name, header.Mode)
		}
		got[name] = string(text)
	}
	if files := read(t, folder); fmt.Sprint(got) != fmt.Sprint(files) {
		t.Errorf("the archive has\n%v\nthe folder\n%v", got, files)
	}
}
