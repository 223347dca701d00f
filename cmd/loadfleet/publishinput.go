package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/queue"
)

// kindOfFile is what a file of rows is written in.
type kindOfFile string

const (
	ndjsonFile  kindOfFile = "ndjson"
	csvFile     kindOfFile = "csv"
	arrowFile   kindOfFile = "arrow" // an IPC stream, or a file (Feather)
	parquetFile kindOfFile = "parquet"
)

func kindsOfFiles() []kindOfFile { return []kindOfFile{ndjsonFile, csvFile, arrowFile, parquetFile} }

// input is one file of an extraction, or standard input.
type input struct {
	path   string // "-" is standard input
	kind   kindOfFile
	packed encoding.Compression
	size   int64 // as it lies, 0 when unknown

	random bool // it is read at several places: parquet, and Arrow's file format
	file   *os.File
	text   io.Reader // unpacked
	close  []func() error
}

// format is how the input's pieces are written.
func (in *input) format() encoding.InputFormat {
	switch in.kind {
	case csvFile:
		return encoding.CSVInput
	case ndjsonFile:
		return encoding.NDJSONInput
	}
	return encoding.ArrowInput
}

// findInputs lists the files that arguments name: files, patterns, directories
// with all that is in them, and - for standard input. The order is that of the
// arguments, and of names within one: published again it is the same.
func findInputs(args []string) ([]string, error) {
	var found []string
	for _, arg := range args {
		matches := []string{arg}
		info, err := os.Stat(arg)
		switch {
		case arg == "-":
		case err == nil && info.IsDir():
			if matches, err = filesBelow(arg); err != nil {
				return nil, err
			}
		case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(arg, "*?["):
			if matches, err = filepath.Glob(arg); err != nil {
				return nil, fmt.Errorf("%s: %w", arg, err)
			}
			matches = slices.DeleteFunc(matches, func(path string) bool { return filepath.Base(path)[0] == '.' })
		case err != nil:
			return nil, err
		}
		if len(matches) == 0 {
			return nil, fmt.Errorf("%s: there is no file of rows: they end in .ndjson, .jsonl, .json, .csv, .arrow or .parquet, also with .gz or .zst", arg)
		}
		found = append(found, matches...)
	}
	seen := map[string]bool{}
	for _, path := range found {
		file := "" // standard input
		if path != "-" {
			file = filepath.Clean(path)
		}
		if seen[file] {
			return nil, fmt.Errorf("%s: is named twice", path)
		}
		seen[file] = true
	}
	return found, nil
}

// filesBelow is every file of rows in a directory and those in it, by name.
// Those that begin with a dot or an underscore are not looked at.
func filesBelow(dir string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); path != dir && (name[0] == '.' || name[0] == '_') {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if kind, _ := kindByName(path); !entry.IsDir() && kind != "" {
			found = append(found, path)
		}
		return nil
	})
	return found, err
}

// kindByName tells a file by its name; "" when it does not say.
func kindByName(path string) (kindOfFile, encoding.Compression) {
	name, packed := strings.ToLower(filepath.Base(path)), encoding.Plain
	for ending, as := range map[string]encoding.Compression{".gz": encoding.Gzip, ".zst": encoding.Zstd} {
		if strings.HasSuffix(name, ending) {
			name, packed = strings.TrimSuffix(name, ending), as
		}
	}
	switch filepath.Ext(name) {
	case ".ndjson", ".jsonl", ".json":
		return ndjsonFile, packed
	case ".csv":
		return csvFile, packed
	case ".arrow", ".arrows", ".feather", ".ipc":
		return arrowFile, packed
	case ".parquet", ".pq":
		return parquetFile, packed
	}
	return "", packed
}

// openInput opens a file. What its name does not say, its first bytes do; format
// overrides both. Each read of the file is told to progress.
func openInput(path, format string, stdin io.Reader, progress func(int)) (in *input, err error) {
	if format != "" && !slices.Contains(kindsOfFiles(), kindOfFile(format)) {
		return nil, fmt.Errorf("--format %q: use ndjson, csv, arrow or parquet", format)
	}
	in = &input{path: path}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", in.name(), errors.Join(err, in.end()))
		}
	}()
	in.kind, in.packed = kindByName(path)
	read := stdin
	if path != "-" {
		if in.file, err = os.Open(path); err != nil {
			return in, err
		}
		in.close = append(in.close, in.file.Close)
		info, err := in.file.Stat()
		if err != nil {
			return in, err
		}
		if info.IsDir() {
			return in, errors.New("is a directory")
		}
		in.size, read = info.Size(), in.file
	}
	peeked := bufio.NewReaderSize(counted{read, progress}, 64<<10)
	head, err := peeked.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return in, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		in.packed = encoding.Gzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		in.packed = encoding.Zstd
	case len(head) > 0 && in.packed != encoding.Plain:
		return in, fmt.Errorf("is not packed with %s, which its name says", in.packed)
	}
	in.text = peeked
	if in.packed != encoding.Plain && len(head) > 0 {
		unpacked, err := encoding.Unpack(peeked, in.packed)
		if err != nil {
			return in, err
		}
		in.close = append(in.close, unpacked.Close)
		in.text = unpacked
	}
	return in, in.tell(kindOfFile(format))
}

// tell finds out what the input is, by what was said, its name or its content.
func (in *input) tell(said kindOfFile) error {
	text := bufio.NewReaderSize(in.text, 64<<10)
	in.text = text
	head, err := text.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	content := kindOfFile("")
	trimmed := bytes.TrimLeft(head, " \t\r\n\ufeff")
	switch {
	case bytes.HasPrefix(head, []byte("ARROW1")):
		content, in.random = arrowFile, true
	case bytes.HasPrefix(head, []byte("PAR1")):
		content, in.random = parquetFile, true
	case bytes.HasPrefix(head, []byte{0xff, 0xff, 0xff, 0xff}):
		content = arrowFile
	case bytes.HasPrefix(trimmed, []byte("{")):
		content = ndjsonFile
	case bytes.HasPrefix(trimmed, []byte("[")):
		if said == "" && in.kind != csvFile || said == ndjsonFile {
			return errors.New("is a JSON array: write one object a line (jq -c '.[]' does)")
		}
	}
	binary := content == parquetFile || content == arrowFile
	switch {
	case said != "":
		in.kind = said
	case content != "" && (in.kind == "" || binary):
		in.kind = content
	case in.kind == "" && len(trimmed) == 0:
		return errors.New("is empty: give --format if that is right")
	case in.kind == "" && bytes.ContainsRune(trimmed, 0):
		return errors.New("cannot tell what it is: give --format ndjson, csv, arrow or parquet")
	case in.kind == "":
		in.kind = csvFile
	}
	if binary != (in.kind == arrowFile || in.kind == parquetFile) && len(head) > 0 || binary && content != in.kind {
		return fmt.Errorf("is no %s file", in.kind)
	}
	return nil
}

// pieces cuts the input to batches.
func (in *input) pieces() iter.Seq2[encoding.Piece, error] {
	if !in.random {
		return encoding.Cut(in.text, in.format(), queue.BatchBytes)
	}
	file, err := in.whole()
	if err != nil {
		return func(yield func(encoding.Piece, error) bool) { yield(encoding.Piece{}, err) }
	}
	if in.kind == parquetFile {
		return encoding.CutParquet(file, queue.BatchBytes)
	}
	return encoding.CutArrowFile(file, queue.BatchBytes)
}

// whole is the input as a file, read at several places: a copy when it is packed
// or comes from standard input.
func (in *input) whole() (encoding.File, error) {
	if in.file != nil && in.packed == encoding.Plain {
		return in.file, nil
	}
	scratch, err := os.CreateTemp("", "loadfleet-publish-*")
	if err != nil {
		return nil, err
	}
	in.close = append(in.close, scratch.Close)
	if err := os.Remove(scratch.Name()); err != nil { // its space is given back however we end
		return nil, err
	}
	_, err = io.Copy(scratch, in.text)
	return scratch, err
}

func (in *input) name() string {
	if in.path == "-" {
		return "standard input"
	}
	return in.path
}

// end closes what was opened.
func (in *input) end() error {
	var errs []error
	for _, end := range slices.Backward(in.close) {
		errs = append(errs, end())
	}
	in.close = nil
	return errors.Join(errs...)
}

// counted tells how much is read.
type counted struct {
	io.Reader
	told func(int)
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.told != nil {
		c.told(n)
	}
	return n, err
}
