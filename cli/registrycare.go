package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/admin"
	"github.com/loam-cloud/loam/registry/collect"
	"github.com/loam-cloud/loam/registry/daemon"
)

// care is a command that looks after the image cache and shows what it did.
type care struct {
	use, short, long string
	// dryRun commands have a flag of that name.
	dryRun bool
	do     func(ctx context.Context, c daemon.Caretaker, dryRun bool) (any, error)
	// show writes the report as text.
	show func(w io.Writer, report any, wide bool) error
}

// reported makes a care's functions of typed ones.
func reported[T any](c care, do func(ctx context.Context, c daemon.Caretaker, dryRun bool) (T, error), show func(w io.Writer, report T, wide bool) error) care {
	c.do = func(ctx context.Context, keeper daemon.Caretaker, dryRun bool) (any, error) {
		return do(ctx, keeper, dryRun)
	}
	c.show = func(w io.Writer, report any, wide bool) error {
		typed, ok := report.(T)
		if !ok {
			return fault.New(fault.Internal, "a report is a %T", report)
		}
		return show(w, typed, wide)
	}
	return c
}

func (o *options) newCare(c care) *cobra.Command {
	var file, format string
	var dryRun bool
	cmd := &cobra.Command{
		Use: c.use, Short: c.short, Long: c.long,
		Example: "  loam registry " + c.use + "\n  loam registry " + c.use + " --config registry.yaml -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := checkFormat(format); err != nil {
				return err
			}
			configuration, err := o.registryConfig(file)
			if err != nil {
				return err
			}
			keeper, err := daemon.Caretake(cmd.Context(), configuration)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, keeper.Close()) }()
			report, err := c.do(cmd.Context(), keeper, dryRun)
			if err != nil {
				return err
			}
			if err := printData(cmd.OutOrStdout(), format, report, func(w io.Writer) error { return c.show(w, report, format == "wide") }); err != nil {
				return err
			}
			return unsound(report)
		},
	}
	registryConfigFlag(cmd, &file)
	outputFlag(cmd, &format)
	if c.dryRun {
		cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be done")
		cmd.Example += "\n  loam registry " + c.use + " --dry-run"
	}
	return cmd
}

// unsound makes a command fail that has found something broken.
func unsound(report any) error {
	switch r := report.(type) {
	case collect.CheckReport:
		if n := len(r.Problems); n > 0 {
			return fault.New(fault.Invalid, "%d problems were found", n)
		}
	case collect.ScrubReport:
		left := 0
		for _, b := range r.Broken {
			if !b.Repaired {
				left++
			}
		}
		if left > 0 {
			return fault.New(fault.Invalid, "%d blobs are broken", left)
		}
	}
	return nil
}

func (o *options) careCommands() []*cobra.Command {
	return []*cobra.Command{
		o.newCare(reported(care{use: "stats", short: "Show what the image cache holds, and how its upstreams do",
			long: `Show what the image cache holds, and, if it runs, how its upstreams do and how
often they were not needed.`},
			func(ctx context.Context, c daemon.Caretaker, _ bool) (admin.Status, error) { return c.Status(ctx) }, showStats)),
		o.newCare(reported(care{use: "check", short: "Compare the image cache's index with its files",
			long: `Compare the image cache's index with its files, without reading them: blobs
whose file is lost or was cut, and private images of which a part is missing. It
changes nothing, and fails if it finds something. loam registry scrub reads.`},
			func(ctx context.Context, c daemon.Caretaker, _ bool) (collect.CheckReport, error) {
				return c.Check(ctx)
			}, showCheck)),
		o.newCare(reported(care{use: "gc", dryRun: true, short: "Remove what nothing in the image cache needs",
			long: `Remove blobs that no manifest refers to, uploads that were not finished, and,
where the configuration says so, manifests that no tag, index or subject leads to.
What is younger than the grace period stays. The cache may be running: pushes and
pulls go on. A running cache does so by itself, too.`},
			func(ctx context.Context, c daemon.Caretaker, dryRun bool) (collect.GarbageReport, error) {
				return c.CollectNow(ctx, dryRun)
			}, showGarbage)),
		o.newCare(reported(care{use: "retention", dryRun: true, short: "Remove old tags, as the configuration's rules say",
			long: `Remove tags of private repositories that the rules of the configuration want
gone, once their delay is over. What they led to goes with the next collection. A
running cache does so by itself, too.`},
			func(ctx context.Context, c daemon.Caretaker, dryRun bool) (collect.RetentionReport, error) {
				return c.RetainNow(ctx, dryRun)
			}, showRetention)),
		o.newCare(reported(care{use: "scrub", dryRun: true, short: "Read everything in the image cache again, and repair what is broken",
			long: `Read every blob and compare it with its digest. What is broken is put aside in the
folder quarantine, and a running cache fetches it again from where it came. A
running cache does so by itself, too. It fails if something stays broken.`},
			func(ctx context.Context, c daemon.Caretaker, dryRun bool) (collect.ScrubReport, error) {
				return c.ScrubNow(ctx, dryRun)
			}, showScrub)),
	}
}

// would begins a line about what a dry run did not do.
func would(dryRun bool, did, does string) string {
	if dryRun {
		return "Would " + does
	}
	return did
}

func table(w io.Writer, lines func(w io.Writer)) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	lines(t)
	return t.Flush()
}

func showStats(w io.Writer, s admin.Status, wide bool) error {
	fmt.Fprintf(w, "%d blobs, %s", s.Blobs, humanize.IBytes(uint64(max(0, s.Bytes))))
	if s.Cap > 0 {
		fmt.Fprintf(w, " of %s", humanize.IBytes(uint64(max(0, s.Cap))))
	}
	fmt.Fprintf(w, "; %s unfinished%s\n", humanize.IBytes(uint64(max(0, s.PartialBytes))), pushedTo(s))
	if len(s.Upstreams) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return table(w, func(w io.Writer) {
		fmt.Fprint(w, "UPSTREAM\tSTATUS\tPULLS\tHIT RATIO\tFETCHED")
		if wide {
			fmt.Fprint(w, "\tSTALE\tRESUMED\tWRONG\tREQUESTS\tFAILURES\tURL\tPROBLEM")
		}
		fmt.Fprintln(w)
		for _, u := range s.Upstreams {
			status := "Up"
			switch {
			case u.Offline:
				status = "Offline"
			case u.PausedUntil.After(time.Now()):
				status = "Paused"
			case !u.Up:
				status = "Down"
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%.0f%%\t%s", u.Name, status, u.Hits+u.Misses, 100*u.HitRatio, humanize.IBytes(uint64(max(0, u.Bytes))))
			if wide {
				fmt.Fprintf(w, "\t%d\t%d\t%d\t%d\t%d\t%s\t%s", u.Stale, u.Resumed, u.Wrong, u.Requests, u.Failures, u.URL, u.Failure)
			}
			fmt.Fprintln(w)
		}
	})
}

// pushedTo says where a cache that runs takes pushes.
func pushedTo(s admin.Status) string {
	if address := s.Addresses[daemon.Private]; address != "" {
		return "; push to and pull from " + address
	}
	return ""
}

func showCheck(w io.Writer, r collect.CheckReport, _ bool) error {
	for _, p := range r.Problems {
		fmt.Fprintf(w, "%s%s: %s\n", prefixed(p.Repository), p.Digest, p.Message)
	}
	fmt.Fprintf(w, "Checked %d blobs and %d manifests of %d repositories: %d problems.\n", r.Blobs, r.Manifests, r.Repositories, len(r.Problems))
	return nil
}

func prefixed(repository string) string {
	if repository == "" {
		return ""
	}
	return repository + "@"
}

func showGarbage(w io.Writer, r collect.GarbageReport, _ bool) error {
	err := table(w, func(w io.Writer) {
		for _, gone := range r.Removed {
			fmt.Fprintf(w, "%s\t%s\t%s\n", gone.What, gone.Digest, gone.Repository)
		}
	})
	fmt.Fprintf(w, "%s %d things and %d unfinished uploads and downloads: %s.\n", would(r.DryRun, "Removed", "remove"), len(r.Removed), r.Unfinished, humanize.IBytes(uint64(max(0, r.Bytes))))
	return err
}

func showRetention(w io.Writer, r collect.RetentionReport, _ bool) error {
	gone := 0
	err := table(w, func(w io.Writer) {
		for _, t := range r.Tags {
			when := "goes on " + t.Goes.Format(time.DateTime)
			if t.Gone {
				gone++
				when = would(r.DryRun, "gone", "go")
			}
			fmt.Fprintf(w, "%s:%s\tpushed %s\t%s\n", t.Repository, t.Tag, t.Updated.Format(time.DateTime), when)
		}
	})
	fmt.Fprintf(w, "%s %d tags; %d more wait for their delay.\n", would(r.DryRun, "Removed", "remove"), gone, len(r.Tags)-gone)
	return err
}

func showScrub(w io.Writer, r collect.ScrubReport, _ bool) error {
	for _, b := range r.Broken {
		state := "broken"
		if b.Repaired {
			state = "repaired"
		}
		fmt.Fprintf(w, "%s %s, of %v: %s\n", state, b.Digest, b.Repositories, b.Reason)
	}
	fmt.Fprintf(w, "Read %d blobs, %s: %d broken.\n", r.Blobs, humanize.IBytes(uint64(max(0, r.Bytes))), len(r.Broken))
	return nil
}
