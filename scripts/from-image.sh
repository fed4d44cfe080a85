#!/usr/bin/env bash
# Copies a file out of the node image: from-image.sh PATH DESTINATION
set -eu
id=$(docker create loam/node:v1.36.3)
trap 'docker rm -v "$id" >/dev/null' EXIT
mkdir -p "$(dirname "$2")"
docker cp "$id:$1" "$2"
chmod 755 "$2"
