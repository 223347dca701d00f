package encoding

import (
	"fmt"
	"testing"
)

// TestDictionaryGivesWay: a column of mostly distinct texts becomes plain, one of
// many repeated texts does not, and neither loses a value.
func TestDictionaryGivesWay(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rows  int
		value func(i int) string
		plain bool
	}{
		{name: "distinct", rows: 100_000, value: func(i int) string { return fmt.Sprintf("row %d of many", i) }, plain: true},
		{name: "every third distinct", rows: 150_000, value: func(i int) string { return fmt.Sprint(i / 3) }},
		{name: "few", rows: 100_000, value: func(i int) string { return fmt.Sprintf("campaign %d", i%2000) }},
		{name: "distinct but null", rows: 100_000, value: func(i int) string {
			if i%4 == 0 {
				return ""
			}
			return fmt.Sprint(i)
		}, plain: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBuilder(schemaOf(t, "v string"))
			c := &b.columns[0]
			for round := range 2 {
				b.recycle = true
				for i := range tt.rows {
					row := b.begin()
					if v := tt.value(i); v == "" {
						c.setNull(row)
					} else {
						c.setLoose(row, []byte(v), false)
					}
					c.filled = row + 1
					b.end(1)
				}
				size := b.size()
				r := b.cut()
				v := &r.vectors[0]
				if (v.codes == nil) != tt.plain {
					t.Errorf("round %d: plain is %v, want %v", round, v.codes == nil, tt.plain)
				}
				for i := range tt.rows {
					want := tt.value(i)
					if null := v.null(i); null != (want == "") || !null && string(v.bytes(i)) != want {
						t.Fatalf("round %d, row %d: not %q", round, i, want)
					}
				}
				if size < r.Size()-100 || size > r.Size()+int64(tt.rows) {
					t.Errorf("round %d: builder says %d bytes, rows say %d", round, size, r.Size())
				}
			}
		})
	}
}

// TestDictionaryPop takes back the latest text again and again, through growth.
func TestDictionaryPop(t *testing.T) {
	d := newDictionary()
	for i := range 3000 {
		for _, v := range []string{fmt.Sprint("gone", i), fmt.Sprint("a longer text that is gone", i)} {
			d.add([]byte(v))
			d.pop()
			if code := d.find([]byte(v)); code >= 0 {
				t.Fatalf("%q is still number %d", v, code)
			}
		}
		if code := d.add(fmt.Append(nil, i)); int(code) != i {
			t.Fatalf("text %d is number %d", i, code)
		}
	}
	for i := range 3000 {
		if code := d.find(fmt.Append(nil, i)); int(code) != i {
			t.Errorf("text %d found as number %d", i, code)
		}
	}
}
