package insight

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/loam-cloud/loam/nodeconfig"
)

// probeScript asks a node for what only its inside knows. It is to run on any
// node image, so it takes what is there and says nothing of the rest.
const probeScript = `
echo '# units'
units='containerd.service kubelet.service'
if test -e ` + nodeconfig.BalancerPath + `; then units=` + nodeconfig.BalancerUnit + `; fi
systemctl show $units -p Id,ActiveState,SubState,MainPID,NRestarts 2>/dev/null
echo '# processes'
ps -eo pid=,rss=,etimes=,comm= 2>/dev/null
echo '# paths'
for p in "$@"; do test -e "$p" && echo "$p"; done
echo '# logs'
ls -1 /var/log/pods/*/*/*.log 2>/dev/null
true
`

// probe is what the script answers.
type probe struct {
	units     []unit
	processes []process
	paths     []string
	// restarts counts how often containers were started again, by name.
	restarts map[string]int
}

type unit struct {
	name, active, sub string
	pid, restarts     int
}

type process struct {
	pid     int
	rss     int64
	seconds int64
	command string
}

// parseProbe reads the answer. Lines that are not understood are passed over:
// images differ, and a page without a line is better than none.
func parseProbe(text string) probe {
	p := probe{restarts: map[string]int{}}
	section := ""
	var block []string
	flush := func() {
		if u, ok := parseUnit(block); ok {
			p.units = append(p.units, u)
		}
		block = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, found := strings.CutPrefix(line, "# "); found {
			flush()
			section = name
			continue
		}
		switch section {
		case "units":
			if line == "" {
				flush()
			} else {
				block = append(block, line)
			}
		case "processes":
			if one, ok := parseProcess(line); ok {
				p.processes = append(p.processes, one)
			}
		case "paths":
			if strings.HasPrefix(line, "/") {
				p.paths = append(p.paths, line)
			}
		case "logs":
			if name, n, ok := logNumber(line); ok {
				p.restarts[name] = max(p.restarts[name], n)
			}
		}
	}
	flush()
	return p
}

// logNumber reads how often a container was started again from the path of its
// log, which the kubelet numbers: /var/log/pods/kube-system_etcd-node_uid/etcd/3.log.
func logNumber(file string) (container string, restarts int, ok bool) {
	number, found := strings.CutSuffix(path.Base(file), ".log")
	n, err := strconv.Atoi(number)
	return path.Base(path.Dir(file)), n, found && err == nil
}

func parseUnit(lines []string) (unit, bool) {
	var u unit
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "Id":
			u.name = strings.TrimSuffix(value, ".service")
		case "ActiveState":
			u.active = value
		case "SubState":
			u.sub = value
		case "MainPID":
			u.pid, _ = strconv.Atoi(value) // 0 says that there is none
		case "NRestarts":
			u.restarts, _ = strconv.Atoi(value)
		}
	}
	return u, u.name != ""
}

func parseProcess(line string) (process, bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return process{}, false
	}
	pid, err1 := strconv.Atoi(fields[0])
	rss, err2 := strconv.ParseInt(fields[1], 10, 64)
	seconds, err3 := strconv.ParseInt(fields[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return process{}, false
	}
	return process{pid: pid, rss: rss << 10, seconds: seconds, command: strings.Join(fields[3:], " ")}, true
}

// commandLength is how much of a program's name the kernel keeps (TASK_COMM_LEN
// less the final zero).
const commandLength = 15

// find returns the process of a program, by pid where one is known. Of several
// the oldest is it.
func (p probe) find(name string, pid int) (process, bool) {
	short := name[:min(len(name), commandLength)]
	var found []process
	for _, one := range p.processes {
		if pid != 0 && one.pid == pid || pid == 0 && one.command == short {
			found = append(found, one)
		}
	}
	if len(found) == 0 {
		return process{}, false
	}
	return slices.MaxFunc(found, func(a, b process) int { return int(a.seconds - b.seconds) }), true
}

// list makes the processes of the page: the units, then the static pods, then
// what pods of every cluster run on the node. Static says the pods by name, seen
// what the cluster tells of them; of those that it does not tell, logs say how
// often they were started again.
func (p probe) list(static []string, seen map[string]podState) []Process {
	var all []Process
	for _, u := range p.units {
		one := Process{Name: u.name, Kind: "unit", State: u.active + " (" + u.sub + ")", Restarts: &u.restarts}
		p.fill(&one, u.pid)
		all = append(all, one)
	}
	for _, name := range static {
		one := Process{Name: name, Kind: "static pod", State: "not running"}
		if p.fill(&one, 0) {
			one.State = "running"
		}
		if n, found := p.restarts[name]; found {
			one.Restarts = &n
		}
		if s, found := seen[name]; found {
			one.State, one.Restarts = s.state, &s.restarts
		}
		all = append(all, one)
	}
	for _, name := range []string{"kube-proxy", "flannel", "flanneld", "kindnetd", "coredns"} {
		one := Process{Name: name, Kind: "process", State: "running"}
		if p.fill(&one, 0) {
			all = append(all, one)
		}
	}
	return all
}

func (p probe) fill(one *Process, pid int) bool {
	running, found := p.find(one.Name, pid)
	if found {
		one.PID, one.MemoryBytes, one.Seconds = running.pid, running.rss, running.seconds
	}
	return found
}
