// Package docs keeps the pages honest: every loam command in them is one that
// the command line takes, every manifest is one that the garden or a reader of
// files accepts, and every link leads somewhere.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/cli"
	"github.com/loam-cloud/loam/cli/kindfile"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/nodeconfig/profile"
	"github.com/loam-cloud/loam/shoots/manifest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// block is a fenced block of a page.
type block struct{ page, language, text string }

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```")

func blocks(t *testing.T) []block {
	t.Helper()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
			all = append(all, block{strings.TrimPrefix(page, "../../"), m[1], m[2]})
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d blocks were found", len(all))
	}
	return all
}

func TestCommandsAreTaken(t *testing.T) {
	seen := 0
	for _, b := range blocks(t) {
		for line := range strings.Lines(b.text) {
			words, ok := strings.CutPrefix(strings.TrimSpace(line), "$ loam ")
			if b.language != "console" || !ok {
				continue
			}
			seen++
			args := strings.Fields(words)
			cmd, rest, err := cli.New().Find(args)
			if err == nil {
				err = parse(cmd, rest)
			}
			if err != nil || cmd.RunE == nil {
				t.Errorf("%s: loam %s: %v", b.page, words, err)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d commands were found", seen)
	}
}

func parse(cmd *cobra.Command, args []string) error {
	if err := cmd.ParseFlags(args); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

func TestManifestsAreAccepted(t *testing.T) {
	c := gardentest.Client(t)
	seen := 0
	for _, b := range blocks(t) {
		if b.language != "yaml" {
			continue
		}
		seen++
		switch text := []byte(b.text); {
		case kindfile.Is(text):
			if err := kindfile.Read(text, "/", &gardencorev1beta1.Shoot{}); err != nil {
				t.Errorf("%s: %v", b.page, err)
			}
		case strings.Contains(b.text, "kind: RegistryConfiguration"):
			if err := readRegistryConfig(b.text); err != nil {
				t.Errorf("%s: %v", b.page, err)
			}
		case strings.Contains(b.text, "kind: NodeProfile"):
			if _, err := profile.Parse(b.page, text); err != nil {
				t.Error(err)
			}
		case strings.Contains(b.text, "kind: UpConfiguration"):
			// Read by the command's own tests; here it must only be YAML.
			if err := yaml.Unmarshal(text, &map[string]any{}); err != nil {
				t.Errorf("%s: %v", b.page, err)
			}
		default:
			objects, err := manifest.Decode(strings.NewReader(b.text))
			if err != nil {
				t.Errorf("%s: %v", b.page, err)
			}
			for _, object := range objects {
				if err := client.WithFieldValidation(c, metav1.FieldValidationStrict).Create(t.Context(), object, client.DryRunAll); err != nil {
					t.Errorf("%s: the garden refuses %s %q: %v", b.page, object.GetKind(), object.GetName(), err)
				}
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d manifests were found", seen)
	}
}

var link = regexp.MustCompile(`\]\(([^)#]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: link to %s leads nowhere", page, m[1])
			}
		}
	}
}
