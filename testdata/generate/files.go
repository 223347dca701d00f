package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/loadfleet/loadfleet/testdata"
	"github.com/loadfleet/loadfleet/testdata/adrows"
)

// file is one file of the directory testdata.
type file struct {
	name    string
	content []byte
}

// generate makes all files.
func generate() ([]file, error) {
	var truths testdata.Truths
	ads, err := pack(adrows.Options{}, &truths.Ads)
	if err != nil {
		return nil, err
	}
	restated, err := pack(adrows.Options{Restated: testdata.RestatedDays}, &truths.Restated)
	if err != nil {
		return nil, err
	}
	schema, err := lines(adrows.Schema().Columns())
	if err != nil {
		return nil, err
	}
	truth, err := truthLines(truths)
	if err != nil {
		return nil, err
	}
	return []file{
		{"ads.ndjson.zst", ads}, {"ads-restated.ndjson.zst", restated}, {"ads.schema.json", schema}, {"ads.truth.json", truth},
	}, nil
}

func pack(o adrows.Options, truth **adrows.Truth) ([]byte, error) {
	var b bytes.Buffer
	// One goroutine: with more, where blocks end depends on their timing.
	z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	if *truth, err = adrows.Write(z, o); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// lines writes a list as JSON with one element per line, so that a change of
// one shows as one in a diff.
func lines[T any](list []T) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("[\n")
	for i, v := range list {
		j, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		b.Write(j)
		if i < len(list)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	return b.Bytes(), nil
}

func truthLines(t testdata.Truths) ([]byte, error) {
	var b bytes.Buffer
	for i, e := range []struct {
		name  string
		truth *adrows.Truth
	}{{"ads", t.Ads}, {"restated", t.Restated}} {
		nulls, err := lines(e.truth.Nulls)
		if err != nil {
			return nil, err
		}
		partitions, err := lines(e.truth.Partitions)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%c\"%s\":{\"rows\":%d,\n\"nulls\":%s,\"partitions\":%s}", "{,"[i], e.name, e.truth.Rows, nulls, partitions)
	}
	b.WriteString("}\n")
	return b.Bytes(), nil
}
