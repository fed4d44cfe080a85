// Package alerts_test holds the alerts of deploy/alerts to what a garden really
// shows: each of their expressions can be read, each metric and label in them is
// at /metrics of a garden that keeps a fleet.
package alerts_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metricsql"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/app"
)

// patience bounds the waits of this test, on whatever host.
const patience = 3 * time.Minute

// rules is Prometheus' file of rules.
type rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         model.Duration    `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func read(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile("../../deploy/alerts/loam.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file rules
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) < 15 {
		t.Fatalf("only %d alerts were found", len(all))
	}
	return all
}

// TestAlertsAreComplete wants a name of its own, a severity and texts.
func TestAlertsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range read(t) {
		if r.Alert == "" || seen[r.Alert] || r.Annotations["summary"] == "" || r.Annotations["description"] == "" ||
			!slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%q is not whole, or there twice: %+v", r.Alert, r)
		}
		seen[r.Alert] = true
	}
}

// made are metrics that Prometheus makes itself, with the labels of targets.
func made() map[string][]string { return map[string][]string{"up": {"job", "instance"}} }

// TestAlertsNameWhatThereIs scrapes a garden that keeps a landscape, and looks for
// every metric and every label of the alerts.
func TestAlertsNameWhatThereIs(t *testing.T) {
	shown := scrape(t, start(t))
	for name, labels := range made() {
		shown[name] = labels
	}
	for _, r := range read(t) {
		expression, err := metricsql.Parse(r.Expr)
		if err != nil {
			t.Errorf("%s: %v", r.Alert, err)
			continue
		}
		var metrics, groups, labels []string
		metricsql.VisitAll(expression, func(e metricsql.Expr) {
			switch e := e.(type) {
			case *metricsql.AggrFuncExpr:
				groups = append(groups, e.Modifier.Args...)
			case *metricsql.MetricExpr:
				for _, filters := range e.LabelFilterss {
					for _, filter := range filters {
						if filter.Label == "__name__" {
							metrics = append(metrics, filter.Value)
							continue
						}
						if own := shown[e.LabelFilterss[0][0].Value]; !slices.Contains(own, filter.Label) {
							t.Errorf("%s: %s has no label %q, but %v", r.Alert, e.LabelFilterss[0][0].Value, filter.Label, own)
						}
					}
				}
			}
		})
		if len(metrics) == 0 {
			t.Errorf("%s names no metric", r.Alert)
		}
		for _, metric := range metrics {
			own, there := shown[metric]
			if !there {
				t.Errorf("%s: there is no metric %s", r.Alert, metric)
			}
			labels = append(append(labels, own...), "job", "instance")
		}
		if len(groups) > 0 {
			for _, group := range groups {
				if !slices.Contains(labels, group) {
					t.Errorf("%s: groups by %q, of %v", r.Alert, group, labels)
				}
			}
			labels = groups // the others are gone
		}
		for _, match := range used.FindAllStringSubmatch(fmt.Sprint(r.Annotations), -1) {
			if !slices.Contains(labels, match[1]) {
				t.Errorf("%s: its text shows label %q, of %v", r.Alert, match[1], labels)
			}
		}
	}
}

var used = regexp.MustCompile(`\$labels\.(\w+)`)

// start runs a garden as users do, with a landscape in it, and returns its
// kubeconfig.
func start(t *testing.T) string {
	t.Helper()
	manifests, err := filepath.Glob("../landscape/testdata/landscape/*.yaml")
	if err != nil || len(manifests) == 0 {
		t.Fatalf("no landscape: %v", err)
	}
	dir, ready, done := t.TempDir(), make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		done <- app.Up(ctx, app.Config{
			DataDir: dir, Listen: "127.0.0.1:0", DockerHost: "unix://" + dir + "/none.sock", Manifests: manifests, Ready: func() { close(ready) },
		}, t.Output())
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the garden: %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("the garden did not start: %v", err)
	case <-time.After(patience):
		t.Fatal("the garden is not ready")
	}
	return filepath.Join(dir, "kubeconfig")
}

// scrape returns the labels of every metric that is shown, once the controllers
// show what they keep.
func scrape(t *testing.T, kubeconfig string) map[string][]string {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		text, err := client.RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
		if err != nil {
			t.Fatalf("scraping the garden: %v", err)
		}
		shown := map[string][]string{}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
		if err != nil {
			t.Fatalf("what is scraped cannot be read: %v", err)
		}
		for name, family := range families {
			for _, metric := range family.GetMetric() {
				for _, label := range metric.GetLabel() {
					shown[name] = append(shown[name], label.GetName())
				}
			}
			slices.Sort(shown[name])
			shown[name] = slices.Compact(shown[name])
			if family.GetType() == dto.MetricType_HISTOGRAM {
				shown[name+"_bucket"] = append(slices.Clone(shown[name]), "le")
			}
		}
		if _, there := shown["loam_shoots"]; there && len(shown["loam_seed_conditions"]) > 0 {
			return shown
		}
		if time.Now().After(deadline) {
			t.Fatal("the controllers do not show what they keep")
		}
	}
}
