package export

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/tabwriter"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// Objects reads what a cluster holds.
type Objects struct {
	Discovery discovery.DiscoveryInterface
	Dynamic   dynamic.Interface
}

// NewObjects makes the clients of a cluster. They speak to it when they are used.
func NewObjects(config *rest.Config) (*Objects, error) {
	// Everything is read, what is deprecated too.
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{}
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Objects{Discovery: d, Dynamic: c}, nil
}

// pageSize is how many objects are asked for at once.
const pageSize = 500

var (
	secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	events  = schema.GroupVersionResource{Version: "v1", Resource: "events"}
)

// resources lists what can be listed, but for Secrets; of what is served by
// several groups, as events are, the older is taken.
func (o *Objects) resources() ([]schema.GroupVersionResource, error) {
	lists, err := discovery.ServerPreferredResources(o.Discovery)
	var all []schema.GroupVersionResource
	for _, list := range lists {
		group, problem := schema.ParseGroupVersion(list.GroupVersion)
		if problem != nil {
			continue
		}
		for _, r := range list.APIResources {
			one := group.WithResource(r.Name)
			again := one.Resource == events.Resource && one.Group != events.Group
			if slices.Contains(r.Verbs, "list") && one.GroupResource() != secrets.GroupResource() && !again {
				all = append(all, one)
			}
		}
	}
	slices.SortFunc(all, func(a, b schema.GroupVersionResource) int { return strings.Compare(a.String(), b.String()) })
	return all, err
}

// list visits all objects of a resource.
func (o *Objects) list(ctx context.Context, r schema.GroupVersionResource, visit func(*unstructured.Unstructured) error) error {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := o.Dynamic.Resource(r).List(ctx, options)
		if err != nil {
			return err
		}
		for i := range page.Items {
			if err := visit(&page.Items[i]); err != nil {
				return err
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// public are keys of Secrets whose values everybody may know, and that occur
// everywhere.
func public(key string) bool {
	return slices.Contains([]string{"ca.crt", "tls.crt", "namespace", "username", "user", "host", "port", "type", "name", "database", "dbname"}, key)
}

// secretValues are the values of all Secrets, to be found elsewhere.
func (o *Objects) secretValues(ctx context.Context) ([][]byte, error) {
	var all [][]byte
	err := o.list(ctx, secrets, func(u *unstructured.Unstructured) error {
		var s corev1.Secret
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &s); err != nil {
			return err
		}
		for key, value := range s.Data {
			// Of a bootstrap token the rest are flags and dates.
			if public(key) || s.Type == corev1.SecretTypeBootstrapToken && key != "token-secret" {
				continue
			}
			all = append(all, value)
		}
		return nil
	})
	return all, err
}

// cluster writes the objects, one file for each resource, and the events as a
// table as well.
func (e *Exporter) cluster(ctx context.Context, b *book) error {
	if e.Objects == nil {
		b.miss("objects and events", fmt.Errorf("the API server does not answer: %s", e.View.Page.API.Problem))
		return nil
	}
	all, err := e.Objects.resources()
	if err != nil {
		b.miss("some kinds of objects", err)
	}
	for _, r := range all {
		err := b.stream(path.Join("cluster", "objects", file(r)), func(w io.Writer) error {
			return e.Objects.list(ctx, r, func(u *unstructured.Unstructured) error { return write(w, u) })
		})
		if err != nil {
			return err
		}
	}
	return b.stream(path.Join("cluster", "events.txt"), func(w io.Writer) error { return e.Objects.events(ctx, w) })
}

func file(r schema.GroupVersionResource) string {
	return strings.TrimSuffix(r.Resource+"."+r.Group, ".") + ".yaml"
}

// write writes an object without what nobody reads, and without what repeats the
// whole object as JSON in one line.
func write(w io.Writer, u *unstructured.Unstructured) error {
	u.SetManagedFields(nil)
	annotations := u.GetAnnotations()
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	u.SetAnnotations(annotations)
	text, err := yaml.Marshal(u.Object)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "---\n%s", text)
	return err
}

// events writes the events, oldest first.
func (o *Objects) events(ctx context.Context, w io.Writer) error {
	var all []corev1.Event
	err := o.list(ctx, events, func(u *unstructured.Unstructured) error {
		var e corev1.Event
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &e); err != nil {
			return err
		}
		all = append(all, e)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b corev1.Event) int { return moment(a).Compare(moment(b).Time) })
	var out bytes.Buffer
	t := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "LAST SEEN\tCOUNT\tTYPE\tREASON\tOBJECT\tMESSAGE")
	for _, e := range all {
		object := strings.TrimPrefix(fmt.Sprintf("%s/%s/%s", e.InvolvedObject.Namespace, strings.ToLower(e.InvolvedObject.Kind), e.InvolvedObject.Name), "/")
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", moment(e).UTC().Format("2006-01-02T15:04:05Z"), max(1, e.Count), e.Type, e.Reason, object, strings.ReplaceAll(e.Message, "\n", " "))
	}
	_ = t.Flush() // a buffer takes everything
	_, err = w.Write(out.Bytes())
	return err
}

// moment is when an event was last seen: newer clients fill in other fields.
func moment(e corev1.Event) metav1.Time {
	return cmp.Or(e.LastTimestamp, metav1.Time{Time: e.EventTime.Time}, e.FirstTimestamp, e.CreationTimestamp)
}
