package conformance_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
)

func apiChecks() []check {
	return []check{
		{"watch and bookmarks", "a watch that goes on from a version misses nothing, and is told how far it is", watching},
		{"server-side apply", "two owners of one field are in conflict, and each keeps its other fields", serverSideApply},
		{"pages", "a list comes in pages of one moment, and selectors choose from it", pages},
		{"concurrent change and dry run", "who changes an old version is refused, and a dry run changes nothing", concurrency},
		{"owners", "what an owner leaves goes with it, and a finalizer keeps it until it is let go", owners},
		{"events", "what happens to a pod is told in its events", events},
		{"leases", "every node renews its lease", leases},
	}
}

func watching(s *scope) {
	maps := s.set.CoreV1().ConfigMaps(s.namespace)
	list, err := maps.List(s.ctx, metav1.ListOptions{})
	s.must(err)
	s.configMap("first", nil)
	s.configMap("second", nil)
	s.must(maps.Delete(s.ctx, "first", metav1.DeleteOptions{}))
	w, err := maps.Watch(s.ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion, AllowWatchBookmarks: true, FieldSelector: "metadata.name!=kube-root-ca.crt"})
	s.must(err)
	defer w.Stop()
	var seen []string
	for event := range w.ResultChan() {
		if event.Type == watch.Bookmark {
			continue
		}
		seen = append(seen, string(event.Type)+" "+event.Object.(*corev1.ConfigMap).Name)
		if len(seen) == 3 {
			break
		}
	}
	if got := strings.Join(seen, ", "); got != "ADDED first, ADDED second, DELETED first" {
		s.Errorf("it is told %q", got)
	}
	// A watch list says by a bookmark where its beginning ends.
	w, err = maps.Watch(s.ctx, metav1.ListOptions{SendInitialEvents: new(true), ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, AllowWatchBookmarks: true})
	s.must(err)
	defer w.Stop()
	for event := range w.ResultChan() {
		if event.Type == watch.Bookmark {
			if event.Object.(*corev1.ConfigMap).Annotations[metav1.InitialEventsAnnotationKey] != "true" {
				s.Error("the bookmark does not end the beginning")
			}
			return
		}
	}
	s.Error("there was no bookmark")
}

func serverSideApply(s *scope) {
	maps := s.set.CoreV1().ConfigMaps(s.namespace)
	apply := func(owner string, data map[string]string, force bool) (*corev1.ConfigMap, error) {
		return maps.Apply(s.ctx, applycorev1.ConfigMap("shared", s.namespace).WithData(data), metav1.ApplyOptions{FieldManager: owner, Force: force})
	}
	_, err := apply("one", map[string]string{"a": "1", "b": "1"}, false)
	s.must(err)
	if _, err := apply("two", map[string]string{"a": "2", "c": "2"}, false); !apierrors.IsConflict(err) {
		s.Errorf("a field of another gives %v, want a conflict", err)
	}
	_, err = apply("two", map[string]string{"a": "2", "c": "2"}, true)
	s.must(err)
	got, err := apply("one", map[string]string{}, false)
	s.must(err)
	if fmt.Sprint(got.Data) != "map[a:2 c:2]" {
		s.Errorf("after the first owner left, the data are %v", got.Data)
	}
}

func pages(s *scope) {
	for i := range 5 {
		_, err := s.set.CoreV1().ConfigMaps(s.namespace).Create(s.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("m%d", i), Labels: map[string]string{"odd": fmt.Sprint(i % 2)},
		}}, metav1.CreateOptions{})
		s.must(err)
	}
	options := metav1.ListOptions{Limit: 2, LabelSelector: "odd in (0,1)"}
	var names, versions []string
	for {
		page, err := s.set.CoreV1().ConfigMaps(s.namespace).List(s.ctx, options)
		s.must(err)
		for _, m := range page.Items {
			names = append(names, m.Name)
		}
		versions = append(versions, page.ResourceVersion)
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
		s.configMap(fmt.Sprintf("m0-%d", len(versions)), nil) // comes too late for this list
	}
	if strings.Join(names, " ") != "m0 m1 m2 m3 m4" || len(versions) != 3 || len(slices.Compact(versions)) != 1 {
		s.Errorf("the pages hold %v of versions %v", names, versions)
	}
	odd, err := s.set.CoreV1().ConfigMaps(s.namespace).List(s.ctx, metav1.ListOptions{LabelSelector: "odd=1", FieldSelector: "metadata.name=m3"})
	s.must(err)
	if len(odd.Items) != 1 {
		s.Errorf("both selectors give %d", len(odd.Items))
	}
}

func concurrency(s *scope) {
	s.configMap("m", nil)
	maps := s.set.CoreV1().ConfigMaps(s.namespace)
	old, err := maps.Get(s.ctx, "m", metav1.GetOptions{})
	s.must(err)
	_, err = maps.Patch(s.ctx, "m", types.MergePatchType, []byte(`{"data":{"a":"1"}}`), metav1.PatchOptions{})
	s.must(err)
	old.Data = map[string]string{"a": "2"}
	if _, err := maps.Update(s.ctx, old, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		s.Errorf("a change of an old version gives %v", err)
	}
	tried, err := maps.Patch(s.ctx, "m", types.MergePatchType, []byte(`{"data":{"a":"3"}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
	s.must(err)
	now, err := maps.Get(s.ctx, "m", metav1.GetOptions{})
	s.must(err)
	if tried.Data["a"] != "3" || now.Data["a"] != "1" {
		s.Errorf("the dry run shows %v, and there is %v", tried.Data, now.Data)
	}
}

func owners(s *scope) {
	s.configMap("owner", nil)
	maps := s.set.CoreV1().ConfigMaps(s.namespace)
	owner, err := maps.Get(s.ctx, "owner", metav1.GetOptions{})
	s.must(err)
	_, err = maps.Create(s.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name: "owned", Finalizers: []string{"loam.dev/keep"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}},
	}}, metav1.CreateOptions{})
	s.must(err)
	s.must(maps.Delete(s.ctx, "owner", metav1.DeleteOptions{}))
	s.until("it is to be deleted", func() (bool, error) {
		owned, err := maps.Get(s.ctx, "owned", metav1.GetOptions{})
		return err == nil && owned.DeletionTimestamp != nil, err
	})
	_, err = maps.Patch(s.ctx, "owned", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	s.must(err)
	if _, err := maps.Get(s.ctx, "owned", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		s.Errorf("after its finalizer it gives %v", err)
	}
}

func events(s *scope) {
	s.running(s.pod("told", stay))
	s.eventually(func() error {
		list, err := s.set.CoreV1().Events(s.namespace).List(s.ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=told"})
		if err != nil {
			return err
		}
		var reasons []string
		for _, e := range list.Items {
			reasons = append(reasons, e.Reason)
		}
		for _, want := range []string{"Scheduled", "Pulled", "Created", "Started"} {
			if !slices.Contains(reasons, want) {
				return fmt.Errorf("there are events %v, not %s", reasons, want)
			}
		}
		return nil
	})
}

func leases(s *scope) {
	before := map[string]time.Time{}
	s.until("all nodes have renewed their leases", func() (bool, error) {
		list, err := s.set.CoordinationV1().Leases("kube-node-lease").List(s.ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		renewed := 0
		for _, l := range list.Items {
			if _, known := before[l.Name]; !known {
				before[l.Name] = l.Spec.RenewTime.Time
			}
			if l.Spec.RenewTime.After(before[l.Name]) {
				renewed++
			}
		}
		return renewed == len(s.addresses), nil
	})
}

// errNot says that something was not what it should be.
func errNot(what string, err error) error {
	if err == nil {
		return errors.New("it was not " + what)
	}
	return fmt.Errorf("it was not %s: %w", what, err)
}
