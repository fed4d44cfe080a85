package profile_test

import (
	"bytes"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/profile"
)

// FuzzParse takes in any text as a profile. What is accepted is rendered, or refused
// with a reason, twice the same, and is YAML where it should be.
func FuzzParse(f *testing.F) {
	for _, name := range profile.Names() {
		text, err := profile.Text(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	const head = "apiVersion: loam.dev/v1alpha1\nkind: NodeProfile\n"
	f.Add([]byte(head + "extends: kubernetes\nkubelet: {evictionHard: null}\nfiles: {/etc/a b: {content: \"'\\n\\t\\0\"}}\n"))
	f.Add([]byte(head + "users: {ann: {sudo: true}}\nsysctls: {a.b: c}\ncontainerd: {collection: {scheduleDelay: 1h}}\n"))
	f.Add([]byte(head + "inContainer:\n  # why\n  kubelet: {maxPods: 1}\nkubelet: {shutdownGracePeriodByPodPriority: [{priority: 0}]}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := profile.Parse("fuzzed", text)
		if err != nil {
			return
		}
		for _, container := range []bool{false, true} {
			in := machine(v1alpha1.RoleControlPlane, "2.2.1")
			in.Container = container
			out, err := p.Render(in)
			if err != nil {
				continue
			}
			again, err := p.Render(in)
			if err != nil || !bytes.Equal(out.UserData, again.UserData) {
				t.Fatalf("rendered twice it differs, %v", err)
			}
			for _, document := range [][]byte{out.UserData, out.VendorData, out.NetworkConfig} {
				if err := yaml.Unmarshal(document, &map[string]any{}); err != nil {
					t.Fatalf("%v in %s", err, document)
				}
			}
			r, err := p.Resolve(in)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range r.Values() {
				if v.Path == "" || v.Source == "" {
					t.Fatalf("%+v comes from nowhere", v)
				}
			}
		}
	})
}
