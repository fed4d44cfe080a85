package conformance_test

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

func storageChecks() []check {
	return []check{
		{"empty folder", "containers of a pod share a folder, in memory if they want", emptyDir},
		{"config map volume", "files follow a config map, and a path in it can be chosen", configMapVolume},
		{"secret volume", "a secret's files have the mode that is asked for, and one that is immutable stays", secretVolume},
		{"projected volume", "several sources lie in one folder", projected},
		{"host path", "a folder of the node is seen by two pods after each other", hostPath},
		{"sub path", "a container sees one folder of a volume only", subPath},
		{"persistent volume", "a claim gets a volume of the default class, whose data outlives pods, and which goes with the claim", persistent},
		{"ephemeral volume", "a claim that belongs to a pod comes and goes with it", ephemeralVolume},
	}
}

func emptyDir(s *scope) {
	p := s.pod("share", "until test -e /a/file; do sleep 0.1; done; cat /a/file; grep ' /b ' /proc/mounts")
	p.Spec.Containers = append(p.Spec.Containers, container("writer", "echo shared >/a/file"))
	volume("a", scratch(), "/a")(p)
	volume("b", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}, "/b")(p)
	s.create(p)
	s.ended("share")
	got := s.containerLogs("share", &corev1.PodLogOptions{Container: "main"})
	s.says(got, "shared")
	s.says(got, "tmpfs /b tmpfs")
}

func configMapVolume(s *scope) {
	s.configMap("files", map[string]string{"colour": "red", "other": "x"})
	source := corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "files"}, Items: []corev1.KeyToPath{{Key: "colour", Path: "deep/colour"}},
	}}
	s.running(s.pod("reader", stay, volume("files", source, "/files")))
	s.says(s.sh("reader", "cat /files/deep/colour; ls /files"), "red")
	_, err := s.set.CoreV1().ConfigMaps(s.namespace).Patch(s.ctx, "files", types.MergePatchType, []byte(`{"data":{"colour":"blue"}}`), metav1.PatchOptions{})
	s.must(err)
	// A change of the pod has the kubelet look at its volumes now, not within a minute.
	_, err = s.set.CoreV1().Pods(s.namespace).Patch(s.ctx, "reader", types.MergePatchType, []byte(`{"metadata":{"annotations":{"look":"now"}}}`), metav1.PatchOptions{})
	s.must(err)
	s.sh("reader", "grep blue /files/deep/colour")
}

func secretVolume(s *scope) {
	_, err := s.set.CoreV1().Secrets(s.namespace).Create(s.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "fixed"}, Immutable: ptr.To(true), StringData: map[string]string{"key": "hidden"},
	}, metav1.CreateOptions{})
	s.must(err)
	source := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "fixed", DefaultMode: ptr.To(int32(0o400))}}
	if got := strings.Fields(s.output(s.pod("reader", "cat /keys/key; echo; stat -L -c %a /keys/key", volume("keys", source, "/keys")))); len(got) != 2 || got[0] != "hidden" || got[1] != "400" {
		s.Errorf("the file and its mode are %v", got)
	}
	_, err = s.set.CoreV1().Secrets(s.namespace).Patch(s.ctx, "fixed", types.MergePatchType, []byte(`{"stringData":{"key":"other"}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) {
		s.Errorf("a change gives %v, want Invalid", err)
	}
}

func projected(s *scope) {
	s.configMap("a", map[string]string{"one": "1"})
	s.secret("b", map[string]string{"two": "2"})
	sources := []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "a"}}},
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "b"}}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "name", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}},
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", Audience: "vault", ExpirationSeconds: ptr.To(int64(600))}},
	}
	p := s.pod("all", "cat /all/one /all/two /all/name; test -s /all/token && echo token", volume("all", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}, "/all"))
	if got := strings.TrimSpace(s.output(p)); got != "12alltoken" {
		s.Errorf("the files are %q", got)
	}
}

func hostPath(s *scope) {
	source := corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/tmp/" + s.namespace, Type: ptr.To(corev1.HostPathDirectoryOrCreate)}}
	s.output(s.pod("writer", "echo kept >/node/file", onNode(s.workers[0]), volume("node", source, "/node")))
	s.says(s.output(s.pod("reader", "cat /node/file; rm /node/file", onNode(s.workers[0]), volume("node", source, "/node"))), "kept")
}

func subPath(s *scope) {
	p := s.pod("part", "echo mine >/part/file; ls /part")
	p.Spec.InitContainers = []corev1.Container{container("fill", "mkdir /all/a /all/b; echo other >/all/b/other")}
	p.Spec.Volumes = []corev1.Volume{{Name: "all", VolumeSource: scratch()}}
	p.Spec.InitContainers[0].VolumeMounts = []corev1.VolumeMount{{Name: "all", MountPath: "/all"}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "all", MountPath: "/part", SubPath: "a"}}
	if got := strings.TrimSpace(s.output(p)); got != "file" {
		s.Errorf("it sees %q", got)
	}
}

func claim() corev1.PersistentVolumeClaimSpec {
	return corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("8Mi")}},
	}
}

func persistent(s *scope) {
	claims := s.set.CoreV1().PersistentVolumeClaims(s.namespace)
	_, err := claims.Create(s.ctx, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: claim()}, metav1.CreateOptions{})
	s.must(err)
	source := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}
	s.output(s.pod("writer", "echo kept >/data/file", volume("data", source, "/data")))
	s.must(s.set.CoreV1().Pods(s.namespace).Delete(s.ctx, "writer", metav1.DeleteOptions{}))
	s.says(s.output(s.pod("reader", "cat /data/file", volume("data", source, "/data"))), "kept")
	bound, err := claims.Get(s.ctx, "data", metav1.GetOptions{})
	s.must(err)
	if bound.Status.Phase != corev1.ClaimBound || ptr.Deref(bound.Spec.StorageClassName, "") == "" {
		s.Errorf("the claim is %s of class %v", bound.Status.Phase, bound.Spec.StorageClassName)
	}
	s.must(s.set.CoreV1().Pods(s.namespace).Delete(s.ctx, "reader", metav1.DeleteOptions{}))
	s.must(claims.Delete(s.ctx, "data", metav1.DeleteOptions{}))
	s.until("the volume is gone", func() (bool, error) {
		_, err := s.set.CoreV1().PersistentVolumes().Get(s.ctx, bound.Spec.VolumeName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}

func ephemeralVolume(s *scope) {
	source := corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: claim()}}}
	s.running(s.pod("owner", stay, volume("own", source, "/own")))
	claims := s.set.CoreV1().PersistentVolumeClaims(s.namespace)
	got, err := claims.Get(s.ctx, "owner-own", metav1.GetOptions{})
	s.must(err)
	if got.Status.Phase != corev1.ClaimBound {
		s.Errorf("its claim is %s", got.Status.Phase)
	}
	s.must(s.set.CoreV1().Pods(s.namespace).Delete(s.ctx, "owner", metav1.DeleteOptions{}))
	s.until("the claim is gone", func() (bool, error) {
		_, err := claims.Get(s.ctx, "owner-own", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}
