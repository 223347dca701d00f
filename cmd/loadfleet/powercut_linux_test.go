//go:build powercut

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/queue"
)

// TestP1PowerCut is TestP1Chaos with the broker's streams on a disk whose power
// fails, again and again, at random moments. It needs root, and a kernel with
// loop devices and ext4: `make powercut`.
func TestP1PowerCut(t *testing.T) {
	plan := plannedChaos(t, chaosPlan{target: "powercut", seed: 20240622, faults: 100, length: time.Minute})
	var d *disk
	w := newChaosWorld(t, plan.seed, chaosShape{dispatchers: 2, workers: 3, replicas: 1, nats: func(w *chaosWorld) []natsServer {
		d = newDisk(w.T, w.dir)
		return d.server(w, alwaysSync)
	}})
	w.required = append(w.required, "power cut of the broker")
	cut := func(b *breaker) bool {
		s := b.whole(w.nats)
		if s == nil {
			return false
		}
		w.counts.add("power cut of the broker")
		s.broken = true
		d.cut(s.process)
		b.after(b.between(10*time.Millisecond, time.Second), func() { w.launch(s) })
		return true
	}
	w.breakAndProve(plan, "Power cuts", cut, cut, cut, cut)
}

// TestP1PowerCutTakesWhatIsNotSynced shows that the cut of TestP1PowerCut is
// one: with the server's default, which syncs every two minutes, extractions
// that were acknowledged are gone afterwards. With what production configures,
// and deploy/nats has, none is.
func TestP1PowerCutTakesWhatIsNotSynced(t *testing.T) {
	const n = 20
	for _, test := range []struct {
		name, sync string
		lost       func(n int) bool
	}{
		{"default", "", func(lost int) bool { return lost > 0 }},
		{"sync always", alwaysSync, func(lost int) bool { return lost == 0 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var d *disk
			w := newChaosWorld(t, 1, chaosShape{replicas: 1, nats: func(w *chaosWorld) []natsServer {
				d = newDisk(w.T, w.dir)
				return d.server(w, test.sync)
			}})
			d.run("sync", "-f", d.dir) // the streams are there, whatever is lost
			x := newExtractors(w)
			for i := range n {
				e := &chaosExtraction{id: fmt.Sprint("e", i), target: w.targets[0], table: "ads", generation: 1, content: uint64(i), days: []int{1, 2, 3}}
				w.extractions = append(w.extractions, e)
				if err := x.publish(t.Context(), behaviour{e: e, batchRows: 5}); err != nil {
					t.Fatal(err)
				}
			}
			d.cut(w.nats[0].process)
			w.launch(w.nats[0])
			lost := 0
			for _, e := range w.extractions {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				_, err := w.oracle.queue.Commit(ctx, chaosWorkspace, e.id)
				cancel()
				switch {
				case errors.Is(err, queue.ErrNotFound):
					lost++
				case err != nil:
					t.Fatal(err)
				}
			}
			t.Logf("%d of %d extractions that were acknowledged are lost", lost, n)
			if !test.lost(lost) {
				t.Errorf("lost %d of %d", lost, n)
			}
		})
	}
}

// disk is an ext4 file system of its own: what a process wrote to it and did
// not sync is in the memory of that file system only, and not in the image
// behind it. An image as it is at some moment is what a disk holds whose power
// failed then. It does not model a disk that loses what it was told to flush,
// nor one that reorders what it was not.
type disk struct {
	*testing.T
	dir    string // where it is mounted
	image  string
	device string
	images int
}

const diskSize = 4 << 30 // of holes

func newDisk(t *testing.T, dir string) *disk {
	t.Helper()
	d := &disk{T: t, dir: filepath.Join(dir, "disk"), image: filepath.Join(dir, "disk-0.img")}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close(), os.Mkdir(d.dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	d.run("mkfs.ext4", "-q", "-F", d.image)
	d.mount()
	t.Cleanup(d.unmount)
	return d
}

func (d *disk) server(w *chaosWorld, sync string) []natsServer {
	return []natsServer{natsConfig(w.T, w.dir, filepath.Join(d.dir, "nats"), "n0", w.token, freePorts(w.T, 1)[0], sync, "")}
}

func (d *disk) run(name string, args ...string) string {
	d.Helper()
	out, err := exec.Command(name, args...).CombinedOutput() //nolint:noctx // each is short
	if err != nil {
		d.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (d *disk) mount() {
	d.Helper()
	d.device = d.run("losetup", "--find", "--show", d.image)
	d.run("mount", "-t", "ext4", d.device, d.dir) // replays the journal, as after a power cut
}

// unmount takes the file system away, at once for those who look for it. What
// it still holds it writes to an image that nobody reads any more.
func (d *disk) unmount() {
	d.Helper()
	d.run("umount", "--lazy", d.dir)
	d.run("losetup", "--detach", d.device)
	if err := os.Remove(d.image); err != nil {
		d.Fatal(err)
	}
}

// cut ends the power of the server and of its disk at one moment: the process
// does not go on, its image is kept as it is, and the process is killed.
// Afterwards the disk holds what the image held.
func (d *disk) cut(server *process) {
	d.Helper()
	if err := server.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		d.Fatal(err)
	}
	d.images++
	left := filepath.Join(filepath.Dir(d.image), fmt.Sprintf("disk-%d.img", d.images))
	for {
		// The kernel writes by itself, now and then. A copy that it wrote
		// into is of no one moment.
		before := d.writes()
		d.run("cp", "--sparse=always", d.image, left)
		if d.writes() == before {
			break
		}
	}
	_ = server.cmd.Process.Kill()
	<-server.done
	d.unmount()
	d.image = left
	d.mount()
}

// writes tells what was written to the device, and how much is on its way.
func (d *disk) writes() string {
	d.Helper()
	text, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(d.device), "stat"))
	if err != nil {
		d.Fatal(err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 9 {
		d.Fatalf("%s: %q", d.device, text)
	}
	return strings.Join(append(fields[4:7:7], fields[8]), " ")
}
