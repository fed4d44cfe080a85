package controllertest

import (
	"context"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/loam-cloud/loam/controllers/index"
)

// Indexes stand in for those of a cache, for clients that read without one.
type Indexes struct {
	scheme *runtime.Scheme
	values map[schema.GroupVersionKind]map[string]client.IndexerFunc
}

// IndexField implements client.FieldIndexer.
func (i *Indexes) IndexField(_ context.Context, object client.Object, key string, value client.IndexerFunc) error {
	gvk, err := apiutil.GVKForObject(object, i.scheme)
	if err != nil {
		return err
	}
	if i.values[gvk] == nil {
		i.values[gvk] = map[string]client.IndexerFunc{}
	}
	i.values[gvk][key] = value
	return nil
}

// Indexed returns a client as Client does that also lists by the indexes of app,
// and by those that ensure adds.
func Indexed(tb testing.TB, ensure ...func(context.Context, client.FieldIndexer) error) (client.WithWatch, *Writes) {
	tb.Helper()
	inner, writes := Client(tb)
	indexes := &Indexes{scheme: inner.Scheme(), values: map[schema.GroupVersionKind]map[string]client.IndexerFunc{}}
	for _, register := range append(ensure, index.Register) {
		if err := register(tb.Context(), indexes); err != nil {
			tb.Fatal(err)
		}
	}
	return interceptor.NewClient(inner, interceptor.Funcs{List: indexes.list}), writes
}

// list takes from the server what the options without an index select, and
// picks from that what an index selects.
func (i *Indexes) list(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
	options := (&client.ListOptions{}).ApplyOptions(opts)
	gvk, err := apiutil.GVKForObject(list, i.scheme)
	if err != nil {
		return err
	}
	gvk.Kind = gvk.Kind[:len(gvk.Kind)-len("List")]
	var wanted fields.Requirements
	if options.FieldSelector != nil {
		wanted = options.FieldSelector.Requirements()
	}
	indexed := i.values[gvk]
	if len(wanted) == 0 || indexed[wanted[0].Field] == nil {
		return c.List(ctx, list, opts...)
	}
	options.FieldSelector = nil
	if err := c.List(ctx, list, options); err != nil {
		return err
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return err
	}
	return meta.SetList(list, slices.DeleteFunc(items, func(item runtime.Object) bool {
		return slices.ContainsFunc(wanted, func(r fields.Requirement) bool {
			return !slices.Contains(indexed[r.Field](item.(client.Object)), r.Value)
		})
	}))
}
