package event_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/event"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// made is when the test's events are: no other clock is near.
func made() time.Time { return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) }

// modern is an event of the newer API.
func modern(namespace, apiVersion, kind string) *eventsv1.Event {
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "e" + rand.String(8)},
		EventTime:  metav1.NewMicroTime(made()), Regarding: corev1.ObjectReference{APIVersion: apiVersion, Kind: kind, Namespace: namespace, Name: "x"},
		Type: "Normal", Reason: "R", Action: "A", ReportingController: "test", ReportingInstance: "test",
	}
}

// legacy is one of the older.
func legacy(namespace string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: "e" + rand.String(8)},
		FirstTimestamp: metav1.NewTime(made().Add(-time.Hour)), LastTimestamp: metav1.NewTime(made()),
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: namespace, Name: "x"},
		Type:           "Normal", Reason: "R",
	}
}

// TestEvents wants an event to live for its time and not longer, by the injected
// clock.
func TestEvents(t *testing.T) {
	namespace := gardentest.Namespace(t)
	garden, writes := controllertest.Client(t)
	series := modern(namespace, "v1", "Secret")
	series.Series = &eventsv1.EventSeries{Count: 2, LastObservedTime: metav1.NewMicroTime(made().Add(30 * time.Minute))}
	old := legacy(namespace)
	old.EventTime = metav1.NewMicroTime(made().Add(10 * time.Minute))
	old.Series = &corev1.EventSeries{Count: 2, LastObservedTime: metav1.NewMicroTime(made().Add(20 * time.Minute))}
	old.Action, old.ReportingController, old.ReportingInstance = "A", "test", "test"
	old.FirstTimestamp, old.LastTimestamp = metav1.Time{}, metav1.Time{}
	for name, test := range map[string]struct {
		object client.Object
		lives  time.Duration // 0 means that it stays
	}{
		"about a secret":                    {modern(namespace, "v1", "Secret"), time.Hour},
		"about a project":                   {modern(namespace, "core.gardener.cloud/v1beta1", "Project"), time.Hour},
		"about a shoot of another group":    {modern(namespace, "garden.example.org/v1", "Shoot"), time.Hour},
		"about a shoot":                     {modern(namespace, "core.gardener.cloud/v1beta1", "Shoot"), 0},
		"about a shoot of another version":  {modern(namespace, "core.gardener.cloud/v1", "Shoot"), 0},
		"of a series":                       {series, 90 * time.Minute},
		"of the older API":                  {legacy(namespace), time.Hour},
		"of the older API, and of a series": {old, 80 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			if err := garden.Create(t.Context(), test.object); err != nil {
				t.Fatal(err)
			}
			clock := clocktesting.NewFakeClock(made().Add(50 * time.Minute))
			r := &event.Reconciler{Client: garden, Clock: clock}
			look := func() time.Duration {
				t.Helper()
				result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(test.object)})
				if err != nil {
					t.Fatal(err)
				}
				return result.RequeueAfter
			}
			exists := func() bool {
				return !apierrors.IsNotFound(garden.Get(t.Context(), client.ObjectKeyFromObject(test.object), &eventsv1.Event{}))
			}
			writes.Fail(0)
			left := look()
			if want := test.lives - 50*time.Minute; test.lives > 0 && left != want || test.lives == 0 && left != 0 {
				t.Errorf("looked at again after %s, want %s", left, want)
			}
			if !exists() || writes.Count() > 0 {
				t.Fatal("it is gone already")
			}
			if clock.Step(left); test.lives == 0 {
				clock.Step(1000 * time.Hour)
			}
			if look() != 0 || exists() == (test.lives > 0) {
				t.Errorf("after its time there: %t", exists())
			}
			look() // what is gone is no error
		})
	}
}

// TestAgain is an event that happens again while it waits for its end.
func TestAgain(t *testing.T) {
	garden, _ := controllertest.Client(t)
	e := modern(gardentest.Namespace(t), "v1", "Secret")
	if err := garden.Create(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	e.Series = &eventsv1.EventSeries{Count: 2, LastObservedTime: metav1.NewMicroTime(made().Add(30 * time.Minute))}
	if err := garden.Update(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	r := &event.Reconciler{Client: garden, Clock: clocktesting.NewFakeClock(made().Add(time.Hour))}
	result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e)})
	if err != nil || result.RequeueAfter != 30*time.Minute {
		t.Errorf("got %+v, %v", result, err)
	}
}

// TestWatches has a manager delete what is old already.
func TestWatches(t *testing.T) {
	namespace := gardentest.Namespace(t)
	garden, _ := controllertest.Client(t)
	before, shoot := modern(namespace, "v1", "Secret"), modern(namespace, "core.gardener.cloud/v1beta1", "Shoot")
	for _, e := range []client.Object{before, shoot} {
		if err := garden.Create(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	ttl := metav1.Duration{Duration: time.Minute}
	controllertest.Run(t, &event.Reconciler{Config: controllermanagerconfigv1alpha1.EventControllerConfiguration{TTLNonShootEvents: &ttl}})
	after := legacy(namespace)
	if err := garden.Create(t.Context(), after); err != nil {
		t.Fatal(err)
	}
	controllertest.Eventually(t, func() error {
		for _, e := range []client.Object{before, after} {
			if err := garden.Get(t.Context(), client.ObjectKeyFromObject(e), &eventsv1.Event{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%s: %w", e.GetName(), errors.Join(err, errors.New("is still there")))
			}
		}
		return nil
	})
	if err := garden.Get(t.Context(), client.ObjectKeyFromObject(shoot), &eventsv1.Event{}); err != nil {
		t.Error(err)
	}
}

// TestTrim wants what the controller looks at, and nothing else, kept.
func TestTrim(t *testing.T) {
	e := modern("n", "core.gardener.cloud/v1beta1", "Shoot")
	e.Note, e.Annotations = "a long text", map[string]string{"a": "b"}
	trimmed, err := event.Trim(e)
	if err != nil {
		t.Fatal(err)
	}
	got := trimmed.(*eventsv1.Event)
	if got.Note != "" || got.Annotations != nil || got.Regarding.Kind != "Shoot" || got.Regarding.APIVersion == "" || got.EventTime.IsZero() || got.Name == "" {
		t.Errorf("got %+v", got)
	}
}
