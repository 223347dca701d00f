package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest    = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")
	declaredTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// TestArchitectureNamesTests holds ARCHITECTURE.md to the tree: each promise
// has its table, each row of it names a test, and each test named anywhere in
// it exists, whatever its build tags. It is not parallel: the embedded store of
// others changes the working directory.
func TestArchitectureNamesTests(t *testing.T) {
	const root = "../.."
	doc, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declaredTest.FindAllSubmatch(text, -1) {
			declared[string(m[1])] = true
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, m := range namedTest.FindAllSubmatch(doc, -1) {
		if name := string(m[1]); !declared[name] {
			t.Errorf("ARCHITECTURE.md names %s, which does not exist", name)
		}
	}
	for n := 1; n <= 11; n++ {
		_, section, found := strings.Cut(string(doc), fmt.Sprintf("\n### P%d ", n))
		if !found {
			t.Errorf("ARCHITECTURE.md has no section of promise P%d", n)
			continue
		}
		section, _, _ = strings.Cut(section, "\n##")
		_, table, found := strings.Cut(section, "\n| what breaks | what holds it | which test shows it |\n|---|---|---|\n")
		table, _, _ = strings.Cut(table, "\n\n")
		if !found || table == "" {
			t.Errorf("promise P%d has no table of what breaks", n)
		}
		for row := range strings.Lines(table) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
			if len(cells) != 3 || !namedTest.MatchString(cells[2]) {
				t.Errorf("P%d: a row names no test: %s", n, row)
			}
		}
	}
}
