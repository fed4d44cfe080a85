package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/cli"
	"github.com/loam-cloud/loam/fault"
)

// run runs loam in this process, without a garden: on an empty folder of its own.
func run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	t.Setenv("LOAM_DATA_DIR", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "config"))
	var out, problems bytes.Buffer
	root := cli.New()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&problems)
	err = root.ExecuteContext(t.Context())
	return out.String(), problems.String(), err
}

func TestCommandsThatNeedNoGarden(t *testing.T) {
	for args, want := range map[string]string{
		"":                            "loam cluster create demo grow a Kubernetes cluster",
		"--help":                      "Available Commands",
		"--version":                   "loam version v",
		"cluster":                     "loam cluster create demo --workers 2",
		"cluster create --help":       "--retain",
		"cluster delete --help":       "--kubeconfig",
		"image":                       "loam image build",
		"completion bash":             "__start_loam",
		"completion zsh":              "#compdef loam",
		"__complete cluster ":         "create\tGrow a Kubernetes cluster",
		"__complete cluster list -o ": "yaml",
		"__complete image build --kubernetes-version v1.": "v1.36.3",
		"__complete cluster get ":                         ":1", // an error: there is no garden to ask
	} {
		t.Run(args, func(t *testing.T) {
			words := strings.Fields(args)
			if strings.HasSuffix(args, " ") {
				words = append(words, "")
			}
			out, _, err := run(t, words...)
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("got %v and\n%s\nwant %q", err, out, want)
			}
		})
	}
}

func TestCommandsThatAreRefused(t *testing.T) {
	for args, want := range map[string]string{
		"clutser list":                  `unknown command "clutser" for "loam"`,
		"cluster crete demo":            `unknown command "crete" for "loam cluster"`,
		"image bild":                    `unknown command "bild" for "loam image"`,
		"cluster list -o xml":           `--output: "xml" must be one of json, yaml, wide`,
		"cluster list --colour red":     "unknown flag: --colour",
		"cluster get":                   "loam cluster get takes the name of a cluster",
		"cluster get a b":               "loam cluster get takes the name of a cluster",
		"cluster create":                "takes the name of the new cluster, or a file",
		"cluster create a b":            "takes the name of the new cluster, or a file",
		"cluster create a --workers -1": "must not be negative",
		"cluster create a --workers x":  "invalid argument",
		"cluster list":                  "no garden runs on",
		"cluster get demo":              "loam up --detach",
		"cluster delete demo":           "no garden runs on",
		"cluster kubeconfig demo":       "no garden runs on",
		"up --config /none.yaml":        "reading the configuration",
		"up --listen 1":                 "must be address:port",
		"up extra":                      "unknown command",

		"seed token create Rack":                   `name: Invalid value: "Rack"`,
		"seed token create rack --server http://a": `server: Invalid value: "http://a": must be a URL, for example https://`,
	} {
		t.Run(args, func(t *testing.T) {
			out, _, err := run(t, strings.Fields(args)...)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v and\n%s\nwant %q", err, out, want)
			}
			if cli.ExitCode(err) != 1 {
				t.Errorf("exit code %d", cli.ExitCode(err))
			}
			if _, err := os.Stat(os.Getenv("LOAM_DATA_DIR")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the data folder was made: %v", err)
			}
		})
	}
}

func TestStatusWithoutAGarden(t *testing.T) {
	out, _, err := run(t, "status", "-o", "json")
	if cli.ExitCode(err) != 3 || !strings.Contains(err.Error(), "loam up --detach") {
		t.Errorf("got exit code %d, %v", cli.ExitCode(err), err)
	}
	if !strings.Contains(out, `"running": false`) {
		t.Errorf("the user reads\n%s", out)
	}
	if _, said, err := run(t, "down"); err != nil || !strings.Contains(said, "No garden runs") {
		t.Errorf("down: %v, %q", err, said)
	}
}

type coded int

func (c coded) Error() string { return fmt.Sprint(int(c)) }
func (c coded) ExitCode() int { return int(c) }

func TestExitCode(t *testing.T) {
	for want, errs := range map[int][]error{
		0: {nil},
		1: {errors.New("plain"), fault.New(fault.Invalid, "no"), coded(0), coded(-1)},
		3: {coded(3), fmt.Errorf("asking: %w", coded(3))},
	} {
		for _, err := range errs {
			if got := cli.ExitCode(err); got != want {
				t.Errorf("of %v: %d, want %d", err, got, want)
			}
		}
	}
}

// TestEveryCommandExplainsItself keeps the help whole.
func TestEveryCommandExplainsItself(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" || c.HasSubCommands() == false && c.RunE == nil {
			t.Errorf("%s: short %q, runs: %v", c.CommandPath(), c.Short, c.RunE != nil)
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(cli.New())
}
