// Package testdata holds the rows that tests load: an extraction of 100,000
// rows of an advertising platform and one that restates its last seven days,
// with what is true of them. adrows makes them; `go run ./testdata/generate`
// writes the files again, byte for byte.
package testdata

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/loadfleet/loadfleet/testdata/adrows"
)

// The generations of the two extractions.
const (
	Generation         = 1719705600000 // 2024-06-30T00:00:00Z
	RestatedGeneration = Generation + 1
)

// RestatedDays is how many of the last days the second extraction restates.
const RestatedDays = 7

// The files as they are: rows as NDJSON in zstd, the schema as a commit's
// schema field, the truth of both extractions.
var (
	//go:embed ads.ndjson.zst
	AdsPacked []byte
	//go:embed ads-restated.ndjson.zst
	RestatedPacked []byte
	//go:embed ads.schema.json
	Schema []byte
	//go:embed ads.truth.json
	truth []byte
)

// Ads reads the rows of the first extraction, as NDJSON.
func Ads() io.Reader { return unpacked(AdsPacked) }

// AdsRestated reads the rows of the second one, as NDJSON.
func AdsRestated() io.Reader { return unpacked(RestatedPacked) }

// unpacked needs no closing: a decoder of one goroutine holds memory only.
func unpacked(b []byte) io.Reader {
	d, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1))
	if err != nil {
		panic(fmt.Sprintf("read embedded rows: %v", err)) // options are constant
	}
	return d
}

// Truths is what is true of both extractions.
type Truths struct {
	Ads      *adrows.Truth `json:"ads"`
	Restated *adrows.Truth `json:"restated"`
}

// Truth is what the generator counted of both extractions.
func Truth() (Truths, error) {
	var t Truths
	if err := json.Unmarshal(truth, &t); err != nil {
		return t, fmt.Errorf("read ads.truth.json: %w", err)
	}
	return t, nil
}
