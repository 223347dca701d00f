package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rivo/uniseg"
)

func TestTableFitsTheTerminal(t *testing.T) {
	header := []string{"RESULT", "OBJECT", "ROWS"}
	rows := func() [][]string {
		return [][]string{
			{"loaded", "s3://acme/ws1/main group/ads/2026/11/広告アカウント-2026-11-25.parquet", "1,234"},
			{"dead-lettered", "s3://acme/a\tb", "5"},
		}
	}
	for _, width := range []int{0, 40, 60, 80, 120} {
		text := tabulate(header, rows(), width)
		for line := range strings.Lines(text) {
			if got := uniseg.StringWidth(strings.TrimSuffix(line, "\n")); width > 0 && got > width {
				t.Errorf("at %d: %d cells in %q", width, got, line)
			}
		}
		if whole := strings.Contains(text, rows()[0][1]); whole != (width == 0 || width == 120) {
			t.Errorf("at %d: the key is whole: %v\n%s", width, whole, text)
		}
	}
	want := "RESULT         OBJECT                                   ROWS\n" +
		"loaded         s3://acme/ws1/main …-2026-11-25.parquet  1,234\n" +
		"dead-lettered  s3://acme/a b                            5\n"
	if d := cmp.Diff(want, tabulate(header, rows(), 61)); d != "" {
		t.Errorf("at 61 (-want +got):\n%s", d)
	}
}

// TestManyColumnsFitTheTerminal has the widest tables there are, of eleven
// columns, on the narrowest terminal that is usual.
func TestManyColumnsFitTheTerminal(t *testing.T) {
	cell := strings.Repeat("x", 30)
	row := slices.Repeat([]string{cell}, 11)
	for line := range strings.Lines(tabulate(slices.Clone(row), [][]string{row}, 80)) {
		if got := uniseg.StringWidth(strings.TrimSuffix(line, "\n")); got > 80 {
			t.Errorf("%d cells in %q", got, line)
		}
	}
}
