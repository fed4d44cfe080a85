#!/usr/bin/env bash
# Installs what is missing on a Debian 12 host with Go, starts Docker where none
# runs, and builds loam and its node image. A second run changes nothing.
set -eu -o pipefail
cd "$(dirname "$0")/.."
say() { scripts/say "$@"; }

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need dockerd docker.io
need debootstrap debootstrap
need iptables iptables
need busybox busybox-static
need curl curl
need skopeo skopeo
if [ -n "${LOAM_VM:-}" ]; then
  need qemu-system-x86_64 qemu-system-x86
  need qemu-img qemu-utils
  need genisoimage genisoimage
fi
command -v go >/dev/null 2>&1 || { echo "Go is missing: install the version that go.mod names, or newer" >&2; exit 1; }

if [ "${#missing[@]}" -gt 0 ]; then
  [ "$(id -u)" = 0 ] || { echo "these Debian packages are missing, and only root can install them: ${missing[*]}" >&2; exit 1; }
  say "Installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # Services are not started by their packages: the next step does.
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! docker info >/dev/null 2>&1; then
  say "Starting Docker"
  scripts/start-docker.sh
fi

# A node takes about 13 of these, and a host's default is 128 for all.
instances=/proc/sys/fs/inotify/max_user_instances
if [ "$(cat $instances)" -lt 1024 ]; then
  say "Letting programs watch more files (fs.inotify.max_user_instances=1024, until the next boot)"
  echo 1024 2>/dev/null >$instances || echo "only root can do that; more than nine nodes at once will not start" >&2
fi

make --no-print-directory build

say "Building the node image (the first time takes minutes)"
bin/loam image build

# What upgrades are tested from. It shares all but Kubernetes' own programs.
say "Building the node image of an older version (the first time takes minutes)"
nice -n 10 bin/loam image build --kubernetes-version v1.36.2

if [ "$(id -u)" = 0 ]; then
  say "Making the Debian machine that node profiles are tried in (the first time takes minutes)"
  go test -count=1 -timeout 60m -run '^TestMachineIsThere$' ./test/boot >/dev/null
fi
