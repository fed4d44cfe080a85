// Package doctor says what is wrong with a host or a cluster, why that matters,
// and which command mends it. The command line calls it through app.
//
// It is functions from facts to findings: facts are collected elsewhere, in
// package collect for the host and in package insight for clusters. It must not
// look at anything itself, and so has nothing that it could change.
package doctor

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Severity says how much a finding matters.
type Severity string

const (
	// OK is a check that found nothing wrong.
	OK Severity = "ok"
	// Note is something to know that keeps nothing from working.
	Note Severity = "note"
	// Warning is something that will be in the way, or is in the way of some.
	Warning Severity = "warning"
	// Problem keeps clusters from working.
	Problem Severity = "problem"
)

// Finding is the result of one check.
type Finding struct {
	Severity Severity `json:"severity"`
	// Check names what was looked at.
	Check string `json:"check"`
	What  string `json:"what"`
	// Why says why that matters; Fix is what to do, mostly a command. Both are
	// empty for what is in order.
	Why string `json:"why,omitempty"`
	Fix string `json:"fix,omitempty"`
}

// Report is what the doctor found.
type Report struct {
	Findings []Finding `json:"findings"`
	// Worst is the highest severity of them.
	Worst Severity `json:"worst"`
}

// NewReport puts findings in order: what is worst comes first, and otherwise
// they stay as they are.
func NewReport(findings ...[]Finding) Report {
	all := slices.Concat(findings...)
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(b.Severity.rank(), a.Severity.rank()) })
	r := Report{Findings: all, Worst: OK}
	if len(all) > 0 {
		r.Worst = all[0].Severity
	}
	return r
}

func (s Severity) rank() int {
	return slices.Index([]Severity{OK, Note, Warning, Problem}, s)
}

// ExitCode is that of a command that shows the report: 0 where all is well, 2 for
// warnings, 3 for problems. 1 is left to a doctor who could not look.
func (r Report) ExitCode() int {
	switch r.Worst {
	case Problem:
		return 3
	case Warning:
		return 2
	}
	return 0
}

// Print writes the report for a person to read.
func (r Report) Print(w io.Writer) error {
	var out bytes.Buffer
	counts := map[Severity]int{}
	for _, f := range r.Findings {
		counts[f.Severity]++
		fmt.Fprintf(&out, "%s %s: %s\n", map[Severity]string{OK: "✓", Note: "·", Warning: "!", Problem: "✗"}[f.Severity], f.Check, indented(f.What))
		if f.Why != "" {
			fmt.Fprintf(&out, "    why: %s\n", indented(f.Why))
		}
		if f.Fix != "" {
			fmt.Fprintf(&out, "    fix: %s\n", indented(f.Fix))
		}
	}
	fmt.Fprintf(&out, "\nproblems: %d, warnings: %d, notes: %d, in order: %d\n", counts[Problem], counts[Warning], counts[Note], counts[OK])
	_, err := w.Write(out.Bytes())
	return err
}

func indented(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n         ")
}

// checks gathers the findings of one subject.
type checks struct{ found []Finding }

func (c *checks) ok(check, format string, args ...any) {
	c.add(OK, check, fmt.Sprintf(format, args...), "", "")
}

func (c *checks) add(s Severity, check, what, why, fix string) {
	c.found = append(c.found, Finding{Severity: s, Check: check, What: what, Why: why, Fix: fix})
}
