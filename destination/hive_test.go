package destination

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

func TestHiveLevels(t *testing.T) {
	for folder, want := range map[string][]HiveLevel{
		"/": nil, "a/b": nil, "=x/a": nil,
		"t/date={{YYYY}}-{{MM}}-{{DD}}/account={{account}}": {{"date", HiveDay}, {"account", HiveAccount}},
		"y={{YYYY}}/m={{MM}}/{{filename}}":                  {{"y", HiveNumber}, {"m", HiveNumber}},
		"d={{YYYY}}{{MM}}{{DD}}/k=v/e=":                     {{"d", HiveText}, {"k", HiveText}, {"e", HiveText}},
		"d={{YYYY}}-{{MM}}-{{DD_today}}":                    {{"d", HiveText}},
		"a=x{{account}}":                                    {{"a", HiveText}},
	} {
		got, err := HiveLevels(folder)
		if err != nil {
			t.Fatalf("%s: %v", folder, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", folder, diff)
		}
	}
}

func TestPartitionColumnsIn(t *testing.T) {
	column := func(name string, kind encoding.Kind) encoding.Column {
		return encoding.Column{Name: name, Type: encoding.Type{Kind: kind}}
	}
	wide, err := encoding.NewSchema([]encoding.Column{column("date", encoding.Date), column("account", encoding.String), column("n", encoding.Int64)})
	if err != nil {
		t.Fatal(err)
	}
	timed, err := encoding.NewSchema([]encoding.Column{column("date", encoding.Timestamp), column("n", encoding.Int64)})
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := encoding.NewSchema([]encoding.Column{column("date", encoding.Date)})
	if err != nil {
		t.Fatal(err)
	}
	const folder = "date={{YYYY}}-{{MM}}-{{DD}}/account={{account}}"
	for _, test := range []struct {
		folder, date, account string
		schema                *encoding.Schema
		want                  []string
	}{
		{folder, "date", "account", wide, []string{"date", "account"}},
		{folder, "date", "n", wide, []string{"date"}},
		{folder, "", "account", wide, []string{"account"}},
		{"day={{YYYY}}-{{MM}}-{{DD}}", "date", "", wide, nil},     // another name: the file's own stays
		{"date={{YYYY}}-{{MM}}", "date", "", wide, nil},           // not one day
		{"account={{YYYY}}-{{MM}}-{{DD}}", "date", "", wide, nil}, // another column's name
		{"account={{account}}/account={{account}}", "", "account", wide, []string{"account"}},
		{folder, "date", "", timed, nil},         // its time is not in the key
		{folder, "date", "", narrow, []string{}}, // a file needs a column
	} {
		got, err := PartitionColumnsIn(test.folder, test.schema, test.date, test.account)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test, diff)
		}
	}
}

// What stands in a key reads back as the account was.
func TestHiveValueOfAKey(t *testing.T) {
	s := Settings{Folder: "x/date={{YYYY}}-{{MM}}-{{DD}}/account={{account}}", FileName: "f", FileFormat: encoding.CSV, LoadByAccount: true}
	n, err := s.Naming()
	if err != nil {
		t.Fatal(err)
	}
	for _, account := range []string{"a", "acme/eu", "50% = ü?", "..", "_x", " a ", "a+b&c"} {
		key, err := n.Key(Names{Load: time.Unix(0, 0)}, 19892, account)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := HiveValue(key, "account"); !ok || got != account {
			t.Errorf("key %s: got %q, want %q", key, got, account)
		}
		if got, ok := HiveValue(key, "date"); !ok || got != "2024-06-18" {
			t.Errorf("key %s: got %q", key, got)
		}
	}
	if _, ok := HiveValue("a/b.csv", "date"); ok {
		t.Error("a key without levels has a value")
	}
}
