#!/usr/bin/env bash
# Measures the garden and a cluster's start on this host and prints a table.
# Figures of one run are to be compared with each other only.
set -eu -o pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
scripts/say "Measuring; this takes some minutes"
measure() { go test -run '^$' -timeout 60m -bench "$1" -benchtime "$2" "$3" | tee -a "$out" >&2; }
measure 'Ready|Resident|Stop' 3x ./garden
measure 'Create' 1000x ./garden
measure 'List' 20x ./garden
measure 'Landscape' 1x ./garden
measure 'Authorize' 1s ./garden/authorization/seeds
measure '.' 3x ./test/e2e
measure 'Manager' 1x ./test/fleet
measure 'Pull' 3x ./registry/through
measure '.' 1x ./test/cachebench
measure 'Sweep' 1x ./registry/store
measure 'Manifests' 5s ./registry/through
scripts/say "Results"
awk '
  function host() {
    "nproc" | getline cores
    "uname -r" | getline kernel
    while ((getline line < "/proc/meminfo") > 0) if (line ~ /^MemTotal/) { split(line, m, " "); break }
    printf "%d cores, %.0f GiB, kernel %s\n\n", cores, m[2] / 1048576, kernel
  }
  BEGIN { host(); printf "| %-44s | %14s | %s\n|%s|%s|%s\n", "benchmark", "value", "unit", "---", "---", "---" }
  /^Benchmark/ {
    name = $1; sub(/^Benchmark/, "", name); sub(/-[0-9]+$/, "", name)
    for (i = 3; i < NF; i += 2) {
      value = $i; unit = $(i + 1)
      if (unit == "ns/op") { value = sprintf("%.3f", value / 1e9); unit = "s/op" }
      printf "| %-44s | %14s | %s\n", name, value, unit
    }
  }' "$out"
