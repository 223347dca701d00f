package messages

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

func goodLoad() *Load {
	return &Load{
		Version: 1, ID: LoadID("acme", "x1", "acme-lake", "ads/2024-06-18.parquet"),
		Workspace: "acme", Destination: "lake", Extraction: "x1", Lane: Fresh, Generation: 7,
		Bucket: "acme-lake", Key: "ads/2024-06-18.parquet",
		File: FileSpec{Format: encoding.Parquet, Compression: "zstd"},
		Part: Partition{From: "2024-06-18", To: "2024-06-18", DateColumn: "day"},
		Rows: 2, Inline: &RowsRef{Bytes: 10, SHA256: hashA},
		Time: time.Date(2024, 6, 20, 12, 15, 17, 0, time.UTC),
	}
}

func TestLoadIDIsPinned(t *testing.T) {
	// printf 'x1\0acme-lake\0ads/2024-06-18.parquet' | sha256sum | cut -c1-32
	const want = "7be35066310c9a3b082441153f279a2f"
	if got := LoadID("acme", "x1", "acme-lake", "ads/2024-06-18.parquet"); got != want {
		t.Errorf("got %s, want %s: a load's id must never change", got, want)
	}
	if LoadID("w", "x", "1", "k") == LoadID("w", "x1", "", "k") || LoadID("w", "x", "b", "k") == LoadID("v", "x", "b", "k") {
		t.Error("the parts of an id run into each other")
	}
}

func TestLoadHeaderIsPrintableASCII(t *testing.T) {
	l := goodLoad()
	l.Key = "ünï/çødé 😀\u007f\u2028<&>.csv"
	l.Part.Account = "a\r\nb\x00\t"
	s, err := EncodeLoad(l)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			t.Fatalf("byte %d of the header is %#x: %s", i, s[i], s)
		}
	}
	got, err := ParseLoad(s)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(l, got); d != "" {
		t.Errorf("round trip (-want +got):\n%s", d)
	}
}

func TestLoadIsRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Load)
		field string
	}{
		{"no id", func(l *Load) { l.ID = "" }, "id"},
		{"bad workspace", func(l *Load) { l.Workspace = "a.b" }, "workspace"},
		{"bad destination", func(l *Load) { l.Destination = "" }, "destination"},
		{"bad extraction", func(l *Load) { l.Extraction = ">" }, "extraction"},
		{"unknown lane", func(l *Load) { l.Lane = "slow" }, "lane"},
		{"no generation", func(l *Load) { l.Generation = 0 }, "generation"},
		{"no bucket", func(l *Load) { l.Bucket = "" }, "bucket"},
		{"no key", func(l *Load) { l.Key = "" }, "key"},
		{"key not UTF-8", func(l *Load) { l.Key = "a\xff" }, "key"},
		{"unknown format", func(l *Load) { l.File.Format = "xml" }, "file.format"},
		{"unknown separator", func(l *Load) { l.File.Separator = "pipe" }, "file.separator"},
		{"no date", func(l *Load) { l.Part.From, l.Part.To = "2024-02-30", "2024-03-01" }, "partition.from"},
		{"span backwards", func(l *Load) { l.Part.From = "2024-06-19" }, "partition.from"},
		{"half a span", func(l *Load) { l.Part.To = "" }, "partition.from"},
		{"negative rows", func(l *Load) { l.Rows = -1 }, "rows"},
		{"rows nowhere", func(l *Load) { l.Inline = nil }, "inline"},
		{"rows in two places", func(l *Load) { l.Slices = []SliceRef{{Subject: "s", Count: 1, SHA256: hashA}} }, "inline"},
		{"bad payload sum", func(l *Load) { l.Inline.SHA256 = "" }, "inline"},
		{"bad packing", func(l *Load) { l.Inline.Packed = "lz4" }, "inline"},
		{"bad packing of slices", func(l *Load) {
			l.Inline, l.Slices = nil, []SliceRef{{Subject: "s", Count: 1, Packed: "lz4", SHA256: hashA}}
		}, "slices[0]"},
		{"bad slice", func(l *Load) { l.Inline, l.Slices = nil, []SliceRef{{Subject: "s", SHA256: hashA}} }, "slices[0]"},
		{"no time", func(l *Load) { l.Time = time.Time{} }, "time"},
		{"version zero", func(l *Load) { l.Version = 0 }, "version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := goodLoad()
			c.spoil(l)
			_, err := EncodeLoad(l)
			checkDecodeError(t, "EncodeLoad", err, c.field)
			s, err := marshalASCII(l)
			if err != nil {
				t.Fatal(err)
			}
			if c.name == "key not UTF-8" {
				return // JSON cannot carry it
			}
			_, err = ParseLoad(s)
			checkDecodeError(t, "ParseLoad", err, c.field)
		})
	}
}

func checkDecodeError(t *testing.T, op string, err error, field string) {
	t.Helper()
	var e *DecodeError
	if !errors.As(err, &e) || len(e.Mistakes) != 1 || e.Mistakes[0].Field != field || e.Reason() != ReasonUndecodable {
		t.Errorf("%s: got %v, want one mistake in %q", op, err, field)
	}
}

func TestLoadMustFitAHeader(t *testing.T) {
	l := goodLoad()
	l.Inline = nil
	for range 300 {
		l.Slices = append(l.Slices, SliceRef{Subject: "slice.x1.a1.t0", Count: 1, Rows: 1, Bytes: 1, SHA256: hashA})
	}
	if _, err := EncodeLoad(l); err == nil || !strings.Contains(err.Error(), "a header holds at most 32768") {
		t.Errorf("got %v, want a refusal that names the limit", err)
	}
}

func TestParseLoadOfOtherTimes(t *testing.T) {
	s, err := EncodeLoad(goodLoad())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseLoad(strings.Replace(s, "{", `{"colour":"red",`, 1)); err != nil {
		t.Errorf("an added field: %v, want it passed over", err)
	}
	if _, err := ParseLoad(strings.Replace(s, `"version":1`, `"version":2`, 1)); !errors.Is(err, ErrNewer) {
		t.Errorf("version 2: %v, want ErrNewer", err)
	}
	for _, s := range []string{"", "null", "[]", "{}", s[:len(s)-1], s + s} {
		var e *DecodeError
		if _, err := ParseLoad(s); !errors.As(err, &e) {
			t.Errorf("ParseLoad(%.40q): %v, want a *DecodeError", s, err)
		}
	}
}

func FuzzParseLoad(f *testing.F) {
	s, _ := EncodeLoad(goodLoad())
	f.Add(s)
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLoad(s)
		if err != nil {
			return
		}
		again, err := EncodeLoad(l)
		if err != nil && len(s) < MaxLoadHeader/8 {
			t.Fatalf("%q: parsed, but not encoded: %v", s, err)
		}
		if err != nil {
			return
		}
		if back, err := ParseLoad(again); err != nil || !cmp.Equal(l, back) {
			t.Fatalf("%q: round trip: %v\n%s", s, err, cmp.Diff(l, back))
		}
	})
}
