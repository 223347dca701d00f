package destination

import (
	"net/url"
	"slices"
	"strings"

	"github.com/loadfleet/loadfleet/encoding"
)

// PartitionColumns says whether a file holds the columns that its key's folders
// name, in Hive style, with their value.
type PartitionColumns string

// The policies for partition columns.
const (
	KeepColumns PartitionColumns = "keep"
	DropColumns PartitionColumns = "drop" // readers take them from the folders' names
)

// HiveOf is what the value of a Hive level is.
type HiveOf uint8

// The values of Hive levels.
const (
	HiveText    HiveOf = iota // constant text, names and times of the load
	HiveDay                   // {{YYYY}}-{{MM}}-{{DD}} of the partition
	HiveAccount               // {{account}}
	HiveNumber                // {{YYYY}}, {{MM}} or {{DD}} of the partition alone
)

// HiveLevel is a level of a folder that is written as name=value: readers make
// a column of it.
type HiveLevel struct {
	Name string
	Of   HiveOf
}

// HiveLevels lists the levels of a folder's template that Hive, Athena, Spark,
// DuckDB and Polars read as columns, in their order.
func HiveLevels(folder string) ([]HiveLevel, error) {
	t, err := ParseTemplate(Folder, folder)
	if err != nil {
		return nil, err
	}
	var levels []HiveLevel
	for _, level := range splitLevels(t.pieces) {
		if level[0].value != literal {
			continue
		}
		name, rest, is := strings.Cut(level[0].text, "=")
		if !is || name == "" {
			continue
		}
		values := level[1:]
		if rest != "" {
			values = append([]piece{{text: rest}}, values...)
		}
		levels = append(levels, HiveLevel{name, hiveOf(values)})
	}
	return levels, nil
}

// splitLevels parts pieces at the slashes in their literals.
func splitLevels(pieces []piece) [][]piece {
	levels := [][]piece{nil}
	for _, p := range pieces {
		if p.value != literal {
			levels[len(levels)-1] = append(levels[len(levels)-1], p)
			continue
		}
		for i, part := range strings.Split(p.text, "/") {
			if i > 0 {
				levels = append(levels, nil)
			}
			if part != "" {
				levels[len(levels)-1] = append(levels[len(levels)-1], piece{text: part})
			}
		}
	}
	return slices.DeleteFunc(levels, func(level []piece) bool { return len(level) == 0 })
}

func hiveOf(values []piece) HiveOf {
	date := []piece{{value: year}, {text: "-"}, {value: month}, {text: "-"}, {value: day}}
	switch {
	case slices.Equal(values, date):
		return HiveDay
	case len(values) != 1:
		return HiveText
	}
	switch values[0].value {
	case account:
		return HiveAccount
	case year, month, day:
		return HiveNumber
	}
	return HiveText
}

// PartitionColumnsIn lists the columns whose value the folder's Hive levels name
// exactly: those may be left out of the files, because every row of a file has
// the value that stands in its key. They are the date column, if it is of type
// date and its level is {{YYYY}}-{{MM}}-{{DD}}, and the account column, each under
// its own name. At least one column always stays.
func PartitionColumnsIn(folder string, schema *encoding.Schema, dateColumn, accountColumn string) ([]string, error) {
	levels, err := HiveLevels(folder)
	if err != nil {
		return nil, err
	}
	var columns []string
	for _, level := range levels {
		i, ok := schema.Index(level.Name)
		if !ok || slices.Contains(columns, level.Name) {
			continue
		}
		dated := level.Of == HiveDay && level.Name == dateColumn && schema.Column(i).Type.Kind == encoding.Date
		if dated || level.Of == HiveAccount && level.Name == accountColumn {
			columns = append(columns, level.Name)
		}
	}
	if len(columns) == schema.Len() {
		columns = columns[:len(columns)-1]
	}
	return columns, nil
}

// HiveValue is the value of a Hive level in a key, as it was before it was
// escaped.
func HiveValue(key, name string) (string, bool) {
	for level := range strings.SplitSeq(key, "/") {
		if value, ok := strings.CutPrefix(level, name+"="); ok {
			text, err := url.PathUnescape(value)
			return text, err == nil
		}
	}
	return "", false
}

// partitionColumns refuses to drop columns that no folder names.
func (c *checker) partitionColumns() {
	if c.s.PartitionColumns != DropColumns || !c.ok("partition_columns", "folder") {
		return
	}
	levels, err := HiveLevels(c.s.Folder)
	if err != nil {
		return // the folder's own problem
	}
	for _, level := range levels {
		if level.Of == HiveDay || level.Of == HiveAccount {
			return
		}
	}
	c.wrong("partition_columns", "would leave out columns that the folder names, and it names none",
		"write a folder such as {{filename}}/date={{YYYY}}-{{MM}}-{{DD}}, with the column's name before the =, or partition_columns: keep")
}
