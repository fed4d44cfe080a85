# Everything here works on a fresh Debian 12 with Go. What was downloaded or
# built once is kept in Go's own caches and in $(LOAM_CACHE_DIR), outside the tree.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

LOAM := bin/loam
BUILD_FLAGS := -ldflags "-s -w"
GOTESTSUM := gotest.tools/gotestsum@v1.13.0
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.13.2

export CGO_ENABLED ?= 0
# The same flags everywhere, so that builds and tests share what was compiled.
export GOFLAGS := -trimpath -buildvcs=false

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: demo
demo: ## set everything up and grow a cluster of three nodes
	@scripts/demo.sh

.PHONY: test
test: prepare ## set everything up and run all tests, the end-to-end ones included
	@scripts/say "Running all tests"
	go run $(GOTESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg -- -timeout 60m ./...

.PHONY: e2e
e2e: prepare ## run only the end-to-end tests
	go test -count=1 -timeout 60m -v ./test/e2e/...

.PHONY: e2e-vm
e2e-vm: export LOAM_VM=1
e2e-vm: prepare ## boot a virtual machine of each node profile under emulation, with no hardware for it
	go test -count=1 -timeout 3h -v -run MachineBoots ./test/boot

.PHONY: soak
soak: ## load a garden for an hour while its controllers are killed, and the image cache, and look for what they left or lost
	LOAM_SOAK_DURATION=$${LOAM_SOAK_DURATION:-1h} go test -count=1 -timeout 3h -v -run TestSoak ./test/soak

.PHONY: reboots
reboots: prepare ## lose machines, daemon and host of clusters with one and three control planes, ten times in a row
	LOAM_REBOOTS=$${LOAM_REBOOTS:-10} go test -count=1 -timeout 4h -v -parallel 1 -run 'Test(Solid|Restarts)$$' ./test/e2e

.PHONY: bench
bench: prepare ## print the table of sizes and times
	@scripts/bench.sh

.PHONY: build
build: ## build bin/loam
	@scripts/say "Building loam (the first time takes minutes)"
	@go build $(BUILD_FLAGS) -o $(LOAM) ./cmd/loam

.PHONY: prepare
prepare: ## install what is missing, start Docker, build loam and the node image
	@scripts/prepare.sh

.PHONY: generate
generate: ## write generated code anew
	@scripts/generate.sh

.PHONY: lint
lint: ## check formatting, vet, and the linters of .golangci.yml
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go run $(GOLANGCI) run ./...

.PHONY: clean
clean: ## remove what was built in the tree
	rm -rf bin
