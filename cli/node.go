package cli

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/nodeconfig/profile"
)

func newNode() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Show what nodes are configured with, and why",
		Long: `A node profile is a file of values: what containerd, the kubelet, systemd and the
kernel of a node are configured with. Those named kubernetes, plain and registry are
built in; a file of yours may extend one and say only what differs.

These commands need no garden and change nothing but the folder that they are told
to write to.`,
	}
	group(cmd)
	cmd.AddCommand(newNodeRender(), newNodeExplain(), newNodeDiff(), newNodeProfiles())
	return cmd
}

// textFormats are those of what has no table.
var textFormats = []string{"text", "json", "yaml"}

// renderedFile is a file as JSON and YAML have it.
type renderedFile struct {
	Path    string `json:"path"`
	Mode    string `json:"mode"`
	Content string `json:"content"`
	// Encoding is base64 for what is no text.
	Encoding string   `json:"encoding,omitempty"`
	Restart  []string `json:"restart,omitempty"`
}

type renderedNode struct {
	Files         []renderedFile `json:"files"`
	UserData      string         `json:"userData,omitempty"`
	VendorData    string         `json:"vendorData,omitempty"`
	NetworkConfig string         `json:"networkConfig,omitempty"`
}

func newNodeRender() *cobra.Command {
	var in nodeFlags
	var output string
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Render every file of a node",
		Long: `Render every file of a node: as text, JSON or YAML, or into a folder, which gets
the files under files/, and user-data, vendor-data and network-config beside them for
a seed of cloud-init. The same input gives the same bytes.`,
		Example: `  loam node render --profile kubernetes --role worker
  loam node render --role control-plane --containerd-version 1.6.20 -o ./out
  loam node render --profile registry -o yaml
  loam node render --mirror docker.io=http://10.0.0.5:5000 --disk-mbps 60/60`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := destination(output)
			if err != nil {
				return err
			}
			out, err := in.render("")
			if err != nil {
				return err
			}
			if folder != "" {
				return writeNode(cmd.OutOrStdout(), folder, out)
			}
			return printData(cmd.OutOrStdout(), output, asData(out), func(w io.Writer) error { return printNode(w, out) })
		},
	}
	in.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json, yaml, or a folder such as ./out")
	completeFlag(cmd, "output", textFormats)
	return cmd
}

// destination is the folder that is to be written to, empty for none.
func destination(output string) (string, error) {
	switch {
	case slices.Contains(textFormats, output):
		return "", nil
	case strings.ContainsRune(output, filepath.Separator) || output == "." || output == "..":
		return output, nil
	}
	return "", fault.New(fault.Invalid, "--output: %q must be one of %s, or a folder such as ./%s", output, strings.Join(textFormats, ", "), output)
}

// seeds are what cloud-init reads, by the names that it knows them by.
func seeds(out *profile.Rendered) []renderedFile {
	var all []renderedFile
	for _, s := range []struct {
		name    string
		content []byte
	}{{"user-data", out.UserData}, {"vendor-data", out.VendorData}, {"network-config", out.NetworkConfig}} {
		if s.content != nil {
			all = append(all, renderedFile{Path: s.name, Mode: "0600", Content: string(s.content)})
		}
	}
	return all
}

func asData(out *profile.Rendered) renderedNode {
	node := renderedNode{UserData: string(out.UserData), VendorData: string(out.VendorData), NetworkConfig: string(out.NetworkConfig)}
	for _, f := range out.Files {
		one := renderedFile{Path: f.Path, Mode: fmt.Sprintf("%04o", f.Mode.Perm()), Content: string(f.Content), Restart: f.Restart}
		if !utf8.Valid(f.Content) {
			one.Content, one.Encoding = base64.StdEncoding.EncodeToString(f.Content), "base64"
		}
		node.Files = append(node.Files, one)
	}
	return node
}

// printNode shows files, of which those in user-data are shown once.
func printNode(w io.Writer, out *profile.Rendered) error {
	for _, f := range out.Files {
		if _, err := fmt.Fprintf(w, "=== %s %04o\n%s", f.Path, f.Mode.Perm(), withEnd(f.Content)); err != nil {
			return err
		}
	}
	for _, s := range seeds(out) {
		content := s.Content
		if before, _, found := strings.Cut(content, "write_files:\n"); found {
			content = before + "# The files above follow here.\n"
		}
		if _, err := fmt.Fprintf(w, "=== %s\n%s", s.Path, content); err != nil {
			return err
		}
	}
	return nil
}

func withEnd(content []byte) []byte {
	if len(content) == 0 || bytes.HasSuffix(content, []byte("\n")) {
		return content
	}
	return append(slices.Clone(content), '\n')
}

// writeNode writes into a folder, over what an earlier run has written.
func writeNode(w io.Writer, folder string, out *profile.Rendered) error {
	write := func(name string, content []byte, mode os.FileMode) error {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, mode); err != nil {
			return err
		}
		// A file that was there keeps its mode, and the umask takes from a new one's.
		return os.Chmod(path, mode)
	}
	for _, f := range out.Files {
		if err := write("files"+f.Path, f.Content, f.Mode.Perm()); err != nil {
			return fmt.Errorf("writing %s: %w", f.Path, err)
		}
	}
	for _, s := range seeds(out) {
		if err := write(s.Path, []byte(s.Content), 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", s.Path, err)
		}
	}
	fmt.Fprintf(w, "%d files are in %s\n", len(out.Files)+len(seeds(out)), folder)
	return nil
}

func newNodeExplain() *cobra.Command {
	var in nodeFlags
	var format string
	cmd := &cobra.Command{
		Use:   "explain [PATH]",
		Short: "Show every value of a node with its reason and where it comes from",
		Long: `Show every value of a node, the reason for it, and where it comes from. The reason is
the comment above the value in its profile. With a path, only values at it or below.`,
		Example: `  loam node explain
  loam node explain kubelet.evictionHard
  loam node explain --profile ./mine.yaml --role control-plane -o json
  loam node explain --container containerd`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(textFormats, format) {
				return fault.New(fault.Invalid, "--output: %q must be one of %s", format, strings.Join(textFormats, ", "))
			}
			values, err := in.values()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				known := values
				values = slices.DeleteFunc(slices.Clone(values), func(v profile.Value) bool { return !isBelow(v.Path, args[0]) })
				if len(values) == 0 {
					return fault.New(fault.Missing, "%q is no value of this node: its parts are %s", args[0], strings.Join(sections(known), ", "))
				}
			}
			return printData(cmd.OutOrStdout(), format, values, func(w io.Writer) error { return printValues(w, values) })
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			values, err := in.values()
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			paths := sections(values)
			for _, v := range values {
				paths = append(paths, v.Path)
			}
			return paths, cobra.ShellCompDirectiveNoFileComp
		},
	}
	in.add(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "text", "output format: "+strings.Join(textFormats, ", "))
	completeFlag(cmd, "output", textFormats)
	return cmd
}

// isBelow tells whether a path is another, or is a part of it.
func isBelow(path, other string) bool {
	rest, is := strings.CutPrefix(path, other)
	return is && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// sections are the first words of paths.
func sections(values []profile.Value) []string {
	var all []string
	for _, v := range values {
		end := strings.IndexAny(v.Path, ".[")
		all = append(all, v.Path[:max(end, 0)])
	}
	return slices.Compact(all)
}

func printValues(w io.Writer, values []profile.Value) error {
	for _, v := range values {
		reason := v.Reason
		if reason == "" {
			reason = "No reason is given."
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n    %s\n    (%s)\n", v.Path, shortValue(v.Value), reason, v.Source); err != nil {
			return err
		}
	}
	return nil
}

// shortValue is a value on one line: files are long.
func shortValue(value any) string {
	switch v := value.(type) {
	case string:
		if strings.Contains(v, "\n") {
			return fmt.Sprintf("(%d lines)", strings.Count(v, "\n"))
		}
		return v
	case map[string]any:
		var parts []string
		for name, inner := range v {
			parts = append(parts, name+": "+shortValue(inner))
		}
		slices.Sort(parts)
		return strings.Join(parts, ", ")
	case float64:
		return strings.TrimSuffix(fmt.Sprintf("%f", v), ".000000")
	}
	return fmt.Sprint(value)
}

// differs is the end of a comparison that found something, or that could not be made.
type differs struct {
	error
	code int
}

// ExitCode is that of diff.
func (d differs) ExitCode() int { return d.code }

func (d differs) Unwrap() error { return d.error }

func newNodeDiff() *cobra.Command {
	var in nodeFlags
	cmd := &cobra.Command{
		Use:   "diff PROFILE [PROFILE]",
		Short: "Show in which files two nodes differ",
		Long: `Show in which files two nodes differ: of two profiles, or of one for another role or
other versions, which the flags with --to- say. Profiles are names or files. Like diff
it ends with 0 when there is no difference, with 1 when there is one, and with 2 when
something is wrong.`,
		Example: `  loam node diff kubernetes ./mine.yaml
  loam node diff plain registry
  loam node diff kubernetes --containerd-version 1.6.20 --to-containerd-version 2.2.1
  loam node diff kubernetes --to-container`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return differs{fault.New(fault.Invalid, "%s takes one profile or two: %s", cmd.CommandPath(), cmd.UseLine()), 2}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := in.render(args[0])
			if err != nil {
				return differs{err, 2}
			}
			other := in.other()
			to, err := other.render(args[len(args)-1])
			if err != nil {
				return differs{err, 2}
			}
			n, err := printDifferences(cmd.OutOrStdout(), args[0], args[len(args)-1], from, to)
			if err != nil {
				return differs{err, 2}
			}
			if n > 0 {
				return differs{errors.New(plural(n, "file differs", "files differ")), 1}
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 1 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return profile.Names(), cobra.ShellCompDirectiveDefault
		},
	}
	in.addCompared(cmd)
	return cmd
}

func plural(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// linesAround is how much is shown around a difference.
const linesAround = 3

// printDifferences shows what differs as diff -u does, modes too, and returns in how
// many files. That files are in user-data is no difference of its own.
func printDifferences(w io.Writer, fromName, toName string, from, to *profile.Rendered) (int, error) {
	texts := func(out *profile.Rendered) map[string]string {
		all := map[string]string{}
		for _, f := range out.Files {
			all[f.Path] = fmt.Sprintf("mode %04o\n%s", f.Mode.Perm(), withEnd(f.Content))
		}
		for _, s := range seeds(out) {
			all[s.Path], _, _ = strings.Cut(s.Content, "write_files:\n")
		}
		return all
	}
	before, after := texts(from), texts(to)
	paths := make([]string, 0, len(before)+len(after))
	for _, all := range []map[string]string{before, after} {
		for path := range all {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	n := 0
	for _, path := range slices.Compact(paths) {
		if before[path] == after[path] {
			continue
		}
		n++
		text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
			A: lines(before[path]), B: lines(after[path]), FromFile: fromName + " " + path, ToFile: toName + " " + path, Context: linesAround,
		})
		if err != nil {
			return n, err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return n, err
		}
	}
	return n, nil
}

// lines are those of a text; none of one that is not there.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	return difflib.SplitLines(strings.TrimSuffix(text, "\n"))
}

func newNodeProfiles() *cobra.Command {
	return &cobra.Command{
		Use:   "profile [NAME]",
		Short: "List the profiles that are built in, or print one as a file",
		Example: `  loam node profile
  loam node profile kubernetes >mine.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(profile.Names(), "\n"))
				return err
			}
			text, err := profile.Text(args[0])
			if err != nil {
				return fault.Wrap(fault.Invalid, err)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
		ValidArgs: profile.Names(),
	}
}
