package landscape_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/garden/gardentest"
)

const (
	wrongVariants = "testdata/wrong"
	// bases are objects that variants begin with and that nothing applies.
	bases = "testdata/bases.yaml"
	// enough is the number of wrong variants that there have to be.
	enough = 220
)

// variant is an object with something wrong.
type variant struct {
	// Name says what is wrong.
	Name string `json:"name"`
	// Object is what the variant is made of: Kind/name, or Kind/namespace/name.
	Object string `json:"object"`
	// Update changes the object that is there; without, another one is created.
	Update bool `json:"update"`
	// Status changes the status of the object that is there.
	Status bool `json:"status"`
	// Delete deletes it.
	Delete bool `json:"delete"`
	// As is who does so; an administrator if empty.
	As string `json:"as"`
	// Rename is the name of what is created; "wrong" if empty.
	Rename string `json:"rename"`
	// Merge and Patch are what is done to the object, a merge patch or a JSON patch.
	Merge json.RawMessage `json:"merge"`
	Patch json.RawMessage `json:"patch"`
	// Want has one entry per problem, what it begins with: its field, the bad value
	// where there is one, and what would be right. There must be neither more nor
	// less. An answer that is no list of problems has to have its entry in it.
	Want []string `json:"want"`
}

// wrong wants exactly the expected list of problems for each wrong variant.
// Nothing is stored: all are dry runs.
func wrong(t *testing.T, server *rest.Config) {
	clients := map[string]client.Client{}
	as := func(t *testing.T, user string) client.Client {
		t.Helper()
		if clients[user] == nil {
			config := rest.CopyConfig(server)
			config.Impersonate.UserName = user
			clients[user] = gardentest.ClientFor(t, config)
		}
		return clients[user]
	}
	objects := byName(t, readObjects(t, bases))
	files, err := filepath.Glob(filepath.Join(wrongVariants, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var variants []variant
		if err := yaml.UnmarshalStrict(text, &variants); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		count += len(variants)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			for _, v := range variants {
				t.Run(v.Name, func(t *testing.T) {
					base, found := objects[v.Object]
					if !found {
						t.Fatalf("no object %q", v.Object)
					}
					wantProblems(t, v.apply(t, as, base), v.Want)
				})
			}
		})
	}
	if count < enough {
		t.Errorf("%d wrong variants, want at least %d", count, enough)
	}
}

// readObjects returns everything of the landscape and the other files, in order.
func readObjects(t *testing.T, others ...string) []*unstructured.Unstructured {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(landscape, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for _, file := range append(files, others...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
			object := &unstructured.Unstructured{}
			if err := decoder.Decode(object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			objects = append(objects, object)
		}
	}
	return objects
}

// byName finds objects by Kind[/namespace]/name.
func byName(t *testing.T, objects []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	t.Helper()
	named := map[string]*unstructured.Unstructured{}
	for _, object := range objects {
		key := object.GetKind() + "/" + object.GetName()
		if object.GetNamespace() != "" {
			key = object.GetKind() + "/" + object.GetNamespace() + "/" + object.GetName()
		}
		if named[key] != nil {
			t.Fatalf("%s is there twice", key)
		}
		named[key] = object
	}
	return named
}

// apply does what the variant says and returns the server's answer.
func (v variant) apply(t *testing.T, as func(*testing.T, string) client.Client, base *unstructured.Unstructured) error {
	t.Helper()
	c := as(t, v.As)
	ctx, dryRun := context.Background(), []string{metav1.DryRunAll}
	object := base.DeepCopy()
	if v.Delete {
		return c.Delete(ctx, object, &client.DeleteOptions{DryRun: dryRun})
	}
	if v.Update || v.Status {
		// As an administrator: who may not read it may still try to change it.
		if err := as(t, "").Get(ctx, client.ObjectKeyFromObject(base), object); err != nil {
			t.Fatal(err)
		}
	}
	object = v.changed(t, object)
	if v.Status {
		return c.Status().Update(ctx, object, &client.SubResourceUpdateOptions{UpdateOptions: client.UpdateOptions{DryRun: dryRun}})
	}
	if v.Update {
		return c.Update(ctx, object, &client.UpdateOptions{DryRun: dryRun})
	}
	name := v.Rename
	if name == "" {
		name = "wrong"
	}
	object.SetName(name)
	return c.Create(ctx, object, &client.CreateOptions{DryRun: dryRun})
}

func (v variant) changed(t *testing.T, object *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	text, err := object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if v.Merge != nil {
		if text, err = jsonpatch.MergePatch(text, v.Merge); err != nil {
			t.Fatal(err)
		}
	}
	if v.Patch != nil {
		patch, err := jsonpatch.DecodePatch(v.Patch)
		if err != nil {
			t.Fatal(err)
		}
		if text, err = patch.Apply(text); err != nil {
			t.Fatal(err)
		}
	}
	result := &unstructured.Unstructured{}
	if err := result.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	return result
}

// wantProblems compares what an answer lists with what it should. An answer that
// is not a list is compared as a whole.
func wantProblems(t *testing.T, err error, want []string) {
	t.Helper()
	if err == nil {
		t.Fatal("it was accepted")
	}
	if meta.IsNoMatchError(err) || len(want) == 0 {
		t.Fatalf("got %v, want %q", err, want)
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		t.Fatalf("not an answer of the server: %v", err)
	}
	details := status.Status().Details
	if !apierrors.IsInvalid(err) || details == nil {
		if message := status.Status().Message; len(want) != 1 || !strings.Contains(message, want[0]) {
			t.Errorf("got %q, want %q", message, want)
		}
		return
	}
	var got []string
	for _, cause := range details.Causes {
		got = append(got, cause.Field+": "+cause.Message)
	}
	left := slices.Clone(details.Causes)
	for _, one := range want {
		at := slices.IndexFunc(left, func(cause metav1.StatusCause) bool { return strings.HasPrefix(cause.Field+": "+cause.Message, one) })
		if at < 0 {
			t.Errorf("no problem begins with %q in\n%s", one, strings.Join(got, "\n"))
			continue
		}
		if head := left[at].Field + ": " + withoutAdvice(t, left[at]); len(one) <= len(head) {
			t.Errorf("%q says nothing about what would be right: it has to go on after %q", one, head)
		}
		left = slices.Delete(left, at, at+1)
	}
	for _, cause := range left {
		t.Errorf("besides: %s: %s", cause.Field, cause.Message)
	}
}

// withoutAdvice is the beginning of a problem's message: of what kind it is, and
// the bad value. What is there twice, and what is not there, need no advice.
func withoutAdvice(t *testing.T, cause metav1.StatusCause) string {
	t.Helper()
	kind, rest, _ := strings.Cut(cause.Message, ": ")
	switch cause.Type {
	case metav1.CauseTypeFieldValueRequired, metav1.CauseType(field.ErrorTypeForbidden):
		return kind + ": "
	case metav1.CauseTypeFieldValueDuplicate, metav1.CauseTypeFieldValueNotFound:
		return strings.TrimSuffix(cause.Message, rest)
	}
	var value any
	decoder := json.NewDecoder(strings.NewReader(rest))
	if err := decoder.Decode(&value); err != nil {
		t.Errorf("%s: %s: no value: %v", cause.Field, cause.Message, err)
	}
	return kind + ": " + rest[:decoder.InputOffset()] + ": "
}
