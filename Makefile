# Slipstream's commands. Every target that has a text after two hashes is listed by `make help`.
# What the tests need beyond Go is built from source into .cache/bin, pinned by the modules in tools/.

SHELL     := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN       := $(CURDIR)/.cache/bin
FUZZTIME  ?= 10s
SIMSEEDS  ?= 10000
# Packages whose goroutines the race detector watches.
RACE      ?= ./edge/... ./handoff/... ./intake/... ./destination/... ./emulator/... ./test/...
export CGO_ENABLED := 0

.PHONY: help demo test test-go packages race sim fuzz lint bench drill figures build layer docs tools clean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

demo: ## the main job: three functions, load, faults, and the extension delivering every line
	go run ./cmd/slipstream demo --once

test: packages lint tools ## everything: lint, all tests, the race detector; installs what it needs in .cache/
	@echo "== go test ./..."
	go test -timeout 20m ./...
	@$(MAKE) --no-print-directory race
	@echo "== all tests passed"

test-go: ## the quick loop: go vet and go test without the slow, real parts
	go vet ./...
	go test $$(go list ./... | grep -vE '/(test|bench|emulator)(/|$$)|/(destination/(s3|otlp|firehose|prometheus|statsd)|deploy/dashboards)$$')

race: ## the concurrent packages under the race detector (needs a C compiler)
	@if command -v "$${CC:-cc}" >/dev/null || command -v gcc >/dev/null; then \
		echo "== go test -race $(RACE)"; \
		CGO_ENABLED=1 go test -race -timeout 15m $(RACE); \
	else \
		echo "== NOTICE: no C compiler here, so the race detector did not run; install gcc or clang"; \
	fi

packages: ## Debian packages that the tests use and the machine lacks: python3 with venv, Node with npm, a C compiler
	@missing=(); \
		command -v python3 >/dev/null || missing+=(python3); \
		python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv); \
		command -v node >/dev/null || missing+=(nodejs); \
		command -v npm >/dev/null || missing+=(npm); \
		command -v gcc >/dev/null || command -v clang >/dev/null || missing+=(gcc libc6-dev); \
		if [ $${#missing[@]} -gt 0 ]; then \
			echo "== installing $${missing[*]}"; \
			if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
				apt-get update -qq && apt-get install -qq -y --no-install-recommends "$${missing[@]}"; \
			else echo "please install: $${missing[*]}"; fi; \
		fi

lint: $(BIN)/staticcheck ## gofmt, go vet and staticcheck; the architecture and style tests are in go test
	@echo "== gofmt"
	@bad=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go' 2>/dev/null || find . -name '*.go' -not -path './.*')); \
		if [ -n "$$bad" ]; then echo "gofmt would change: $$bad (run: gofmt -w FILE)"; exit 1; fi
	@echo "== go vet ./..."
	@go vet ./...
	@echo "== staticcheck ./..."
	@$(BIN)/staticcheck ./...

sim: ## the whole edge in virtual time against an adversary: SIMSEEDS (10000) seeds
	go test -count=1 -timeout 60m -v -run '^TestSim$$' ./test/sim -seeds $(SIMSEEDS)

fuzz: ## every Fuzz target for FUZZTIME (10s) each
	@grep -rlE '^func Fuzz' --include='*_test.go' . | sort | while read -r file; do \
		for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/p' "$$file"); do \
			echo "== $$target in $$(dirname "$$file"), $(FUZZTIME)"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")"; \
		done; \
	done

bench: ## print every figure that the README claims, and check the goals
	go run ./bench/start --check
	go run ./bench/edge --check
	go run ./bench/drag --check
	go run ./bench/intake --check
	go run ./bench/handoff --check
	go run ./bench/process --check
	go run ./bench/leaks --check
	go run ./bench/sample --check
	go run ./bench/rollup --check
	go run ./bench/collisions --check
	go run ./bench/drill --check

drill: ## end processes 200 times at random moments: SEED=n repeats one
	go run ./bench/drill --check --seed $(or $(SEED),0)

figures: ## measure again, keep the figures in bench/results.json and in the README
	go run ./bench/start --keep bench/results.json
	go run ./bench/edge --keep bench/results.json
	go run ./bench/drag --keep bench/results.json
	go run ./bench/intake --keep bench/results.json
	go run ./bench/handoff --keep bench/results.json
	go run ./bench/process --keep bench/results.json
	go run ./bench/leaks --keep bench/results.json
	go run ./bench/sample --keep bench/results.json
	go run ./bench/rollup --keep bench/results.json
	go run ./bench/collisions --keep bench/results.json
	go run ./bench/drill --keep bench/results.json
	go generate ./bench/figure

build: ## dist/slipstream and dist/slipstream-extension: static, stripped
	@mkdir -p dist
	go build -trimpath -ldflags '-s -w' -o dist/ ./cmd/...
	@ls -l dist

layer: ## dist/slipstream-layer.zip, ready for aws lambda publish-layer-version
	@mkdir -p dist
	go run ./cmd/slipstream layer --output dist/slipstream-layer.zip

docs: ## regenerate what is generated: docs/configuration.md, the README's table of figures
	go generate ./...

tools: $(BIN)/staticcheck $(BIN)/versitygw ## build the tools of the tests into .cache/bin

$(BIN)/staticcheck: tools/staticcheck/go.mod tools/staticcheck/go.sum
	@echo "== building staticcheck"
	@go build -C tools/staticcheck -o $@ honnef.co/go/tools/cmd/staticcheck

$(BIN)/versitygw: tools/versitygw/go.mod tools/versitygw/go.sum
	@echo "== building versitygw, the S3 server of the tests"
	@go build -C tools/versitygw -o $@ github.com/versity/versitygw/cmd/versitygw

clean: ## remove dist/ and .cache/
	rm -rf dist .cache
