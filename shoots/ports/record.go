package ports

import (
	"encoding/json"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/loam-cloud/loam/nodeconfig/provider"
)

// recordKey is where a ConfigMap has the lines of a cluster.
const recordKey = "ports.json"

// RecordName is the name of the ConfigMap, beside a Shoot, that holds the lines
// of its cluster.
func RecordName(shoot string) string { return shoot + ".ports" }

// Write is what the ConfigMap holds.
func Write(lines []Line) (map[string]string, error) {
	text, err := json.Marshal(lines)
	if err != nil {
		return nil, err
	}
	return map[string]string{recordKey: string(text)}, nil
}

// Read reads what Write made.
func Read(data map[string]string) ([]Line, error) {
	var lines []Line
	if data[recordKey] == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(data[recordKey]), &lines); err != nil {
		return nil, fmt.Errorf("reading the ports that were recorded: %w", err)
	}
	return lines, nil
}

// Loopback is the address that ports are opened on when nobody names one.
func Loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// MappingsOf are the mappings that a provider configuration asks for.
func MappingsOf(all []provider.Port) []Mapping {
	var mappings []Mapping
	again := map[string]int{}
	for _, p := range all {
		m := Mapping{Listen: p.Address, Host: p.Host, Node: p.Container, Protocol: corev1.Protocol(p.Protocol)}
		if !m.Listen.IsValid() {
			m.Listen = Loopback()
		}
		m.ID = fmt.Sprintf("mapping/%s/%d/%d/%s", m.Listen, m.Host, m.Node, m.Protocol)
		if m.Host == 0 {
			// Several free ports for the same port of the nodes are told apart by their
			// place among them.
			again[m.ID]++
			m.ID = fmt.Sprintf("%s/%d", m.ID, again[m.ID])
		}
		mappings = append(mappings, m)
	}
	return mappings
}

// Unattended explains what there is while nobody listens: only what the container
// engine publishes leads into the cluster.
func Unattended(v View, why string) []Line {
	v.EndpointsUnknown = true
	lines := []Line{}
	for _, w := range Decide(v) {
		if w.Listen.IsValid() {
			w.Note = why
		}
		lines = append(lines, w.Line)
	}
	return lines
}
