# What CI calls, and what a developer calls before a commit.
# Go leaves directories named testdata out of ./...
TESTDATA := ./testdata ./testdata/adrows ./testdata/generate
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: demo setup test race vet lint fuzz bench bench-peers

# Where the benchmarks' buckets lie (JetStream's storage stays on disk), and
# what else to ask for: make bench-peers BENCH='--rows 60000 --days 30'
BENCH_DATA := $(if $(wildcard /dev/shm),/dev/shm,/tmp)
BENCH :=

demo: ## run the main job on embedded parts
	go run ./cmd/loadfleet demo

setup: ## install the foreign readers that the tests need
	testdata/foreign/setup

test: setup ## the README's test command
	go test ./... $(TESTDATA)

race: ## the same under the race detector, for the rooms with goroutines
	go test -race ./queue/... ./storage/... ./dispatcher ./worker

vet:
	go vet ./... $(TESTDATA)

lint: ## the import ladder and the usual suspects
	go run $(GOLANGCI) run --allow-parallel-runners ./...

fuzz: ## every fuzz target for a minute
	@for f in $$(grep -rlE '^func Fuzz' --include='*_test.go' .); do \
		for t in $$(grep -oE '^func Fuzz[A-Za-z0-9_]+' $$f | cut -d' ' -f2); do \
			go test -run '^$$' -fuzz "^$$t$$" -fuzztime 60s ./$$(dirname $$f) || exit 1; \
		done; \
	done

bench: ## measure the whole job, each format
	go run ./cmd/loadfleet bench --data $(BENCH_DATA) $(BENCH)

bench-peers: setup ## the same beside DuckDB; writes docs/benchmarks.md
	go run ./cmd/loadfleet bench --data $(BENCH_DATA) --cores 1,2 --runs 3 --peers --report docs/benchmarks.md $(BENCH)
