package prefill_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/loam-cloud/loam/shoots/prefill"
)

var created = time.Date(2026, 11, 22, 8, 0, 0, 123, time.UTC)

// cluster has UIDs that are numbered after a first letter.
func cluster(version, letter string) prefill.Cluster {
	n := 0
	return prefill.Cluster{KubernetesVersion: version, CA: []byte("the CA"), Created: created, NewUID: func() types.UID {
		n++
		return types.UID(letter + strconv.Itoa(n))
	}}
}

// TestEtcd sends the requests to a real etcd and reads what it holds then: objects of
// Kubernetes, each under the key at which an API server looks for it, which are not
// changed by the requests of another machine.
func TestEtcd(t *testing.T) {
	t.Parallel()
	server := start(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix:" + server.Clients[0].Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	for _, letter := range []string{"a", "b"} {
		requests, err := prefill.Requests(cluster("v1.36.3", letter))
		if err != nil {
			t.Fatal(err)
		}
		for i, succeeded := range send(t, server.Clients[0].Addr().String(), requests) {
			if succeeded != (letter == "a") {
				t.Errorf("request %d of machine %s: succeeded is %v", i, letter, succeeded)
			}
		}
	}

	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, rbacv1.AddToScheme, schedulingv1.AddToScheme} {
		utilruntime.Must(add(scheme))
	}
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	all, err := client.Get(t.Context(), "/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	uids, kinds := map[types.UID]bool{}, map[string]int{}
	for _, kv := range all.Kvs {
		o, kind, err := codecs.UniversalDeserializer().Decode(kv.Value, nil, nil)
		if err != nil {
			t.Errorf("%s: %v", kv.Key, err)
			continue
		}
		m := o.(metav1.Object)
		if !strings.HasSuffix(string(kv.Key), "/"+strings.TrimPrefix(m.GetNamespace()+"/"+m.GetName(), "/")) {
			t.Errorf("%s holds %s/%s", kv.Key, m.GetNamespace(), m.GetName())
		}
		if !strings.HasPrefix(string(m.GetUID()), "a") || uids[m.GetUID()] || !m.GetCreationTimestamp().Time.Equal(created.Truncate(time.Second)) {
			t.Errorf("%s: UID %q, created %s", kv.Key, m.GetUID(), m.GetCreationTimestamp())
		}
		uids[m.GetUID()] = true
		kinds[kind.Kind]++
	}
	for kind, least := range map[string]int{"Namespace": 4, "ConfigMap": 4, "PriorityClass": 2, "ServiceAccount": 30, "ClusterRole": 60, "ClusterRoleBinding": 50, "Role": 5, "RoleBinding": 5} {
		if kinds[kind] < least {
			t.Errorf("%d of %s, want at least %d", kinds[kind], kind, least)
		}
	}
	if got, err := client.Get(t.Context(), "/registry/configmaps/kube-system/kube-root-ca.crt"); err != nil || len(got.Kvs) != 1 || !bytes.Contains(got.Kvs[0].Value, []byte(`"ca.crt":"the CA"`)) {
		t.Errorf("the CA: %v, %v", got, err)
	}
}

// TestOtherMinor leaves roles to an API server whose default ones are not known here.
func TestOtherMinor(t *testing.T) {
	t.Parallel()
	for version, roles := range map[string]bool{"v1.36.0": true, "v1.36.9": true, "v1.35.4": false, "v1.37.1": false} {
		requests, err := prefill.Requests(cluster(version, "a"))
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for reader := bufio.NewReader(bytes.NewReader(requests)); ; {
			request, err := http.ReadRequest(reader)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			var body struct{ Compare []struct{ Key []byte } }
			if err := json.NewDecoder(request.Body).Decode(&body); err != nil {
				t.Fatal(err)
			}
			for _, c := range body.Compare {
				keys = append(keys, string(c.Key))
			}
		}
		all := strings.Join(keys, "\n")
		if !strings.Contains(all, "/registry/namespaces/kube-system") {
			t.Errorf("%s: no namespaces in %s", version, all)
		}
		if got := strings.Contains(all, "role"); got != roles {
			t.Errorf("%s: roles is %v, want %v", version, got, roles)
		}
	}
	if _, err := prefill.Requests(cluster("latest", "a")); err == nil {
		t.Error("a version that is none: no error")
	}
}

// send sends requests over one connection until the other side ends it, and says
// which were carried out.
func send(t *testing.T, address string, requests []byte) []bool {
	t.Helper()
	connection, err := net.Dial("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := connection.Write(requests); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	var succeeded []bool
	answers := bufio.NewReader(bytes.NewReader(text))
	for {
		if _, err := answers.Peek(1); err != nil {
			return succeeded
		}
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", answer.Status, body, err)
		}
		var result struct{ Succeeded bool }
		if err := json.Unmarshal(body, &result); err != nil {
			t.Fatal(err)
		}
		succeeded = append(succeeded, result.Succeeded)
	}
}

// start starts an etcd of its own on loopback.
func start(t *testing.T) *embed.Etcd {
	t.Helper()
	config := embed.NewConfig()
	config.Dir, config.LogLevel, config.LogOutputs = t.TempDir(), "error", []string{"stderr"}
	// The gateway asks the first address that is listened at, which has to be known.
	config.ListenClientUrls = []url.URL{{Scheme: "unix", Path: filepath.Join(t.TempDir(), "etcd")}}
	config.AdvertiseClientUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	config.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	config.AdvertisePeerUrls = config.ListenPeerUrls
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(time.Minute):
		t.Fatal("etcd is not ready")
	}
	return server
}
