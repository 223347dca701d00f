package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestFindInputsOnce: a file is published once, however it is named.
func TestFindInputsOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("in", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"a.csv", "-", filepath.Join("in", "a.csv")} {
		if err := os.WriteFile(path, []byte("n\n1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		args []string
		want []string // nil: refused
	}{
		{"two files", []string{"a.csv", "in/a.csv"}, []string{"a.csv", "in/a.csv"}},
		{"twice", []string{"a.csv", "a.csv"}, nil},
		{"twice, with a dot", []string{"a.csv", "./a.csv"}, nil},
		{"twice, through a directory", []string{"in/../a.csv", "a.csv"}, nil},
		{"twice, in its directory", []string{"in", "./in/a.csv"}, nil},
		{"standard input and a file", []string{"-", "./-"}, []string{"-", "./-"}},
		{"standard input twice", []string{"-", "-"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := findInputs(tt.args)
			if (err == nil) != (tt.want != nil) || !slices.Equal(got, tt.want) {
				t.Errorf("%q: got %q, %v; want %q", tt.args, got, err, tt.want)
			}
		})
	}
}
