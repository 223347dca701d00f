# What CI calls, and what a developer calls before a commit.

# A pipe fails when any part of it does: what filters a test's output must not
# hide that it failed.
SHELL := bash
.SHELLFLAGS := -o pipefail -c

# Go leaves directories named testdata out of ./...
TESTDATA := ./testdata ./testdata/adrows ./testdata/generate
# A module of its own, which ./... does not reach either: what renders and judges
# the manifests is nothing that loadfleet is made of.
KUBERNETES := deploy/kubernetes
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: chaos chaos-cluster powercut compose demo setup test race vet lint fuzz bench bench-peers bench-peers-full bench-smoke bench-compare bench-baseline bench-fairness screenshots memory staged

# Where the benchmarks' buckets lie (JetStream's storage stays on disk), and
# what else to ask for: make bench BENCH='--shape 60000x30x20 --format csv'
BENCH_DATA := $(if $(wildcard /dev/shm),/dev/shm,/tmp)
BENCH :=

demo: ## run the main job on embedded parts
	go run ./cmd/loadfleet demo

setup: ## install the foreign readers that the tests need
	testdata/foreign/setup

test: setup ## the README's test command
	go test -timeout 25m ./... $(TESTDATA)
	go -C $(KUBERNETES) test ./...

race: ## the same under the race detector, for the rooms with goroutines
	go test -race -timeout 25m ./queue/... ./storage/... ./dispatcher ./worker

vet:
	go vet -tags chaoscluster,powercut ./... $(TESTDATA)
	go -C $(KUBERNETES) vet ./...

lint: ## the import ladder and the usual suspects
	go run $(GOLANGCI) run --build-tags chaoscluster,powercut --allow-parallel-runners ./...
	cd $(KUBERNETES) && go run $(GOLANGCI) run --allow-parallel-runners ./...

fuzz: ## every fuzz target for a minute
	@for f in $$(grep -rlE '^func Fuzz' --include='*_test.go' .); do \
		for t in $$(grep -oE '^func Fuzz[A-Za-z0-9_]+' $$f | cut -d' ' -f2); do \
			go test -run '^$$' -fuzz "^$$t$$" -fuzztime 60s ./$$(dirname $$f) || exit 1; \
		done; \
	done

# make chaos SEED=7 FAULTS=500 DURATION=1m; until both are reached. Without a
# seed it takes another each time, and says which. REPORT= writes none.
SEED     := random
FAULTS   := 500
DURATION := 2m
REPORT   := $(CURDIR)/docs/chaos.md
CHAOS     = LOADFLEET_CHAOS_SEED=$(SEED) LOADFLEET_CHAOS_FAULTS=$(FAULTS) LOADFLEET_CHAOS_DURATION=$(DURATION) \
	LOADFLEET_CHAOS_REPORT=$(REPORT) go test -count 1 -v -timeout 2h ./cmd/loadfleet

chaos: ## break a fleet of processes at random, then prove that nothing is lost, twice, partial or stale
	$(CHAOS) -run '^TestP1Chaos$$'

chaos-cluster: ## the same on three NATS servers, whose leader is killed, stopped and cut off
	$(CHAOS) -tags chaoscluster -run '^TestP1ChaosCluster$$'

powercut: ## the same while the power of the broker's disk fails; as root, with loop devices
	$(CHAOS) -tags powercut -run '^TestP1PowerCut'

compose: ## run docker-compose.yml, scale its workers while loading, and account for every load (docs/compose.md); needs Docker
	deploy/compose/test

staged: ## load a staged extraction of 5 GB within the memory budgets (docs/staged.md); needs 20 GB of disk
	LOADFLEET_STAGED_GB=5 TMPDIR=$${TMPDIR:-/var/tmp} go test -v -timeout 90m -run '^TestP9StagedExtraction$$' ./cmd/loadfleet

screenshots: setup ## a picture of each page of the console, in both themes, into docs/console
	mkdir -p docs/console
	LOADFLEET_SCREENSHOTS=$(CURDIR)/docs/console go test -count 1 -run '^TestConsoleInABrowser$$' ./cmd/loadfleet

bench: ## measure the whole job and each stage, each format
	go run ./cmd/loadfleet bench --data $(BENCH_DATA) --stages $(BENCH)

bench-peers: setup ## the same beside DuckDB, Polars and bare puts, in minutes; writes docs/benchmarks.md
	go run ./cmd/loadfleet bench --data $(BENCH_DATA) --shape 200000x90x20 --endpoint quiet,store --stages --peers --report docs/benchmarks.md $(BENCH)

bench-peers-full: setup ## the jobs of a million rows, three times: about an hour
	go run ./cmd/loadfleet bench --data $(BENCH_DATA) --shape 1000000x90x50,1000000x30x10 --endpoint quiet,store --runs 3 --stages --peers --report docs/benchmarks.md $(BENCH)

bench-fairness: ## how long healthy destinations' loads take beside one that refuses and one that is slow, against without (docs/benchmarks.md)
	TMPDIR=$(BENCH_DATA) go test -run '^$$' -bench '^BenchmarkFairness$$' -benchtime 8x ./worker | grep -v INTERNAL
	TMPDIR=$(BENCH_DATA) go test -run '^$$' -bench '^BenchmarkBehindBackfill$$' -benchtime 1x ./worker | grep -v INTERNAL

bench-smoke: ## every benchmark of the encoders once, for whether it still runs
	go test -run '^$$' -bench . -benchtime 1x ./encoding

# Benchmarks that are compared, on one core; the machine should have nothing else to do.
COMPARED := ./encoding
BASELINE := testdata/bench/baseline.txt
COMPARE := taskset -c 0 env GOMAXPROCS=1 go test -run '^$$' -bench 'Decode|Write' -count 6 -benchtime 300ms $(COMPARED)

bench-compare: ## the encoders against the stored baseline, by benchstat
	$(COMPARE) > /tmp/loadfleet-bench.txt
	go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da $(BASELINE) /tmp/loadfleet-bench.txt

bench-baseline: ## store this machine's figures as the baseline
	mkdir -p $(dir $(BASELINE))
	$(COMPARE) > $(BASELINE)

memory: ## 2 GB in one partition, and in 50,000, within 256 MB a process; prints the peaks
	LOADFLEET_TEST_FULL_SIZE=1 go test ./cmd/loadfleet -run 'TestP9' -count 1 -v -timeout 60m | grep -v '^{'
