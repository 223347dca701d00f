package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/testdata"
	"github.com/loadfleet/loadfleet/testdata/adrows"
)

// maxFile bounds a committed file: every clone carries it for ever.
const maxFile = 8 << 20

func TestCommittedFilesAreWhatTheGeneratorMakes(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		committed, err := os.ReadFile(filepath.Join("..", f.name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(committed, f.content) {
			t.Errorf("%s (%d bytes) is not what the generator makes (%d bytes): run `go run ./testdata/generate`", f.name, len(committed), len(f.content))
		}
		if len(committed) > maxFile {
			t.Errorf("%s has %d bytes, want at most %d", f.name, len(committed), maxFile)
		}
	}
}

// TestEmbeddedRowsAreTheTruth holds whatever the compressor's version makes.
func TestEmbeddedRowsAreTheTruth(t *testing.T) {
	truths, err := testdata.Truth()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		rows  io.Reader
		opts  adrows.Options
		truth *adrows.Truth
	}{
		{"ads", testdata.Ads(), adrows.Options{}, truths.Ads},
		{"restated", testdata.AdsRestated(), adrows.Options{Restated: testdata.RestatedDays}, truths.Restated},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want bytes.Buffer
			truth, err := adrows.Write(&want, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c.rows)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want.Bytes()) {
				t.Errorf("%d bytes of rows are embedded, and other %d bytes are made", len(got), want.Len())
			}
			if d := cmp.Diff(truth, c.truth); d != "" {
				t.Errorf("ads.truth.json (-made +embedded):\n%s", d)
			}
		})
	}
}
