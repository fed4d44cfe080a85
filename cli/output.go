package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/fault"
)

var formats = []string{"json", "yaml", "wide"}

func outputFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVarP(format, "output", "o", "", "output format: "+strings.Join(formats, ", "))
	// The flag exists: it was made in the line above.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

func checkFormat(format string) error {
	switch format {
	case "", "json", "yaml", "wide":
		return nil
	}
	return fault.New(fault.Invalid, "--output: %q must be one of %s", format, strings.Join(formats, ", "))
}

// show prints an object as the format says: whole, or as a table.
func show(w io.Writer, format string, o runtime.Object, table func(w io.Writer, wide bool)) error {
	switch format {
	case "json":
		return (&printers.JSONPrinter{}).PrintObj(o, w)
	case "yaml":
		return (&printers.YAMLPrinter{}).PrintObj(o, w)
	}
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	table(t, format == "wide")
	return t.Flush()
}

// sayer tells a person what is going on.
type sayer func(format string, args ...any)

func printer(w io.Writer) sayer {
	return func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
}

// printData prints plain data as the format says: whole, or as text.
func printData(w io.Writer, format string, data any, text func(io.Writer) error) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(data)
	case "yaml":
		encoded, err := yaml.Marshal(data)
		if err != nil {
			return err
		}
		_, err = w.Write(encoded)
		return err
	}
	return text(w)
}
