package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/controllers/declaration"
)

func newDebug() *cobra.Command {
	cmd := &cobra.Command{Use: "debug", Short: "Look at how Loam is made"}
	group(cmd)
	cmd.AddCommand(newDebugControllers())
	return cmd
}

func newDebugControllers() *cobra.Command {
	var format string
	var role bool
	cmd := &cobra.Command{
		Use:   "controllers",
		Short: "Show what each controller of the fleet reads and writes",
		Long: `Show what each controller of the fleet reads and writes. The role that
"loam controller-manager" needs beside another API server follows from it.`,
		Example: `  loam debug controllers
  loam debug controllers -o wide
  loam debug controllers --role > role.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			all := app.Declarations()
			if role {
				return (&printers.YAMLPrinter{}).PrintObj(managerRole(all), cmd.OutOrStdout())
			}
			return printData(cmd.OutOrStdout(), format, all, func(w io.Writer) error { return printDeclarations(w, all, format == "wide") })
		},
	}
	outputFlag(cmd, &format)
	cmd.Flags().BoolVar(&role, "role", false, "print the ClusterRole that all of them need together")
	return cmd
}

// managerRole has the name that deploy/ binds.
func managerRole(all []declaration.Declaration) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: "loam-controller-manager"},
		Rules:      declaration.Rules(all...),
	}
}

func printDeclarations(w io.Writer, all []declaration.Declaration, wide bool) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	fmt.Fprintln(t, "CONTROLLER\tREADS\tWRITES")
	for _, d := range all {
		var reads, writes []string
		for _, read := range d.Reads {
			reads = append(reads, readName(read, wide))
		}
		for _, write := range d.Writes {
			writes = append(writes, writeName(write, wide))
		}
		// Side by side, so that a terminal shows long lists.
		for i := range max(len(reads), len(writes), 1) {
			fmt.Fprintf(t, "%s\t%s\t%s\n", at([]string{d.Controller}, i), at(reads, i), at(writes, i))
		}
	}
	return t.Flush()
}

func readName(read declaration.Read, wide bool) string {
	if wide && read.MetadataOnly {
		return read.Resource + " (metadata)"
	}
	return read.Resource
}

func writeName(write declaration.Write, wide bool) string {
	if !wide {
		return write.Resource
	}
	name := write.Resource + " (" + strings.Join(write.Verbs, ", ") + ")"
	if len(write.Fields) > 0 {
		name += ": " + strings.Join(write.Fields, ", ")
	}
	return name
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}
