package releases_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	"k8s.io/component-base/version"
	_ "k8s.io/kubernetes/pkg/features" // registers the gates
	kubeoptions "k8s.io/kubernetes/pkg/kubeapiserver/options"

	"github.com/loam-cloud/loam/garden/releases"
)

// covered are the versions that the tables are about, one by one.
func covered() []string {
	return []string{"1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"}
}

var minor = regexp.MustCompile(`^(-|1\.3[1-7])$`)

// TestTables wants rows that are complete, sorted, without doubles, with
// versions in order, and a source.
func TestTables(t *testing.T) {
	for file, width := range map[string]int{"gates.tsv": 5, "plugins.tsv": 3} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "# Source: k8s.io/kubernetes v") {
			t.Errorf("%s does not name its source", file)
		}
		var names []string
		first, last := false, false
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			if len(cells) != width {
				t.Fatalf("%s: %q has %d cells, want %d", file, line, len(cells), width)
			}
			since, until := cells[1], cells[2]
			if !minor.MatchString(since) || !minor.MatchString(until) || since != "-" && until != "-" && since > until {
				t.Errorf("%s: %s is from %s to %s", file, cells[0], since, until)
			}
			if since == "1.31" || until == "1.37" {
				t.Errorf("%s: %s: the edges of the table are written -", file, cells[0])
			}
			first, last = first || until == "1.31", last || since == "1.37"
			if width == 5 {
				locked, to := cells[3], cells[4]
				if !minor.MatchString(locked) || (locked == "-") != (to == "-") || to != "-" && to != "true" && to != "false" ||
					locked != "-" && (since != "-" && locked < since || until != "-" && locked > until) {
					t.Errorf("%s: %s is locked from %s on to %s", file, cells[0], locked, to)
				}
			}
			names = append(names, cells[0])
		}
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("%s is not sorted, or names something twice", file)
		}
		if file == "gates.tsv" && (!first || !last) {
			t.Errorf("%s has no gate that went with 1.31 or came with 1.37: it does not cover them", file)
		}
	}
}

// TestAgreesWithKubernetes compares the table with the version of Kubernetes
// that is built in.
func TestAgreesWithKubernetes(t *testing.T) {
	own := version.DefaultKubeBinaryVersion
	all := utilfeature.DefaultMutableFeatureGate.GetAll()
	if len(all) < 100 {
		t.Fatalf("only %d gates are registered", len(all))
	}
	for name, spec := range all {
		if strings.HasPrefix(string(name), "Loam") || spec.PreRelease == featuregate.PreAlpha {
			continue
		}
		gate, found := releases.FeatureGate(string(name))
		if !found || !gate.In(own) {
			t.Errorf("Kubernetes %s has gate %s, the table does not", own, name)
			continue
		}
		if to, fixed := gate.Fixed(own); fixed != spec.LockToDefault || fixed && to != spec.Default {
			t.Errorf("gate %s is fixed %t to %t, the table says %t to %t", name, spec.LockToDefault, spec.Default, fixed, to)
		}
	}
	for _, name := range kubeoptions.AllOrderedPlugins {
		if !releases.HasAdmissionPlugin(name, own) {
			t.Errorf("Kubernetes %s has plugin %s, the table does not", own, name)
		}
	}
}

func TestVersions(t *testing.T) {
	if covered()[0] != releases.Oldest || covered()[len(covered())-1] != releases.Newest {
		t.Errorf("the test is about %v, the table about %s to %s", covered(), releases.Oldest, releases.Newest)
	}
	for _, v := range covered() {
		if !releases.Covers(v) || !releases.Covers(v+".9") || !releases.Covers("v"+v+".0") {
			t.Errorf("%s is not covered", v)
		}
		for _, name := range []string{"AllAlpha", "AllBeta", "GracefulNodeShutdown"} {
			if !releases.HasFeatureGate(name, v) {
				t.Errorf("%s has no gate %s", v, name)
			}
		}
		if !releases.HasAdmissionPlugin("PodNodeSelector", v) {
			t.Errorf("%s has no plugin PodNodeSelector", v)
		}
		if releases.HasFeatureGate("Teleportation", v) || releases.HasAdmissionPlugin("Bouncer", v) {
			t.Errorf("%s has what there never was", v)
		}
	}
	for _, v := range []string{"1.30.4", "1.38.0", "", "latest", "1.4000"} {
		if releases.Covers(v) || !releases.HasFeatureGate("Teleportation", v) || !releases.HasAdmissionPlugin("Bouncer", v) {
			t.Errorf("%q is taken for known", v)
		}
	}
	for _, row := range []struct {
		gate, version string
		has           bool
	}{
		{"WorkloadWithJob", "1.35.9", false}, {"WorkloadWithJob", "1.36.0", true},
		{"RequestWatchProgress", "1.31.9", true}, {"RequestWatchProgress", "1.32.0", false},
	} {
		if got := releases.HasFeatureGate(row.gate, row.version); got != row.has {
			t.Errorf("%s in %s: %t", row.gate, row.version, got)
		}
	}
	if releases.HasAdmissionPlugin("PodTopologyLabels", "1.32.3") || !releases.HasAdmissionPlugin("PodTopologyLabels", "1.33.0") {
		t.Error("PodTopologyLabels is there from 1.33 on")
	}
}

// TestFields wants fields in the order in which they went, each once, with a
// version that is covered.
func TestFields(t *testing.T) {
	fields := releases.Fields()
	if !slices.IsSortedFunc(fields, func(a, b releases.Field) int { return strings.Compare(a.Since, b.Since) }) {
		t.Error("not in the order of versions")
	}
	seen := map[string]bool{}
	for _, f := range fields {
		if seen[f.Path] || !releases.Covers(f.Since) || !strings.HasPrefix(f.Path, "spec.") || f.Instead == "" {
			t.Errorf("%+v", f)
		}
		seen[f.Path] = true
		if f.Gone("1.32.9") || !f.Gone(f.Since+".0") || !f.Gone("1.99.0") {
			t.Errorf("%s goes at the wrong version", f.Path)
		}
	}
}

func BenchmarkFeatureGate(b *testing.B) {
	for b.Loop() {
		if _, found := releases.FeatureGate("NodeSwap"); !found {
			b.Fatal("not found")
		}
	}
}
