package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
)

const configHead = "apiVersion: loam.dev/v1alpha1\nkind: UpConfiguration\n"

func TestParseConfig(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		// want are parts of the error; none means that there is none.
		want []string
	}{
		"everything":          {configHead + "dataDir: /d\nlisten: 127.0.0.1:1\ndockerHost: unix:///x\nmanifests: [a, b]\n", nil},
		"the least":           {configHead, nil},
		"JSON":                {`{"apiVersion":"loam.dev/v1alpha1","kind":"UpConfiguration"}`, nil},
		"an end mark":         {"---\n" + configHead + "---\n# nothing\n", nil},
		"nothing":             {"", []string{"apiVersion", "kind"}},
		"unknown fields":      {configHead + "datadir: /d\nport: 1\n", []string{`unknown field "datadir"`, `unknown field "port"`}},
		"unknown and unnamed": {"kind: UpConfiguration\nport: 1\n", []string{`unknown field "port"`, "apiVersion: Unsupported value"}},
		"a field twice":       {configHead + "listen: a\nlisten: b\n", []string{"listen"}},
		"another kind":        {"apiVersion: v1\nkind: Pod\n", []string{`apiVersion: Unsupported value: "v1": supported values: "loam.dev/v1alpha1"`, `kind: Unsupported value: "Pod"`}},
		"another type":        {configHead + "listen: [a]\n", []string{"listen"}},
		"no mapping":          {"[a]", []string{"cannot unmarshal"}},
		"no YAML":             {"a: [", []string{"line 1"}},
		"two documents":       {configHead + "---\n" + configHead, []string{"2 documents"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig([]byte(tc.text))
			if (err == nil) != (tc.want == nil) {
				t.Fatalf("got %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, seed := range []string{configHead, configHead + "listen: x\nmanifests: [a]\n", "{}", "---\n---\n", "a: &a [*a]", "kind: [", "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := parseConfig(text)
		if err != nil {
			return
		}
		// What is accepted means the same when it is written and read again.
		written, err := yaml.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseConfig(written)
		if err != nil || again.Listen != file.Listen || again.DataDir != file.DataDir || again.DockerHost != file.DockerHost || !slices.Equal(again.Manifests, file.Manifests) {
			t.Errorf("%q became %+v, then %+v, %v", text, file, again, err)
		}
	})
}

func TestReadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "up.yaml")
	if err := os.WriteFile(path, []byte(configHead+"dataDir: /file\nlisten: file:1\nmanifests: [file.yaml]\nregistry: {enabled: false, configFile: file.cache}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args         []string
		listen, file string
		images       imageCacheFlags
	}{
		"the file alone": {nil, "file:1", "file.yaml", imageCacheFlags{false, "file.cache"}},
		"flags win": {
			[]string{"--listen", "flag:1", "-f", "flag.yaml", "--registry", "--registry-config", "flag.cache"},
			"flag:1", "flag.yaml", imageCacheFlags{true, "flag.cache"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var c app.Config
			flags := pflag.NewFlagSet("up", pflag.ContinueOnError)
			flags.StringVar(&c.Listen, "listen", "", "")
			flags.StringArrayVarP(&c.Manifests, "filename", "f", nil, "")
			var images imageCacheFlags
			images.add(flags)
			must(t, flags.Parse(tc.args))
			must(t, readConfig(path, &c, &images, flags))
			if c.DataDir != "/file" || c.Listen != tc.listen || !slices.Equal(c.Manifests, []string{tc.file}) || images != tc.images {
				t.Errorf("got %+v, %+v", c, images)
			}
		})
	}
	var c app.Config
	var images imageCacheFlags
	if err := readConfig(path+".none", &c, &images, pflag.NewFlagSet("up", pflag.ContinueOnError)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without the file: %v", err)
	}
	if err := readConfig("", &c, &images, nil); err != nil || c.DataDir != "" {
		t.Errorf("no file named: %v, %+v", err, c)
	}
}
