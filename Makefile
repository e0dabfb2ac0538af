# Run "make help" to list the targets.

GOLANGCI_LINT_VERSION := v2.15.0
NEWMAN_VERSION        := 6.2.2
GOVULNCHECK_VERSION   := v1.1.4

# The vulnerability database of check-vuln.
GOVULNDB ?= https://vuln.go.dev

# How long the checks run. check-race: rounds of each race. check-model: random histories.
# check-rolling: server replacements, and requests between two of them. check-failover: killed
# servers, and sessions.
ROUNDS ?= 10
HISTORIES ?= 1000
REPLACEMENTS ?= 4
BETWEEN ?= 1000
FAILOVERS ?= 1
PYTHON ?= /usr/bin/python3
CHROMIUM ?= $(shell command -v chromium || command -v google-chrome)
SESSIONS ?= 3000
# Where "make build" writes the program.
BIN := bin

# What "latchkey version", /openapi.json and the metrics show: "unknown" if both are empty, as in a copy
# of the sources without Git. --git-dir keeps Git from using a repository around such a copy.
VERSION  ?= $(shell git --git-dir=.git describe --tags --always --dirty 2> /dev/null)
REVISION ?= $(shell git --git-dir=.git rev-parse HEAD 2> /dev/null)
BUILDINFO := latchkey/internal/buildinfo

# up: more arguments for "docker compose up".
ARGS ?=

# check-timing: pairs of responses. check-flood and soak: duration.
PAIRS ?= 1000
FLOOD ?= 30s
SOAK ?= 30m

# fuzz: duration for each target.
FUZZTIME ?= 1m

.DEFAULT_GOAL := help
.PHONY: help dev test check check-others lint check-vuln check-redis check-stores check-race check-model check-long check-soak check-failover check-postman check-clients check-backends check-browser check-deploy check-timing check-flood check-rolling soak bench build env up secrets fuzz generate screenshots

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: ## Run the server on port 3000 with in-process stores
	go run ./cmd/dev

# More tests run in parallel than there are cores, because most of them wait most of the time.
# -ldflags=-w skips debug information. A machine that is busy with other work may need more than the ten minutes
# that Go allows for a package.
test: ## Run the tests on in-process stores
	go test -ldflags=-w -p 2 -parallel 8 -timeout 30m ./...

check: test check-redis check-others ## Run all checks of CI; needs the programs that CONTRIBUTING lists

# "make -j 2" runs two of these at a time. In this order, those that mostly wait run beside
# those that need the processors. test and check-redis run alone, because some of their tests
# have tight time limits.
check-others: check-vuln lint check-soak check-stores check-clients check-backends check-rolling check-browser check-race check-failover check-postman check-model check-deploy ## Run the checks that can run side by side

check-long: ## Run the checks that find rare faults, for hours
	$(MAKE) check-race ROUNDS=1000
	$(MAKE) check-model HISTORIES=10000
	$(MAKE) check-failover FAILOVERS=10 SESSIONS=10000
	$(MAKE) check-rolling REPLACEMENTS=20 BETWEEN=10000
	$(MAKE) soak fuzz

lint: bin/golangci-lint-$(GOLANGCI_LINT_VERSION) ## Run the linters
	$< run
	go mod tidy -diff

check-vuln: ## Look for known vulnerabilities in the code that the program calls
	@out=$$(go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) -db $(GOVULNDB) ./cmd/latchkey 2>&1); status=$$?; \
	if [ $$status -ne 0 ] && printf '%s' "$$out" | grep -qE 'fetching vulnerabilities: .*(dial tcp|proxyconnect tcp|i/o timeout|TLS handshake timeout)'; then \
		echo "check-vuln: skipped, because $(GOVULNDB) cannot be reached"; \
	else \
		printf '%s\n' "$$out"; exit $$status; \
	fi

check-redis: ## Run the tests on a real redis-server with the race detector
	TEST_REDIS=server TEST_SUITES=ordinary,outage go test -race -count=1 -p 2 -parallel 4 -timeout 20m ./...

check-stores: ## Run the session and API tests on Redis Sentinel and on a Redis Cluster
	for kind in sentinel cluster; do \
		TEST_REDIS=$$kind TEST_SUITES=ordinary go test -count=1 -p 2 -timeout 20m ./internal/redisconn ./internal/session ./internal/httpapi || exit 1; \
	done

# -parallel 8, because many of these tests mostly wait for faults to end.
check-race: ## Run each race test many times on a real redis-server; ROUNDS=1000 for a long run
	TEST_REDIS=server TEST_SUITES=race,memory go test -race -count=1 -v -parallel 8 -timeout 60m ./internal/httpapi -rounds $(ROUNDS)

check-model: ## Compare random requests and outages with a model; HISTORIES=10000 for a long run
	TEST_REDIS=server TEST_SUITES=model go test -count=1 -v -timeout 60m ./internal/apitest/model -histories $(HISTORIES)

check-soak: ## Look for leaks during two minutes of steady traffic
	TEST_REDIS=server TEST_SUITES=soak go test -count=1 -v -timeout 10m ./cmd/latchkey -soak 2m

check-failover: ## Kill Redis masters under load; FAILOVERS=10 for a long run
	TEST_REDIS=server TEST_SUITES=failover go test -race -count=1 -v -timeout 30m ./internal/httpapi -failovers $(FAILOVERS) -sessions $(SESSIONS)

check-postman: ## Run the Postman collection against a new server
	NEWMAN="npx --yes newman@$(NEWMAN_VERSION)" TEST_SUITES=postman go test -count=1 -v ./cmd/dev

check-clients: ## Generate clients from the OpenAPI document and log in with each
	TEST_SUITES=clients go test -count=1 -v -timeout 10m ./internal/httpapi

# The Python packages are those of Debian: python3-fastapi, python3-httpx and python3-uvicorn.
check-backends: ## Run the examples in deployments/backend behind a server
	PYTHON=$(PYTHON) TEST_SUITES=backends go test -count=1 -v -timeout 10m ./cmd/latchkey

check-browser: ## Test the pages, and attacks on them, in a real browser
	npm ci --prefix cmd/dev/browser --no-audit --no-fund
	CHROMIUM=$(CHROMIUM) TEST_SUITES=browser go test -count=1 -v -timeout 40m ./cmd/dev

screenshots: ## Take the screenshots of the README
	npm ci --prefix cmd/dev/browser --no-audit --no-fund
	CHROMIUM=$(CHROMIUM) node .github/screenshots.mjs

check-timing: ## Measure whether response times reveal accounts; on an idle machine
	TEST_REDIS=server TEST_SUITES=timing go test -count=1 -v -timeout 30m ./internal/httpapi -pairs $(PAIRS)

check-flood: ## Measure how a flood of logins affects other requests; on an idle machine
	TEST_REDIS=server TEST_SUITES=flood go test -count=1 -v -timeout 10m ./cmd/latchkey -flood $(FLOOD)

soak: ## Look for leaks during steady traffic; SOAK=30m, on an idle machine
	TEST_REDIS=server TEST_SUITES=soak go test -count=1 -v -timeout 24h ./cmd/latchkey -soak $(SOAK)

check-rolling: ## Replace servers behind nginx under load; REPLACEMENTS=20 BETWEEN=10000 for a long run
	TEST_REDIS=server TEST_SUITES=rolling go test -count=1 -v -timeout 30m ./cmd/latchkey -replacements $(REPLACEMENTS) -between $(BETWEEN)

check-deploy: build ## Check the files in deployments/, without Docker or a cluster
	bin/latchkey help > /dev/null
	deployments/check

bench: ## Compare the speed of the server with baselines; needs wrk and redis-server
	go run ./cmd/bench

fuzz: ## Run each fuzz target; FUZZTIME=10m for a long run
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' cmd internal | sort | while IFS=: read -r file target; do \
		echo "$${target#func } in $${file%/*}"; \
		go test -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10s "./$${file%/*}" < /dev/null || exit 1; \
	done

generate: ## Write the files that are generated from the code
	go generate ./...

build: ## Build the production program into bin/; VERSION=v1.2.0 sets its version
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X $(BUILDINFO).version=$(VERSION) -X $(BUILDINFO).revision=$(REVISION)" -o $(BIN)/latchkey ./cmd/latchkey

up: secrets ## Start the server with Redis and MongoDB in containers; ARGS=-d in the background
	VERSION=$(VERSION) REVISION=$(REVISION) docker compose up --build $(ARGS)

# add_secret is a shell command that sets a random secret in .env, unless it is set there. It fills in
# the empty line of the secret, because a second line would override what users write into the first.
define add_secret
	umask 077; \
	grep -qE '^[[:space:]]*(export[[:space:]]+)?$(1)[[:space:]]*[=:][[:space:]]*[^[:space:]]' .env || { \
		secret=$$(openssl rand -hex 32) && \
		filled=$$(SECRET="$$secret" awk ' \
			!isSet && /^$(1)=[ \t\r]*$$/ { $$0 = "$(1)=" ENVIRON["SECRET"]; isSet = 1 } \
			{ print } \
			END { if (!isSet) print "$(1)=" ENVIRON["SECRET"] }' .env) && \
		printf '%s\n' "$$filled" > .env; \
	}
endef

env: ## Create .env with a new SESSION_SECRET and DATA_KEY; keeps what is in it
	@test -e .env || (umask 077; cp .env.example .env)
	@grep -q '^SESSION_SECRET_FILE=.' .env || { $(call add_secret,SESSION_SECRET); }
	@grep -q '^DATA_KEY_FILE=.' .env || { $(call add_secret,DATA_KEY); }

# Docker Compose substitutes variables in .env, which would change a secret that contains a $. It puts
# MONGO_PASSWORD into a URL.
secrets: env ## Add the secrets that docker-compose.yml needs to .env, unless they are set
	@$(call add_secret,SESSION_SECRET)
	@$(call add_secret,DATA_KEY)
	@$(call add_secret,REDIS_CONTAINER_PASSWORD)
	@$(call add_secret,MONGO_PASSWORD)
	@names=$$(sed -nE "s/^([^#=]+)=[^'#]*[$$].*/\1/p" .env | tr '\n' ' '); test -z "$$names" || \
		{ echo "secrets: put the values with a $$ in .env in single quotes: $$names" >&2; exit 1; }
	@! grep -E '^MONGO_PASSWORD=' .env | grep -qvE "^MONGO_PASSWORD=['\"]?[A-Za-z0-9]*['\"]?[[:space:]]*$$" || \
		{ echo "secrets: MONGO_PASSWORD in .env must have letters and digits only, because it becomes a part of a URL" >&2; exit 1; }

bin/golangci-lint-$(GOLANGCI_LINT_VERSION):
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv bin/golangci-lint $@
