//go:build !linux

package main

import (
	"fmt"
	"os/exec"
	"runtime"
)

// startPinned starts a command. Here it cannot be pinned: only all cores can
// be asked for.
func startPinned(c *exec.Cmd, cores int) error {
	if cores != runtime.NumCPU() {
		return fmt.Errorf("--cores %d: pinning needs Linux; leave it out", cores)
	}
	return c.Start()
}

// What is not measured here is shown as 0 or unknown.
func resetPeakRSS() error                  { return nil }
func processUsage(int) (processUse, error) { return processUse{}, nil }
func peakRSS() (int64, error)              { return 0, nil }
func memory() int64                        { return 0 }
func loadAverage() float64                 { return 0 }
func fileSystem(string) string             { return "unknown" }
