package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// defaultMemory is the budget of a dispatcher or worker process.
const defaultMemory = 256 << 20

// codeBytes is what a process has resident beside what the Go runtime counts:
// the pages of its own program, and what the collector is late by.
const codeBytes = 70 << 20

// byteSize is a flag's number of bytes: 268435456, 256MB, 1GB (in powers of 1024).
type byteSize int64

func (b *byteSize) String() string {
	n := int64(*b)
	for _, u := range byteUnits {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

var byteUnits = []struct {
	name  string
	bytes int64
}{{"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}}

// Set reads what String writes, with B, iB or nothing behind the unit's letter.
func (b *byteSize) Set(text string) error {
	upper := strings.ToUpper(strings.TrimSpace(text))
	digits := strings.TrimRight(upper, "KMGIB ")
	unit := strings.TrimSpace(upper[len(digits):])
	factor := int64(1)
	for _, u := range byteUnits {
		if unit == u.name || unit == u.name[:1] || unit == u.name[:1]+"IB" {
			factor = u.bytes
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > 1<<50/factor || factor == 1 && unit != "" && unit != "B" {
		return fmt.Errorf("%q: write a number of bytes such as 268435456, 256MB or 1GB", text)
	}
	*b = byteSize(n * factor)
	return nil
}

// Type is what --help shows.
func (*byteSize) Type() string { return "bytes" }

// bindMemory adds the flag for a process's budget.
func bindMemory(f *pflag.FlagSet, bytes *int64) {
	if *bytes == 0 {
		*bytes = defaultMemory
	}
	f.Var((*byteSize)(bytes), "memory", "what the process may have resident, whatever the size of an extraction; at least 128MB is of use")
}

// growth is how much garbage, in percent of what is live, the collector lets
// pile up below the limit. A worker's live heap is a few MB: by Go's default of
// 100 it would be collected all the time, a fifth of its CPU.
const growth = 400

// tuneRuntime makes the collector work harder rather than let an actor's process
// pass its budget, and seldom while it is far from it. GOMEMLIMIT and GOGC, when they
// are set, say it instead. Samples of the heap, for which nobody can ask, take 1 % of
// a worker's CPU and are not taken from here on.
func tuneRuntime(bytes int64) {
	runtime.MemProfileRate = 0
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(max(bytes-codeBytes, bytes/2))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(growth)
	}
}
