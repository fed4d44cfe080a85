package shoots

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
)

func taint(text string) corev1.Taint {
	rest, effect, _ := strings.Cut(text, ":")
	key, value, _ := strings.Cut(rest, "=")
	return corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)}
}

func taints(texts ...string) []corev1.Taint {
	var all []corev1.Taint
	for _, t := range texts {
		all = append(all, taint(t))
	}
	return all
}

// shown is a node's labels and taints in one line, without what is always there.
func shown(n *corev1.Node) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
		if key != nodeLabelPool && key != nodeLabelWorker {
			all = append(all, key+"="+n.Labels[key])
		}
	}
	for _, t := range n.Spec.Taints {
		all = append(all, t.Key+"="+t.Value+":"+string(t.Effect))
	}
	return strings.Join(all, " ")
}

func TestMark(t *testing.T) {
	worker := func(labels map[string]string, own ...string) Pool {
		return Pool{Name: "pool", Role: v1alpha1.RoleWorker, Labels: labels, Taints: taints(own...)}
	}
	for name, tc := range map[string]struct {
		// before is the pool as it marked the node last; its zero value never did.
		before Pool
		// foreign are labels and taints of somebody else.
		foreignLabels map[string]string
		foreignTaints []corev1.Taint
		pool          Pool
		want          string
	}{
		"a new node": {
			pool: worker(map[string]string{"a": "1", "kubernetes.io/reserved": "2"}, "k=v:NoSchedule"),
			want: "a=1 kubernetes.io/reserved=2 k=v:NoSchedule",
		},
		"what left the pool leaves the node": {
			before: worker(map[string]string{"a": "1", "b": "2"}, "k=v:NoSchedule", "l=:NoExecute"),
			pool:   worker(map[string]string{"b": "2"}, "l=:NoExecute"),
			want:   "b=2 l=:NoExecute",
		},
		"values change": {
			before: worker(map[string]string{"a": "1"}, "k=v:NoSchedule"),
			pool:   worker(map[string]string{"a": "2"}, "k=w:NoSchedule"),
			want:   "a=2 k=w:NoSchedule",
		},
		"one key may have two effects": {
			before: worker(nil, "k=v:NoSchedule", "k=v:NoExecute"),
			pool:   worker(nil, "k=v:NoExecute"),
			want:   "k=v:NoExecute",
		},
		"others' stay": {
			before:        worker(map[string]string{"a": "1"}, "k=v:NoSchedule"),
			foreignLabels: map[string]string{"theirs": "x"},
			foreignTaints: taints("node.kubernetes.io/unreachable=:NoExecute", "theirs=y:NoSchedule"),
			pool:          worker(nil),
			want:          "theirs=x node.kubernetes.io/unreachable=:NoExecute theirs=y:NoSchedule",
		},
		"a control plane beside workers": {
			pool: Pool{Role: v1alpha1.RoleControlPlane},
			want: "node-role.kubernetes.io/control-plane=:NoSchedule",
		},
		"the last worker goes": {
			before: Pool{Role: v1alpha1.RoleControlPlane},
			pool:   Pool{Role: v1alpha1.RoleControlPlane, Schedulable: true},
			want:   "",
		},
		"the first worker comes": {
			before: Pool{Role: v1alpha1.RoleControlPlane, Schedulable: true, Taints: taints("k=v:NoSchedule")},
			pool:   Pool{Role: v1alpha1.RoleControlPlane, Taints: taints("k=v:NoSchedule")},
			want:   "k=v:NoSchedule node-role.kubernetes.io/control-plane=:NoSchedule",
		},
		"the user's own taint of a control plane": {
			pool: Pool{Role: v1alpha1.RoleControlPlane, Taints: taints("node-role.kubernetes.io/control-plane=:NoSchedule")},
			want: "node-role.kubernetes.io/control-plane=:NoSchedule",
		},
	} {
		t.Run(name, func(t *testing.T) {
			node := &corev1.Node{}
			if tc.before.Role != "" {
				tc.before.mark(node)
			}
			if node.Labels == nil {
				node.Labels = map[string]string{}
			}
			maps.Copy(node.Labels, tc.foreignLabels)
			node.Spec.Taints = append(slices.Clone(tc.foreignTaints), node.Spec.Taints...)
			tc.pool.mark(node)
			if got := shown(node); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if node.Labels[nodeLabelPool] != tc.pool.Name {
				t.Errorf("the pool is %q", node.Labels[nodeLabelPool])
			}
			if _, worker := node.Labels[nodeLabelWorker]; worker != (tc.pool.Role == v1alpha1.RoleWorker) {
				t.Errorf("worker is %v", worker)
			}
			again := node.DeepCopy()
			tc.pool.mark(again)
			if fmt.Sprint(again) != fmt.Sprint(node) {
				t.Errorf("marking again changed %v to %v", node, again)
			}
		})
	}
}

func TestKubeletsAreNotGivenReservedLabels(t *testing.T) {
	pool := Pool{Name: "p", Labels: map[string]string{
		"plain": "", "example.org/x": "", "node-role.kubernetes.io/x": "", "kubernetes.io/x": "", "x.k8s.io/y": "", "k8s.io/z": "", "notk8s.io/a": "",
	}}
	want := []string{"example.org/x", "notk8s.io/a", "plain", nodeLabelPool}
	if got := slices.Sorted(maps.Keys(pool.nodeLabels())); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestClassify(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for name, tc := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"none":             {nil, ""},
		"wrong in itself":  {apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "p", field.ErrorList{field.Required(field.NewPath("spec"), "")}), fault.Invalid},
		"not understood":   {apierrors.NewBadRequest("no"), fault.Invalid},
		"no such verb":     {apierrors.NewMethodNotSupported(pods, "fly"), fault.Invalid},
		"no namespace yet": {apierrors.NewNotFound(pods, "p"), fault.Waiting},
		"no kind yet":      {&meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "Thing"}}, fault.Waiting},
		"no roles yet":     {apierrors.NewForbidden(pods, "p", errors.New("no")), fault.Waiting},
		"no server yet":    {errors.New("dial tcp 127.0.0.1:1: connect: connection refused"), fault.Waiting},
		"overloaded":       {apierrors.NewTooManyRequests("slow", 1), fault.Transient},
		"changed":          {apierrors.NewConflict(pods, "p", errors.New("newer")), fault.Transient},
		"anything else":    {errors.New("odd"), fault.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			got := classify(tc.err)
			if fault.KindOf(got) != tc.want {
				t.Errorf("%v is %q, want %q", tc.err, fault.KindOf(got), tc.want)
			}
			if tc.err != nil && got.Error() != tc.err.Error() {
				t.Errorf("the message became %q", got)
			}
		})
	}
}

func TestTail(t *testing.T) {
	for text, want := range map[string]string{
		"":           "",
		"\n\n":       "",
		"one\n":      ":\none",
		"a\nb\nc\nd": ":\nc\nd",
	} {
		if got := tail(text, 2); got != want {
			t.Errorf("the last two lines of %q are %q, want %q", text, got, want)
		}
	}
}
