#!/usr/bin/env bash
# Writes all generated code anew. Nothing may differ from what is committed.
set -eu -o pipefail
cd "$(dirname "$0")/.."
garden/openapi/generate.sh
gofmt -l $(git ls-files '*.go') | tee /dev/stderr | { ! grep -q .; }
