package worker

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// foreignBytes is how much of an object that is not as recorded is looked at.
const foreignBytes = 64 << 20

// errBrokenOff says that a body ended before its length.
var errBrokenOff = errors.New("the download broke off")

// downloaded is an object on this side: in memory when small, else in an
// unlinked temporary file. Its owner closes it.
type downloaded struct {
	io.ReaderAt
	file *os.File
	sum  [32]byte
}

func download(body io.Reader, size, memory int64, dir string) (*downloaded, error) {
	d := &downloaded{}
	hash := sha256.New()
	var to io.Writer
	var held bytes.Buffer
	if size <= memory {
		held.Grow(int(size))
		to = &held
	} else {
		f, err := os.CreateTemp(dir, "loadfleet-verify-*")
		if err != nil {
			return nil, err
		}
		d.file, d.ReaderAt, to = f, f, f
		// Unlinked while open: the space is given back however the process ends.
		if err := os.Remove(f.Name()); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	source := &errorSource{r: body}
	n, err := io.Copy(io.MultiWriter(to, hash), source)
	switch {
	case source.err != nil:
		err = fmt.Errorf("%w after %d of %d bytes: %w", errBrokenOff, n, size, source.err)
	case err == nil && n != size:
		err = fmt.Errorf("%w after %d of %d bytes", errBrokenOff, n, size)
	}
	if err != nil {
		d.close()
		return nil, err
	}
	if d.file == nil {
		d.ReaderAt = bytes.NewReader(held.Bytes())
	}
	d.sum = [32]byte(hash.Sum(nil))
	return d, nil
}

func (d *downloaded) close() {
	if d.file != nil {
		_ = d.file.Close() // it has no name and nothing in it is wanted any more
	}
}

// errorSource tells errors of reading from errors of writing.
type errorSource struct {
	r   io.Reader
	err error
}

func (s *errorSource) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// readBack reads the file with readers that had no part in writing it, counts
// its rows and sends each to its partition anew.
func (v *verification) readBack(o *messages.Outcome, file io.ReaderAt, size int64) {
	plan := v.plan
	if plan.Schema == nil {
		v.found(FindingSchema, o, "the plan has no columns, since there were no rows, and here is an object")
		return
	}
	var rows, strays int64
	var first error
	schema, err := plan.Schema.Without(plan.File.Without)
	if err != nil {
		v.found(FindingSchema, o, "the plan's files would have no columns: %s", err)
		return
	}
	err = encoding.ReadFile(file, size, schema, encoding.FileOptions{
		Format: plan.File.Format, Separator: plan.File.Separator, Compression: plan.File.Compression,
	}, func(part *encoding.Rows) error {
		n, err := v.partition.strays(part, o.Key)
		strays += n
		var row *encoding.RowError
		if errors.As(err, &row) {
			row.Row += rows
		}
		if first == nil {
			first = err
		}
		rows += int64(part.Len())
		return nil
	})
	v.count(func(r *Report) { r.ObjectRows += rows })
	var columns *encoding.SchemaError
	switch {
	case errors.As(err, &columns):
		v.found(FindingSchema, o, "%s", err)
	case err != nil:
		v.found(FindingUnreadable, o, "after %d rows: %s", rows, err)
	case rows != o.Rows:
		v.found(FindingRows, o, "it holds %d rows, and %d were recorded", rows, o.Rows)
	}
	if first != nil {
		v.found(FindingPartition, o, "%d of %d rows belong elsewhere; the first: %s", strays, rows, first)
	}
}

// partitionCheck renders the key of every row by the pinned plan. It shares
// nothing with the dispatcher but the plan and the templates' language.
type partitionCheck struct {
	naming        *destination.Naming
	names         destination.Names
	date, account int   // columns, -1 when keys do not depend on them
	loadDay       int32 // of rows without a date
	undated       bool  // whether such rows are dated by the load

	// Columns that the file leaves out, so that the key itself must name their
	// value: "" when they are in the file.
	dateLevel, accountLevel string
}

func newPartitionCheck(c *messages.Commit, p *messages.PinnedPlan) (*partitionCheck, error) {
	s := destination.Settings{
		ID: c.Destination, Folder: p.Folder, FileName: p.FileName, FileFormat: p.File.Format,
		PartitionBy: destination.PartitionBy(p.By), LoadByAccount: p.Account,
	}
	naming, err := s.Naming()
	if err != nil {
		return nil, fmt.Errorf("pinned templates: %w", err)
	}
	check := &partitionCheck{
		naming: naming, date: -1, account: -1,
		loadDay: int32(p.Time.Unix() / 86400), undated: p.Undated == string(destination.DateByLoad),
		names: destination.Names{
			WorkspaceID: c.WorkspaceID, WorkspaceTitle: c.WorkspaceTitle, DataSource: c.DataSource,
			DataTableTitle: c.DataTableTitle, ReportType: c.ReportType, Filename: c.Filename, Load: p.Time,
		},
	}
	if p.Schema == nil {
		return check, nil
	}
	inFile, err := p.Schema.Without(p.File.Without)
	if err != nil {
		return nil, fmt.Errorf("pinned columns: %w", err)
	}
	if i, ok := inFile.Index(c.DateColumn); ok && naming.Dated() {
		check.date = i
	}
	if i, ok := inFile.Index(c.AccountColumn); ok && naming.ByAccount() {
		check.account = i
	}
	for _, column := range p.File.Without {
		switch column {
		case c.DateColumn:
			check.dateLevel = column
		case c.AccountColumn:
			check.accountLevel = column
		}
	}
	return check, nil
}

// named is the day and account that the key says of columns that are not in the
// file.
func (p *partitionCheck) named(key string) (day int32, account string, err error) {
	if p.dateLevel != "" {
		text, _ := destination.HiveValue(key, p.dateLevel)
		at, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return 0, "", fmt.Errorf("the key names no day under %s=, and the file leaves that column out", p.dateLevel)
		}
		day = int32(at.Unix() / 86400)
	}
	if p.accountLevel != "" {
		text, ok := destination.HiveValue(key, p.accountLevel)
		if !ok || text == "" {
			return 0, "", fmt.Errorf("the key names no account under %s=, and the file leaves that column out", p.accountLevel)
		}
		account = text
	}
	return day, account, nil
}

// strays counts the rows whose key is not this one. The error says why the
// first of them, or of those that have no key, is one: a [*encoding.RowError]
// whose Row counts within rows from 1.
func (p *partitionCheck) strays(rows *encoding.Rows, key string) (n int64, err error) {
	var whys []error // by group; the first is that of rows at home
	whys = append(whys, nil)
	keyDay, keyAccount, err := p.named(key)
	if err != nil {
		return int64(rows.Len()), err
	}
	groups, err := rows.Group(p.date, p.account, func(day int32, hasDay bool, account string, hasAccount bool) (int32, error) {
		if p.dateLevel != "" {
			day, hasDay = keyDay, true
		}
		if p.accountLevel != "" {
			account = keyAccount
		}
		why := p.stray(day, hasDay, account, hasAccount, key)
		if why == nil {
			return 0, nil
		}
		whys = append(whys, why)
		return int32(len(whys) - 1), nil
	})
	if err != nil {
		return int64(rows.Len()), err
	}
	for row, group := range groups {
		if group == 0 {
			continue
		}
		if n++; err == nil {
			err = &encoding.RowError{Row: int64(row) + 1, Err: whys[group]}
		}
	}
	return n, err
}

func (p *partitionCheck) stray(day int32, hasDay bool, account string, hasAccount bool, key string) error {
	if !hasDay {
		if p.date >= 0 && !p.undated {
			return errors.New("it has no date, and such rows were to be refused")
		}
		day = p.loadDay
	}
	if p.account >= 0 && (!hasAccount || account == "") {
		return errors.New("it has no account")
	}
	home, err := p.naming.Key(p.names, day, account)
	if err != nil {
		return err
	}
	if home != key {
		return fmt.Errorf("its key is %s", home)
	}
	return nil
}
