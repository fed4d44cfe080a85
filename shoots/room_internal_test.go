package shoots

import "testing"

// TestRoom introduces a node with what its kubelet will say.
func TestRoom(t *testing.T) {
	for name, tc := range map[string]struct {
		printed      string
		pool         Pool
		cpu          int64
		memory, pods int64
	}{
		"all that the host has":  {"4\n8388608\n", Pool{}, 4000, 8 << 30, 110},
		"a bound of both":        {"4\n2097152\n", Pool{CPUs: 2, MemoryBytes: 2 << 30, MaxPods: 50}, 2000, 2 << 30, 50},
		"a part of a processor":  {"4\n8388608\n", Pool{CPUs: 1.5}, 1500, 8 << 30, 110},
		"more than the host has": {"2\n8388608\n", Pool{CPUs: 64}, 2000, 8 << 30, 110},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := room(tc.printed, tc.pool)
			if err != nil || got.Cpu().MilliValue() != tc.cpu || got.Memory().Value() != tc.memory || got.Pods().Value() != tc.pods {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	if _, err := room("many", Pool{}); err == nil {
		t.Error("what is no number was taken")
	}
}
