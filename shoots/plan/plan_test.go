package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig"
	"github.com/loam-cloud/loam/shoots/plan"
)

// machine reads a machine: its node, whose name begins with its pool, then version,
// settings and labels; "?" for settings that are not known, "off".
func machine(text string) plan.Machine {
	words := strings.Fields(text)
	m := plan.Machine{Node: words[0], Settings: nodeconfig.Settings{}, Role: v1alpha1.RoleWorker, Version: "v1"}
	m.Pool, _, _ = strings.Cut(words[0], "-")
	switch m.Pool {
	case "cp":
		m.Role = v1alpha1.RoleControlPlane
	case "balancer":
		m.Role = v1alpha1.RoleBalancer
	case "pair":
		m.Together = 2
	}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case word == "?":
			m.Settings = nil
		case word == "off":
			m.Off = true
		case strings.HasPrefix(word, "v"):
			m.Version = word
		case key == "label" || key == "taint":
			m.Marks = map[string]string{key + " " + value: value}
		default:
			m.Settings[key] = value
		}
	}
	return m
}

func machines(texts []string) []plan.Machine {
	var all []plan.Machine
	for _, text := range texts {
		all = append(all, machine(text))
	}
	return all
}

func TestMake(t *testing.T) {
	for name, test := range map[string]struct {
		have, want []string
		// steps: batch, action, node, what changes
		steps []string
	}{
		"nothing": {[]string{"cp-0 a=1", "w-0"}, []string{"cp-0 a=1", "w-0"}, nil},
		"settings, the control plane first, then one worker after the other": {
			[]string{"w-0", "w-1", "cp-0"}, []string{"cp-0 a=1", "w-0 a=1", "w-1 a=1"},
			[]string{"1 Configure cp-0 a:>1", "4 Configure w-0 a:>1", "5 Configure w-1 a:>1"},
		},
		"control planes one after the other": {
			[]string{"cp-0", "cp-1"}, []string{"cp-0 a=1", "cp-1 a=1"},
			[]string{"1 Configure cp-0 a:>1", "2 Configure cp-1 a:>1"},
		},
		"as many as the pool allows, pools apart": {
			[]string{"pair-0 a=1", "pair-1", "pair-2", "w-0"}, []string{"pair-0", "pair-1 a=1", "pair-2 a=1", "w-0 a=1"},
			[]string{"3 Configure pair-0 a:1>", "3 Configure pair-1 a:>1", "4 Configure pair-2 a:>1", "5 Configure w-0 a:>1"},
		},
		"settings that are not known": {
			[]string{"cp-0 ?", "w-0"}, []string{"cp-0", "w-0"},
			[]string{"1 Configure cp-0"},
		},
		"everything": {
			[]string{"balancer v1", "cp-0 v1", "w-0 v1 label=a", "w-1 v1 off", "gone-0"},
			[]string{"balancer v2", "cp-0 v2 a=1", "w-0 v2 label=b", "w-1 v2", "new-0 v2"},
			[]string{
				"1 Upgrade balancer v1>v2", "2 Upgrade cp-0 v1>v2 drained", "3 Configure cp-0 a:>1", "4 Create new-0 >v2",
				"5 Mark w-0 label a:a> label b:>b", "6 Upgrade w-0 v1>v2 drained", "7 Upgrade w-1 v1>v2", "8 Remove gone-0 drained",
			},
		},
		"one node has nowhere to move its pods to": {
			[]string{"cp-0"}, []string{"cp-0 v2"},
			[]string{"1 Upgrade cp-0 v1>v2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range plan.Make(machines(test.have), machines(test.want)) {
				line := fmt.Sprintf("%d %s %s", s.Batch, s.Action, s.Node)
				if s.From+s.To != "" {
					line += " " + s.From + ">" + s.To
				}
				for _, c := range s.Changes {
					line += fmt.Sprintf(" %s:%s>%s", c.Name, c.From, c.To)
				}
				if s.Drained {
					line += " drained"
				}
				got = append(got, line)
			}
			if !slices.Equal(got, test.steps) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.steps, "\n"))
			}
		})
	}
}
