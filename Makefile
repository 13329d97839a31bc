# arcd: build, run, test. "make help" lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

GO ?= go
FUZZTIME ?= 100000x
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Without cgo the program is static, and starts half a millisecond sooner: there is
# no dynamic linker, and no C library that begins a thread.
.PHONY: build
build: ## Build bin/arcd
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/arcd ./cmd/arcd

.PHONY: run
run: build ## Build and serve with demo agents and a curl to paste
	./bin/arcd serve --dev

.PHONY: setup
setup: ## Install what the tests need besides Go (Python client, npm provider) into .cache
	./internal/interop/setup.sh

.PHONY: test
test: setup ## Run all tests with the race detector
	$(GO) test -race ./...

.PHONY: bench
bench: build setup ## Measure throughput and start-up, on both engines, beside bare handlers and an empty program
	$(GO) run ./internal/bench -arcd bin/arcd

.PHONY: bench-million
bench-million: setup ## Copy and check a store with 1,000,000 tasks, and read from it (10 minutes, 10 GB below TMPDIR)
	$(GO) run ./internal/bench/million

.PHONY: bench-peers
bench-peers: build setup ## Measure arcd beside the servers of others
	./internal/bench/peers/setup.sh
	$(GO) run ./internal/bench -arcd bin/arcd -peers .cache -rounds 3 -time 1s

.PHONY: powercut
powercut: build ## Cut the power of an arcd with SQLite, several times, and count what is lost (root, Linux)
	$(GO) run ./internal/powercut -arcd bin/arcd

# MINUTES of faults on each engine; the same SEED does the same things. Linux; with root the
# disk of SQLite really gets full.
MINUTES ?= 3
SEED ?= 0
.PHONY: soak
soak: setup ## Use three replicas, and one with SQLite, while everything fails, and prove that nothing is lost
	$(GO) run ./internal/soak -minutes $(MINUTES) -seed $(SEED)

# "go test -fuzz" takes one target of one package at a time. FUZZTIME is a number of
# inputs: with a time, go test now and then reports its own deadline as a failure.
.PHONY: fuzz
fuzz: ## Run every fuzz target with FUZZTIME (100000x) inputs
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do \
		grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | sed 's/^func //' | while read -r target; do \
			echo "fuzz $$dir $$target $(FUZZTIME)"; \
			$(GO) test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=1s "$$dir" </dev/null; \
		done; \
	done

.PHONY: lint
lint: ## Check format, vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted" >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
