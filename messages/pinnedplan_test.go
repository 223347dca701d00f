package messages

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

func TestPinnedPlan(t *testing.T) {
	schema, err := encoding.NewSchema([]encoding.Column{{Name: "day <&>", Type: encoding.Type{Kind: encoding.Date}}})
	if err != nil {
		t.Fatal(err)
	}
	want := &PinnedPlan{
		Version: Version, Bucket: "acme", Folder: "/", FileName: "{{filename}}-{{account}}",
		File: FileSpec{Format: encoding.CSV, Separator: encoding.Tab, Without: []string{"y"}}, By: "day", Account: true, Undated: "reject", Empty: "delete", PartialMonth: "reject", Accounts: []string{"a", "b/c"}, Manifests: []ManifestForm{ManifestJSON, ManifestSuccess},
		Table: schema, Ignored: []string{"x"}, Loose: true,
		Schema: schema, Time: time.Date(2024, 6, 20, 12, 15, 17, 0, time.UTC),
	}
	body, err := EncodePlan(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParsePlan(body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		name, body string
		newer      bool
	}{
		{"no JSON", `{`, false},
		{"nothing", `{}`, false},
		{"a newer version", `{"version":2}`, true},
		{"no time", `{"version":1,"schema":[{"name":"a","type":"date"}]}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParsePlan([]byte(c.body))
			var decode *DecodeError
			if !errors.As(err, &decode) || errors.Is(err, ErrNewer) != c.newer {
				t.Errorf("ParsePlan(%s): %v, want a DecodeError, newer %t", c.body, err, c.newer)
			}
		})
	}
}
