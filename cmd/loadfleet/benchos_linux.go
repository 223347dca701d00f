package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// startPinned starts a command on the first so many cores that this process may use.
// Set on the thread that forks, the mask is in force before the command's
// first instruction and for all of its threads.
func startPinned(c *exec.Cmd, cores int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, few unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("read the cores allowed: %w", err)
	}
	for cpu := 0; few.Count() < cores && cpu < 64*len(all); cpu++ {
		if all.IsSet(cpu) {
			few.Set(cpu)
		}
	}
	if few.Count() < cores {
		return fmt.Errorf("%d cores asked for, %d allowed", cores, few.Count())
	}
	if err := unix.SchedSetaffinity(0, &few); err != nil {
		return fmt.Errorf("pin to %d cores: %w", cores, err)
	}
	err := c.Start()
	return errors.Join(err, unix.SchedSetaffinity(0, &all))
}

// peakRSS is the most memory this process has had resident, in bytes. Unlike
// getrusage's, the kernel's high-water mark starts anew with each exec.
func peakRSS() (int64, error) {
	return procKilobytes("/proc/self/status", "VmHWM:")
}

// resetPeakRSS lets peakRSS count anew.
func resetPeakRSS() error { return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// clockTick is the unit of /proc's CPU times: the kernel's USER_HZ, which is
// part of its interface.
const clockTick = 100

// processUsage is what another process has used since its start.
func processUsage(pid int) (u processUse, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 13 {
		return u, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return u, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	u.CPU = float64(user+system) / clockTick
	u.PeakRSS, err = procKilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:")
	return u, err
}

// memory is the machine's, in bytes.
func memory() int64 {
	n, err := procKilobytes("/proc/meminfo", "MemTotal:")
	if err != nil {
		return 0
	}
	return n
}

func procKilobytes(path, field string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			var kb int64
			if _, err := fmt.Sscan(rest, &kb); err != nil {
				return 0, fmt.Errorf("%s: %s %w", path, field, err)
			}
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("%s: no %s", path, field)
}

// loadAverage is the machine's over the last minute; 0 when unknown.
func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	var one float64
	if _, err := fmt.Sscan(string(b), &one); err != nil {
		return 0
	}
	return one
}

// fileSystem names what a directory is on.
func fileSystem(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "unknown"
	}
	switch s.Type {
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	}
	return fmt.Sprintf("file system %#x", s.Type)
}
