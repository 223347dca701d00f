package main

import (
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

const (
	columnGap    = 2
	narrowColumn = 4 // a column is not made narrower, whatever the terminal: 13 fit 80 cells
)

// table writes rows under a header, in columns. On a terminal a line fits its
// width: what is too long loses its middle. In a file or a pipe nothing is lost.
func table(w io.Writer, header []string, rows [][]string) error {
	_, err := io.WriteString(w, tabulate(header, rows, cells(w)))
	return err
}

// cells is how wide a terminal is; 0 for what is none, or does not say.
func cells(w io.Writer) int {
	if s, ok := w.(*screen); ok {
		w = s.of
	}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// tabulate is a table whose lines are at most so many cells wide, 0 for any.
func tabulate(header []string, rows [][]string, width int) string {
	for _, r := range rows {
		for i := range r {
			r[i] = printable(r[i])
		}
	}
	all := append([][]string{header}, rows...)
	wide := make([]int, len(header))
	for _, r := range all {
		for i, cell := range r {
			wide[i] = max(wide[i], uniseg.StringWidth(cell))
		}
	}
	if width > 0 {
		narrow(wide, width-columnGap*(len(wide)-1))
	}
	var out strings.Builder
	for _, r := range all {
		var line strings.Builder
		for i, cell := range r {
			cell = shortened(cell, wide[i])
			line.WriteString(cell)
			if i < len(r)-1 {
				line.WriteString(strings.Repeat(" ", wide[i]-uniseg.StringWidth(cell)+columnGap))
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return out.String()
}

// narrow takes from the widest columns until all fit.
func narrow(wide []int, width int) {
	over := -width
	for _, n := range wide {
		over += n
	}
	for ; over > 0; over-- {
		widest := slices.Index(wide, slices.Max(wide))
		if wide[widest] <= narrowColumn {
			return
		}
		wide[widest]--
	}
}

// shortened is text of at most so many cells: its middle goes first, since a key
// is told by its start and its end.
func shortened(text string, width int) string {
	if uniseg.StringWidth(text) <= width {
		return text
	}
	var clusters []string
	for left, state := text, -1; left != ""; {
		var one string
		one, left, _, state = uniseg.FirstGraphemeClusterInString(left, state)
		clusters = append(clusters, one)
	}
	start, end, used := 0, len(clusters), 1 // of which one is for the mark
	for start < end {
		next := clusters[start]
		if fromEnd := (start + len(clusters) - end) % 2; fromEnd == 1 {
			next = clusters[end-1]
		}
		if used += uniseg.StringWidth(next); used > width {
			break
		}
		if (start+len(clusters)-end)%2 == 1 {
			end--
		} else {
			start++
		}
	}
	return strings.Join(clusters[:start], "") + "…" + strings.Join(clusters[end:], "")
}
