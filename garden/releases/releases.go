// Package releases knows what each minor version of Kubernetes has: feature
// gates, admission plugins, and which fields of a Shoot clusters of it no longer
// have.
//
// The rules for Shoots (packages of garden/validation) and the maintenance of
// clusters call it. It is pure, and must not know any Shoot.
package releases

import (
	_ "embed" // the tables
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"
)

// The minor versions that the tables cover, both included.
const (
	Oldest = "1.31"
	Newest = "1.37"
)

// Covers tells whether the tables are complete for a version; what they do not
// have it does not have. Versions may have a patch number, and a "v".
func Covers(version string) bool {
	at := minorOf(version)
	return at >= minorOf(Oldest) && at <= minorOf(Newest)
}

// minor is a version without its patch number that can be compared; 0 if it is
// not known.
type minor int

// minorOf reads "1.36", "1.36.3" and "v1.36.3"; anything else is 0.
func minorOf(version string) minor {
	parsed, err := semver.NewVersion(version)
	if err != nil || parsed.Major() > 1000 || parsed.Minor() > 1000 {
		return 0
	}
	return minor(1000*int(parsed.Major()) + int(parsed.Minor()))
}

// span is from when until when something is there. Zero means before the oldest
// version, and still in the newest.
type span struct{ since, until minor }

func (s span) has(version string) bool {
	at := minorOf(version)
	return at >= s.since && (s.until == 0 || at <= s.until)
}

// Gate is a feature gate.
type Gate struct {
	// Since is the first minor version that has it, such as "1.36"; empty if that
	// is before Oldest.
	Since  string
	span   span
	locked minor
	to     bool
}

// In tells whether a version has the gate.
func (g Gate) In(version string) bool { return g.span.has(version) }

// After tells whether the gate came later than a version.
func (g Gate) After(version string) bool { return minorOf(version) < g.span.since }

// Fixed is the only value that the gate can have in a version; false if it can
// be chosen.
func (g Gate) Fixed(version string) (value, fixed bool) {
	return g.to, g.locked != 0 && minorOf(version) >= g.locked
}

//go:embed gates.tsv
var gatesTable string

//go:embed plugins.tsv
var pluginsTable string

// The tables are read once, when they are first asked for, and never change.
var (
	gates   = sync.OnceValue(func() map[string]Gate { return readGates(gatesTable) })
	plugins = sync.OnceValue(func() map[string]span { return readPlugins(pluginsTable) })
)

// FeatureGate finds a gate by its name; false if no covered version has it.
func FeatureGate(name string) (Gate, bool) {
	gate, found := gates()[name]
	return gate, found
}

// HasFeatureGate tells whether a version has a feature gate. Of versions that
// the tables do not cover it is assumed.
func HasFeatureGate(name, version string) bool {
	gate, found := FeatureGate(name)
	return !Covers(version) || found && gate.In(version)
}

// HasAdmissionPlugin tells whether the API server of a version has an admission
// plugin. Of versions that the tables do not cover it is assumed.
func HasAdmissionPlugin(name, version string) bool {
	plugin, found := plugins()[name]
	return !Covers(version) || found && plugin.has(version)
}

func readGates(table string) map[string]Gate {
	all := map[string]Gate{}
	for _, row := range rows(table) {
		all[row[0]] = Gate{Since: blank(row[1]), span: spanOf(row[1], row[2]), locked: minorOf(blank(row[3])), to: row[4] == "true"}
	}
	return all
}

func readPlugins(table string) map[string]span {
	all := map[string]span{}
	for _, row := range rows(table) {
		all[row[0]] = spanOf(row[1], row[2])
	}
	return all
}

func spanOf(since, until string) span { return span{minorOf(blank(since)), minorOf(blank(until))} }

// blank is the text of a cell: "-" stands for none.
func blank(cell string) string { return strings.TrimPrefix(cell, "-") }

// rows are the lines of a table that are not comments, in cells. Tests want each
// to be complete.
func rows(table string) [][]string {
	var all [][]string
	for line := range strings.Lines(table) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, strings.Split(line, "\t"))
		}
	}
	return all
}
