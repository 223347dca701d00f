package main

import (
	"io"
	"testing"

	"github.com/spf13/pflag"
)

func TestByteSize(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64 // 0: refused
		show string
	}{
		{"268435456", 256 << 20, "256MB"}, {"256MB", 256 << 20, "256MB"}, {"256M", 256 << 20, "256MB"}, {"256 MiB", 256 << 20, "256MB"},
		{"1gb", 1 << 30, "1GB"}, {"1536MB", 1536 << 20, "1536MB"}, {"1000", 1000, "1000"}, {"64K", 64 << 10, "64KB"}, {"12B", 12, "12"},
		{"", 0, ""}, {"MB", 0, ""}, {"-1", 0, ""}, {"0", 0, ""}, {"1TB", 0, ""}, {"12 MBB", 0, ""}, {"99999999999GB", 0, ""},
	} {
		var b byteSize
		err := b.Set(tt.text)
		if (err == nil) != (tt.want > 0) || int64(b) != tt.want || tt.want > 0 && b.String() != tt.show {
			t.Errorf("%q: got %d (%s), %v; want %d (%s)", tt.text, int64(b), b.String(), err, tt.want, tt.show)
		}
	}
}

// TestOneFlagForMemory: a process has one flag for its budget, and what is given to it
// beats the environment.
func TestOneFlagForMemory(t *testing.T) {
	for role, name := range map[string]string{"dispatcher": "memory", "worker": "memory", "up": "dispatch-memory"} {
		t.Run(role, func(t *testing.T) {
			p := &program{out: io.Discard, err: io.Discard}
			c, _, err := p.root().Find([]string{role})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.ParseFlags([]string{"--" + name, "2GB"}); err != nil {
				t.Fatal(err)
			}
			if err := p.settings.resolve(c.Flags(), func(name string) (string, bool) { return "256MB", name == "LOADFLEET_MEMORY" }); err != nil {
				t.Fatal(err)
			}
			var sizes []string
			c.Flags().VisitAll(func(f *pflag.Flag) {
				if f.Value.Type() == "bytes" {
					sizes = append(sizes, f.Name+" "+f.Value.String())
				}
			})
			if want := name + " 2GB"; len(sizes) != 1 || sizes[0] != want {
				t.Errorf("flags %q, want %q alone", sizes, want)
			}
		})
	}
}
