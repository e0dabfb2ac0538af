# make help lists what there is to do.

GOLANGCI_LINT_VERSION := v2.15.0
NEWMAN_VERSION        := 6.2.2
GOVULNCHECK_VERSION   := v1.1.4

# Where check-vuln finds what is known of vulnerabilities.
GOVULNDB ?= https://vuln.go.dev

# How often check-race runs each race, how many histories check-model plays, how often
# check-rolling replaces a server and with how many requests in between, how often
# check-failover kills a server and with how many sessions.
ROUNDS ?= 30
HISTORIES ?= 1000
REPLACEMENTS ?= 4
BETWEEN ?= 1000
FAILOVERS ?= 2
CHROMIUM ?= $(shell command -v chromium || command -v google-chrome)
SESSIONS ?= 10000
# Where build puts the program.
BIN := bin

# For the figures: how many pairs of answers check-timing compares, how long check-flood
# floods, and how long soak runs.
PAIRS ?= 1000
FLOOD ?= 30s
SOAK ?= 30m

# How long fuzz tries each target.
FUZZTIME ?= 1m

.DEFAULT_GOAL := help
.PHONY: help dev test check lint check-vuln check-redis check-stores check-race check-model check-soak check-failover check-postman check-browser check-deploy check-timing check-flood check-rolling soak bench build up fuzz

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: ## Run the server to try on port 3000: nothing else installed
	go run ./cmd/dev

# Those that take longest begin first, and more of them at once than there are processors,
# since most of their time they wait. No program is linked for a debugger. Who wants to see
# servers fail needs them installed: check-failover.
test: ## Run the tests: nothing else installed
	go test -ldflags=-w -parallel 4 -skip Failover ./internal/httpapi ./cmd/latchkey ./...

check: lint check-vuln check-redis check-stores check-race check-model check-soak check-rolling check-failover check-postman check-browser check-deploy ## Run everything that CI runs; needs redis-server, nginx, prometheus, chromium, npx, openssl, systemd-analyze and wrk

lint: bin/golangci-lint-$(GOLANGCI_LINT_VERSION) ## Look for mistakes without running anything
	$< run
	go mod tidy -diff

check-vuln: ## Look for known vulnerabilities in what the program calls, where their list can be reached
	@out=$$(go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) -db $(GOVULNDB) ./cmd/latchkey 2>&1); status=$$?; \
	if [ $$status -ne 0 ] && printf '%s' "$$out" | grep -qE 'fetching vulnerabilities: .*(dial tcp|proxyconnect tcp|i/o timeout|TLS handshake timeout)'; then \
		echo "check-vuln: NOT CHECKED, $(GOVULNDB) cannot be reached from here"; \
	else \
		printf '%s\n' "$$out"; exit $$status; \
	fi

check-redis: ## Run the tests on a real redis-server, with the race detector
	TEST_REDIS=server go test -race -count=1 -p 1 -timeout 20m ./...

check-stores: ## Run the tests of the sessions and of the API on Redis Sentinel and on a Redis Cluster
	for kind in sentinel cluster; do \
		TEST_REDIS=$$kind go test -race -count=1 -p 1 -timeout 20m -skip 'TestRedis|Failover|TestHistories|TestRace(Ended|OneTime|Register|Reset)|TestTiming' ./internal/redisconn ./internal/session ./internal/httpapi || exit 1; \
	done

check-race: ## Run each race of the sessions many times on a real redis-server; ROUNDS=1000 for the full number
	TEST_REDIS=server go test -race -count=1 -v -timeout 60m -run '^TestRace' ./internal/httpapi -rounds $(ROUNDS)

check-model: ## Play histories of requests and outages, and judge every answer; HISTORIES=10000 for the full number
	TEST_REDIS=server go test -count=1 -v -timeout 60m -run '^TestHistories$$' ./internal/httpapi -histories $(HISTORIES)

check-soak: ## Run the program under steady traffic for two minutes, and look whether anything grows
	TEST_REDIS=server go test -count=1 -v -timeout 10m -run '^TestSoak$$' ./cmd/latchkey -soak 2m

check-failover: ## Kill Redis, the server of a Sentinel and one of a Cluster under load; FAILOVERS=10 for the full number
	TEST_REDIS=server go test -race -count=1 -v -timeout 30m -run 'UnderLoad|Failover' ./internal/httpapi -failovers $(FAILOVERS) -sessions $(SESSIONS)

check-postman: ## Run the Postman collection against a fresh server
	NEWMAN="npx --yes newman@$(NEWMAN_VERSION)" go test -count=1 -v -run '^TestPostmanCollection$$' ./cmd/dev

check-browser: ## Run the demo page and attacks on it in a real browser
	npm ci --prefix cmd/dev/browser --no-audit --no-fund
	CHROMIUM=$(CHROMIUM) go test -count=1 -v -timeout 20m -run '^TestBrowser$$' ./cmd/dev

check-timing: ## Measure whether the time of an answer tells if there is an account; on a quiet machine
	TEST_REDIS=server go test -count=1 -v -timeout 30m -run '^TestTimingDoesNotTell$$' ./internal/httpapi -pairs $(PAIRS)

check-flood: ## Measure what a flood of logins does to the rest; on a quiet machine
	TEST_REDIS=server go test -count=1 -v -timeout 10m -run '^TestLoginFlood$$' ./cmd/latchkey -flood $(FLOOD)

soak: ## Run the program under steady traffic, and judge its memory, descriptors and keys; SOAK=30m, on a quiet machine
	TEST_REDIS=server go test -count=1 -v -timeout 24h -run '^TestSoak$$' ./cmd/latchkey -soak $(SOAK)

check-rolling: ## Replace servers behind nginx under load; REPLACEMENTS=20 BETWEEN=10000 for the full number
	TEST_REDIS=server go test -count=1 -v -timeout 30m -run '^TestRollingRestart$$' ./cmd/latchkey -replacements $(REPLACEMENTS) -between $(BETWEEN)

check-deploy: build ## Check the program and what is in deployments/, without an engine or a cluster
	bin/latchkey help > /dev/null
	deployments/check

bench: ## Measure the server against the least that its work could cost, in ten minutes; needs wrk and redis-server
	go run ./cmd/bench

fuzz: ## Fuzz each target there is; FUZZTIME=10m for the full time
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' cmd internal | sort | while IFS=: read -r file target; do \
		echo "$${target#func } in $${file%/*}"; \
		go test -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10s "./$${file%/*}" < /dev/null || exit 1; \
	done

build: ## Build the production program into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o $(BIN)/latchkey ./cmd/latchkey

up: ## Start the server with Redis and MongoDB in containers
	docker compose up --build

bin/golangci-lint-$(GOLANGCI_LINT_VERSION):
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv bin/golangci-lint $@
