# The commands of the SMAP Identity Service. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

GOLANGCI_VERSION := v2.15.0
GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
GOVULNCHECK_VERSION := v1.9.0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS := -s -w -X github.com/smap-platform/identity/internal/app/command.Version=$(VERSION)
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'
# The packages whose tests use a server when there is one: they read INTEGRATION, or use schematest or the harness.
SERVED = $(sort $(dir $(shell grep -rlE --include=*_test.go 'INTEGRATION|internal/schema/schematest"|test/harness"' .)))
# Of internal/app, most of whose tests know no server and take long, those in files that do.
APP_SERVED = $(shell grep -hoE '^func Test[A-Za-z0-9]+' $$(grep -lE 'internal/schema/schematest"' internal/app/*_test.go) | cut -c6- | paste -sd '|')
# What the production binaries read on the local stack.
STACK_ENV := .stack/env

.PHONY: help
help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ A laptop: nothing but Go and make

.PHONY: run
run: ## Run the whole service in one process on embedded parts
	@$(BUILD) -o bin/standalone ./cmd/standalone
	@exec bin/standalone

.PHONY: demo
demo: ## Walk a person's way through a throw-away standalone and tell the story
	@$(BUILD) -o bin/standalone ./cmd/standalone
	@exec bin/standalone demo

.PHONY: test
test: need-cc ## Run all unit and embedded suites with the race detector; no server needed
	go test -race -shuffle=on -timeout 30m ./...

.PHONY: fuzz
fuzz: ## Try what nobody has thought of on every parser (FUZZ_TIME=5m in all); no server needed
	@test/fuzz.sh

.PHONY: need-cc
need-cc:
	@command -v "$$(go env CC)" >/dev/null || { echo "The race detector needs a C compiler: install one (Debian/Ubuntu: apt-get install gcc libc6-dev; macOS: xcode-select --install)." >&2; exit 1; }

##@ Real servers, as in production

.PHONY: stack-up
stack-up: ## Start a private RabbitMQ, Redis, PostgreSQL and inbox
	@deployments/stack.sh up

.PHONY: stack-down
stack-down: ## Stop what stack-up started; data stays in .stack
	@deployments/stack.sh down

.PHONY: run-api
run-api: ## Run the api on the stack (APP_PORT=8082 for a second one)
	@test -f $(STACK_ENV) || { echo "There is no stack yet: make stack-up" >&2; exit 1; }
	@$(BUILD) -o bin/api ./cmd/api
	@port=$$APP_PORT; . $(STACK_ENV) && APP_PORT=$${port:-$$APP_PORT} exec bin/api serve

.PHONY: run-consumer
run-consumer: ## Run the consumer on the stack, with the operations console on port 8090 (CONSUMER_PORT + 9)
	@test -f $(STACK_ENV) || { echo "There is no stack yet: make stack-up" >&2; exit 1; }
	@$(BUILD) -o bin/consumer ./cmd/consumer
	@port=$$CONSUMER_PORT; . $(STACK_ENV) && export CONSUMER_PORT=$${port:-$$CONSUMER_PORT} && \
		CONSOLE_ADDR=$${CONSOLE_ADDR-127.0.0.1:$$((CONSUMER_PORT + 9))} exec bin/consumer serve

.PHONY: need-browser
need-browser:
	@deployments/stack.sh need browser
	@deployments/stack.sh need axe

.PHONY: need-promtool
need-promtool:
	@deployments/stack.sh need promtool

.PHONY: test-integration
test-integration: need-cc need-browser stack-up ## Run the suites that know real servers on them, and the end-to-end tests with real processes
	@. $(STACK_ENV) && export INTEGRATION=1 && go test -race -count=1 -run '^($(APP_SERVED))$$' ./internal/app && \
		go test -race -count=1 -timeout 60m -p 1 -tags e2e $(filter-out ./internal/app/,$(SERVED))

.PHONY: test-next-rabbitmq
test-next-rabbitmq: need-cc ## Run the suites of the broker on RabbitMQ 4, and restart it 25 times (root; about ten minutes)
	@deployments/stack.sh down && RABBITMQ_SERIES=4 deployments/stack.sh up
	@. $(STACK_ENV) && INTEGRATION=1 go test -race -count=1 -timeout 20m -p 1 ./internal/event/rabbitmq ./pkg/rabbitmq && \
		INTEGRATION=1 go test -race -count=1 -timeout 20m -tags e2e -run '^TestBrokerRestarts$$' ./test/e2e
	@deployments/stack.sh down

.PHONY: test-cluster
test-cluster: need-cc ## Lose nodes of RabbitMQ, the primary of PostgreSQL and the master of Redis while people come (about four minutes)
	@deployments/cluster.sh up
	@. .stack/cluster/env && INTEGRATION=1 go test -count=1 -timeout 15m -tags e2e,cluster -run '^TestCluster$$' ./test/e2e
	@deployments/cluster.sh down

.PHONY: fanout-walk
fanout-walk: need-cc stack-up ## Walk the migration off the fanout both ways, under load, with and without kills (about 15 minutes)
	@. $(STACK_ENV) && INTEGRATION=1 FANOUT_WALK=full go test -race -count=1 -timeout 60m -v -tags e2e -run '^TestWalk$$' ./test/migration

.PHONY: chaos
chaos: ## Break one thing after the other under load on a cluster of its own, and count (CHAOS=long: all of it)
	@deployments/cluster.sh up
	@. .stack/cluster/env && go build -o bin/chaos ./test/chaos && bin/chaos -selftest && bin/chaos || \
		{ deployments/cluster.sh down; exit 1; }
	@deployments/cluster.sh clean

.PHONY: walks
walks: ## Walk the ways of the pages from a clean copy with servers of its own: newcomer, integrator, operator, deployer
	@test/walks/run.sh

.PHONY: bench
bench: stack-up ## Measure ours beside the bare thing, in pairs, in one run
	@. $(STACK_ENV) && INTEGRATION=1 go run ./test/bench

.PHONY: load
load: stack-up ## Two minutes of a thousand workers, readers and streams on one project, which has to end exactly
	@. $(STACK_ENV) && INTEGRATION=1 go run ./test/bench -only load

.PHONY: growth
growth: stack-up ## What takes longer when the tables grow to a million rows each, and purges beside writers (about 15 minutes, 8 GB)
	@. $(STACK_ENV) && INTEGRATION=1 go run ./test/bench -only growth

.PHONY: soak
soak: stack-up ## Whether anything grows while api and consumer work at half of what they can (SOAK_SECONDS=900)
	@. $(STACK_ENV) && INTEGRATION=1 go run ./test/bench -only soak -seconds $${SOAK_SECONDS:-900}

##@ Before a commit

.PHONY: build
build: ## Build all binaries into bin/
	$(BUILD) -o bin/ ./cmd/...

.PHONY: generate
generate: ## Generate the mocks, and the cluster's copy of the alerts
	go generate ./...
	@{ printf '# Generated from deployments/alerts.yaml by make generate. DO NOT EDIT.\n'; \
	printf 'apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: identity}\nspec:\n'; \
	sed -n '/^groups:/,$$ s/^/  /p' deployments/alerts.yaml; } >deployments/kubernetes/base/alerts.yaml

.PHONY: verify-generate
verify-generate: ## Fail when generated files or go.mod are not up to date
	@state() { git status --porcelain; git diff | git hash-object --stdin; }; \
	before=$$(state); $(MAKE) --no-print-directory generate && go mod tidy && (cd deployments/check && go mod tidy); after=$$(state); \
	if [ "$$before" != "$$after" ]; then echo "Out of date; run make generate and go mod tidy, and commit:" >&2; git --no-pager diff --stat >&2; exit 1; fi

.PHONY: fmt
fmt: ## Format the Go code as lint wants it
	$(GOLANGCI) fmt

.PHONY: lint
lint: ## Run golangci-lint (pinned), and check imports and the wording of comments and pages
	$(GOLANGCI) run
	cd deployments/check && $(GOLANGCI) run
	go test ./internal/architecture

.PHONY: alerts-check
alerts-check: need-promtool ## Check the alerts, and try whether each one fires when it should
	promtool check rules deployments/alerts.yaml
	promtool test rules deployments/alerts_test.yaml

# What CI runs, in this order. .ci/run calls check, with RABBITMQ_4=yes.
CHECKS := lint verify-generate deploy-check demo test fuzz stack-up alerts-check test-integration stack-down chaos release-check \
	$(if $(filter yes,$(RABBITMQ_4)),test-next-rabbitmq)

.PHONY: check
check: ## Run what CI runs but RabbitMQ 4, and print the slowest steps (about an hour)
	@took=; for step in $(CHECKS); do \
		printf '\n==> make %s\n' $$step; began=$$SECONDS; \
		$(MAKE) --no-print-directory $$step || exit; \
		took="$$took$$((SECONDS - began)) s  make $$step\n"; \
		printf '==> make %s: %d s\n' $$step $$((SECONDS - began)); \
	done; printf '\n==> the slowest steps\n'; printf "$$took" | sort -rn | head -n 5

.PHONY: deploy-check
deploy-check: ## Render the Kubernetes manifests, load the compose file, and hold both to the settings; no server needed
	cd deployments/check && go test -count=1 ./...

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what is called
	go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) ./...

##@ A release

.PHONY: release
release: ## Build static binaries for every platform into bin/release, with checksums and bills of materials
	@deployments/release.sh build

.PHONY: release-check
release-check: ## Build the last commit in two folders, and fail when the binaries differ
	@deployments/release.sh check

.PHONY: clean
clean: ## Remove what was built; data of the standalone and the stack stays
	rm -rf bin
