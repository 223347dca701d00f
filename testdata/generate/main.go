// Command generate writes the files of testdata again: the same bytes, unless
// adrows or the compressor has changed.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	dir := flag.String("dir", "testdata", "directory to write to")
	flag.Parse()
	files, err := generate()
	for _, f := range files {
		if err == nil {
			err = os.WriteFile(filepath.Join(*dir, f.name), f.content, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}
