package profile

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// applyHead begins the script that puts files in force. cloud-init runs it for each new
// instance-id, after it has written the files: of what has not changed since it was put
// in force the last time, nothing is started again.
const applyHead = `#!/bin/sh
# Written by Loam. Puts in force what was written anew: may run at any time.
set -u
state=/var/lib/loam/applied
mkdir -p "$state"
failed=0

# apply UNIT FILE... starts a unit again if its files are not those it was started with.
apply() {
  unit=$1
  shift
  systemctl cat "$unit" >/dev/null 2>&1 || return 0
  sum=$(cat -- "$@" | sha256sum)
  if test "$(cat "$state/$unit" 2>/dev/null)" = "$sum"; then return 0; fi
  if systemctl restart "$unit"; then
    printf '%s\n' "$sum" >"$state/$unit"
  else
    echo "apply-profile: $unit does not start" >&2
    failed=1
  fi
}

# start UNIT has a unit start now and at each boot.
start() {
  systemctl cat "$1" >/dev/null 2>&1 || return 0
  systemctl enable --now --quiet "$1" || { echo "apply-profile: $1 cannot be enabled" >&2; failed=1; }
}

systemctl daemon-reload || failed=1
`

// applyHosts keeps lines between two marks of a file that others write to as well.
const applyHosts = `
hosts=$(mktemp)
sed '/^# loam begin$/,/^# loam end$/d' /etc/hosts >"$hosts"
{ echo "# loam begin"; cat ` + hostsPath + `; echo "# loam end"; } >>"$hosts"
cmp -s "$hosts" /etc/hosts || cat "$hosts" >/etc/hosts
rm -f "$hosts"
`

// applyScript names each service with all files that it reads when it starts.
func (r *Resolved) applyScript(files map[string]File) []byte {
	var script bytes.Buffer
	script.WriteString(applyHead)
	if _, is := files[hostsPath]; is {
		script.WriteString(applyHosts)
	}
	units := map[string][]string{}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		for _, unit := range files[path].Restart {
			units[unit] = append(units[unit], quote(path))
		}
	}
	for _, unit := range slices.SortedFunc(maps.Keys(units), restartOrder) {
		fmt.Fprintf(&script, "apply %s %s\n", quote(unit), strings.Join(units[unit], " "))
	}
	var own []string
	for _, path := range slices.Sorted(maps.Keys(files)) {
		name, is := strings.CutPrefix(path, unitsPath)
		// A drop-in is no unit, and a unit that says nothing of when it starts is
		// started by another.
		if is && !strings.Contains(name, "/") && strings.Contains(string(files[path].Content), "\n[Install]") {
			own = append(own, name)
		}
	}
	for _, unit := range slices.Concat(r.Services, own) {
		fmt.Fprintf(&script, "start %s\n", quote(unit))
	}
	script.WriteString("exit $failed\n")
	return script.Bytes()
}

// quote writes a word for a shell.
func quote(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-@:+") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
