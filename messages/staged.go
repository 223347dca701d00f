package messages

import (
	"fmt"
	"strings"

	"github.com/loadfleet/loadfleet/encoding"
)

// StagedFile is a file of rows that an extractor put into the fleet's stage
// before its commit, instead of publishing it in batches. It counts as the batch
// of its place in the list.
type StagedFile struct {
	// Name is the file's path below the workspace's own folder of the stage,
	// with "/" between its levels: see [ValidStagedName].
	Name        string               `json:"name"`
	Rows        int64                `json:"rows"`
	Bytes       int64                `json:"bytes"`  // of the file as it lies
	SHA256      string               `json:"sha256"` // of the file as it lies, lower-case hex
	Format      encoding.InputFormat `json:"format"`
	Compression encoding.Compression `json:"compression,omitempty"`
}

// MaxStagedName is the longest name of a staged file, in bytes: with the
// workspace and a stage's own prefix it must fit a key.
const MaxStagedName = 512

var stagedFields = []string{"name", "rows", "bytes", "sha256", "format", "compression"}

const (
	remedyStagedName = "write the path below the workspace's folder of the stage: letters, digits and ._-= in levels parted by single slashes, none of which begins with a dot"
	remedyBytes      = "write the file's length in bytes as it lies in the stage"
	remedyStagedSum  = "write the SHA-256 of the file as it lies in the stage, in 64 lower-case hex digits"
	remedyFormat     = "write ndjson, csv or arrow"
)

// ValidStagedName reports whether a file may have the name. It cannot leave the
// folder that it is below of, whatever reads it as a path or key.
func ValidStagedName(name string) bool {
	if name == "" || len(name) > MaxStagedName {
		return false
	}
	for level := range strings.SplitSeq(name, "/") {
		if level == "" || level[0] == '.' {
			return false
		}
		for i := range len(level) {
			if c := level[i]; !tokenByte(c) && c != '.' && c != '=' {
				return false
			}
		}
	}
	return true
}

// Parts is what the commit says of its batches, or of the staged files that
// stand for them.
func (c *Commit) Parts() []BatchManifest {
	if len(c.Files) == 0 {
		return c.Batches
	}
	parts := make([]BatchManifest, len(c.Files))
	for i, f := range c.Files {
		parts[i] = BatchManifest{Rows: f.Rows, SHA256: f.SHA256}
	}
	return parts
}

func readFiles(o *object) []StagedFile {
	list, ok := o.list("files")
	if !ok {
		return nil
	}
	files := make([]StagedFile, 0, len(list))
	for i, raw := range list {
		path := fmt.Sprintf("files[%d].", i)
		var f StagedFile
		if e, ok := readObject(raw, path, stagedFields, o.found); ok {
			if e.need("name", remedyStagedName) {
				f.Name = e.text("name")
			}
			if e.need("rows", "write how many rows the file holds") {
				f.Rows, _ = e.integer("rows")
			}
			if e.need("bytes", remedyBytes) {
				f.Bytes, _ = e.integer("bytes")
			}
			if e.need("sha256", remedyStagedSum) {
				f.SHA256 = e.text("sha256")
			}
			if e.need("format", remedyFormat) {
				f.Format = encoding.InputFormat(e.text("format"))
			}
			f.Compression = encoding.Compression(e.text("compression"))
		}
		files = append(files, f)
	}
	return files
}

func (c *Commit) checkFiles(flaw flawFunc) {
	if len(c.Files) == 0 {
		return
	}
	if len(c.Batches) > 0 {
		flaw("files", "write batches: [], or leave files out", "the commit has both batches and staged files")
	}
	if len(c.Files) > MaxBatches {
		flaw("files", "stage larger files", "%d files: at most %d are taken", len(c.Files), MaxBatches)
		return
	}
	seen := make(map[string]int, len(c.Files))
	for i, f := range c.Files {
		field := fmt.Sprintf("files[%d]", i)
		if !ValidStagedName(f.Name) {
			flaw(field+".name", remedyStagedName, "%q cannot be the name of a staged file", clip(f.Name, 200))
		} else if first, twice := seen[f.Name]; twice {
			flaw(field+".name", "list each file once", "%q stands twice, in files[%d] too", clip(f.Name, 200), first)
		}
		seen[f.Name] = i
		if f.Bytes < 0 {
			flaw(field+".bytes", remedyBytes, "%d is below zero", f.Bytes)
		}
		switch f.Format {
		case encoding.NDJSONInput, encoding.CSVInput, encoding.ArrowInput:
		default:
			flaw(field+".format", remedyFormat, "%q is no format of rows", clip(string(f.Format), 40))
		}
		switch f.Compression {
		case encoding.Plain, encoding.Gzip, encoding.Zstd:
		default:
			flaw(field+".compression", "write gzip or zstd, or leave it out", "%q is no packing of rows", clip(string(f.Compression), 40))
		}
	}
}
