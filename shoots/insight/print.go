package insight

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

// Print writes the page for a person to read.
func (p Page) Print(w io.Writer) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "Cluster %q of project %q\n", p.Name, p.Project)
	table(&out, func(t io.Writer) {
		row(t, "state:", cmp.Or(p.State, "not known: no garden runs that knows it"))
		if p.KubernetesVersion != "" {
			row(t, "asked for:", "Kubernetes "+p.KubernetesVersion)
		}
		row(t, "API server:", p.API.text())
		if p.API.Inside != "" {
			row(t, "from nodes:", p.API.Inside)
		}
	})
	for _, n := range p.Nodes {
		n.print(&out, p.Seen)
	}
	p.printPorts(&out)
	if len(p.Unseen) > 0 {
		fmt.Fprintln(&out, "\nNot seen")
		for _, u := range p.Unseen {
			fmt.Fprintf(&out, "  %s: %s\n", u.What, strings.ReplaceAll(u.Why, "\n", " "))
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

func (a API) text() string {
	switch {
	case a.Ready:
		return a.Address + ", answers as " + a.Version
	case a.Address == "":
		return "none: " + a.Problem
	}
	return a.Address + ", does not answer"
}

// table writes rows of columns, indented. The last column is not padded.
func table(w io.Writer, rows func(io.Writer)) {
	var aligned bytes.Buffer
	t := tabwriter.NewWriter(&aligned, 0, 8, 2, ' ', 0)
	rows(t)
	_ = t.Flush() // a buffer takes everything
	for line := range strings.Lines(aligned.String()) {
		fmt.Fprintf(w, "  %s\n", strings.TrimRight(line, " \n"))
	}
}

func row(w io.Writer, columns ...string) {
	fmt.Fprintln(w, strings.Join(columns, "\t"))
}

func (n Node) print(w io.Writer, now time.Time) {
	role := map[v1alpha1.MachineRole]string{v1alpha1.RoleControlPlane: "control plane", v1alpha1.RoleWorker: "worker", v1alpha1.RoleBalancer: "load balancer"}[v1alpha1.MachineRole(n.Role)]
	what := "Node"
	if n.Role == balancer {
		what = "Machine"
	}
	fmt.Fprintf(w, "\n%s %s (%s)\n", what, n.Name, cmp.Or(role, n.Role, "role not known"))
	table(w, func(t io.Writer) {
		row(t, "container:", n.Container+"  "+short(n.ContainerID))
		row(t, "image:", n.Image+"  "+short(n.ImageID))
		row(t, "state:", n.state(now))
		row(t, "addresses:", strings.Join(n.Addresses, ", "))
		row(t, "bounds:", n.bounds())
		if k := n.Kubernetes; k != nil {
			row(t, "node:", k.text())
			row(t, "allocatable:", fmt.Sprintf("%s CPU, %s memory; %d of %d pods run", k.AllocatableCPU, k.AllocatableMemory, k.RunningPods, k.Pods))
		}
	})
	n.printProcesses(w)
	n.printCertificates(w)
	if len(n.Disks)+len(n.Mounts) > 0 {
		fmt.Fprintln(w)
		table(w, func(t io.Writer) {
			row(t, "DISK", "SIZE", "VOLUME")
			for _, d := range n.Disks {
				row(t, d.Path, size(d.Bytes), d.Volume)
			}
			for _, m := range n.Mounts {
				row(t, m.Path, "", "folder "+m.HostPath+map[bool]string{true: ", read only"}[m.ReadOnly])
			}
		})
	}
	fmt.Fprintln(w)
	table(w, func(t io.Writer) {
		row(t, "FILES", "IN THE NODE", "ON THE HOST")
		for _, f := range n.Files {
			row(t, f.What, f.Path, f.HostPath)
		}
	})
}

func (n Node) printProcesses(w io.Writer) {
	if len(n.Processes) == 0 {
		return
	}
	fmt.Fprintln(w)
	table(w, func(t io.Writer) {
		row(t, "PROCESS", "KIND", "STATE", "PID", "MEMORY", "AGE", "RESTARTS")
		for _, p := range n.Processes {
			pid, memory, age, restarts := "-", "-", "-", "-"
			if p.PID != 0 {
				pid, memory, age = fmt.Sprint(p.PID), size(&p.MemoryBytes), duration.HumanDuration(time.Duration(p.Seconds)*time.Second)
			}
			if p.Restarts != nil {
				restarts = fmt.Sprint(*p.Restarts)
			}
			row(t, p.Name, p.Kind, p.State, pid, memory, age, restarts)
		}
	})
}

func (n Node) printCertificates(w io.Writer) {
	if len(n.Certificates) == 0 {
		return
	}
	fmt.Fprintln(w)
	table(w, func(t io.Writer) {
		row(t, "CERTIFICATE", "SUBJECT", "EXPIRES", "DAYS LEFT")
		for _, c := range n.Certificates {
			row(t, c.File, c.Subject, c.Expires.Format(time.DateOnly), c.left())
		}
	})
}

func (c Certificate) left() string {
	switch c.State {
	case CertificateExpired:
		return fmt.Sprintf("%d  EXPIRED", c.DaysLeft)
	case CertificateNear:
		return fmt.Sprintf("%d  SOON", c.DaysLeft)
	}
	return fmt.Sprint(c.DaysLeft)
}

func (p Page) printPorts(w io.Writer) {
	if len(p.Ports) > 0 {
		silent := "nothing"
		if !p.API.Ready {
			silent = "not known"
		}
		fmt.Fprintln(w, "\nPorts")
		table(w, func(t io.Writer) {
			row(t, "THIS HOST", "NODE", "PROTOCOL", "SERVICE")
			for _, one := range p.Ports {
				row(t, cmp.Or(one.Host, "-"), one.Node, one.Protocol, cmp.Or(one.Service, silent))
			}
		})
	}
	if len(p.Services) > 0 {
		fmt.Fprintln(w, "\nServices")
		table(w, func(t io.Writer) {
			row(t, "NAMESPACE", "NAME", "TYPE", "ADDRESSES", "EXTERNAL", "PORTS")
			for _, s := range p.Services {
				row(t, s.Namespace, s.Name, s.Type, list(s.Addresses), list(s.External), list(s.Ports))
			}
		})
	}
}

func list(all []string) string { return cmp.Or(strings.Join(all, ","), "-") }

func (n Node) state(now time.Time) string {
	text := n.State
	switch {
	case n.Stopped != nil:
		text += fmt.Sprintf(" for %s, exit code %d", duration.HumanDuration(now.Sub(*n.Stopped)), n.ExitCode)
	case n.Started != nil:
		text += " for " + duration.HumanDuration(now.Sub(*n.Started))
	}
	if n.OutOfMemory {
		text += ", ended by the kernel for its memory"
	}
	if n.Restarts > 0 {
		text += fmt.Sprintf(", restarted by the engine: %d", n.Restarts)
	}
	return text
}

func (n Node) bounds() string {
	cpu, memory := "no bound of CPU", "no bound of memory"
	if n.CPUs > 0 {
		cpu = fmt.Sprintf("%g CPUs", n.CPUs)
	}
	if n.MemoryBytes > 0 {
		memory = size(&n.MemoryBytes) + " memory"
	}
	return cpu + ", " + memory
}

func (k Kubernetes) text() string {
	text := "Ready"
	if !k.Ready {
		text = "not ready: " + k.Problem
	}
	if k.Cordoned {
		text += ", cordoned"
	}
	return text + ", " + k.Version + ", " + k.Runtime
}

// short is the beginning of an id, as container engines show it.
func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), 12)]
}

// size is a number of bytes for a person to read.
func size(bytes *int64) string {
	if bytes == nil {
		return "not known"
	}
	const unit = 1024
	switch b := *bytes; {
	case b < unit:
		return fmt.Sprintf("%d B", b)
	case b < unit*unit:
		return fmt.Sprintf("%.0f KiB", float64(b)/unit)
	case b < unit*unit*unit:
		return fmt.Sprintf("%.0f MiB", float64(b)/unit/unit)
	default:
		return fmt.Sprintf("%.1f GiB", float64(*bytes)/unit/unit/unit)
	}
}
