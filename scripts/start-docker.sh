#!/usr/bin/env bash
# Starts the Docker daemon: as a service where systemd runs, by hand elsewhere.
set -eu
if [ -d /run/systemd/system ]; then
  systemctl start docker
else
  [ "$(id -u)" = 0 ] || { echo "Docker does not run, and only root can start it" >&2; exit 1; }
  log=/var/log/loam-dockerd.log
  setsid dockerd >"$log" 2>&1 </dev/null &
fi
for _ in $(seq 150); do
  docker info >/dev/null 2>&1 && exit 0
  sleep 0.2
done
echo "Docker did not start within 30 s${log:+; see $log}" >&2
exit 1
