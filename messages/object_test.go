package messages

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

func TestObject(t *testing.T) {
	at := time.Date(2024, 6, 20, 12, 15, 17, 0, time.UTC)
	load := &Load{
		ID: "l1", Workspace: "ws", Destination: "acme", Extraction: "e1", Table: "ads", Generation: 7, Bucket: "b", Key: "k",
		File: FileSpec{Format: encoding.CSV}, Part: Partition{From: "2024-06-18", To: "2024-06-18", Account: "eu"},
	}
	outcome := &Outcome{Load: "l1", Result: Loaded, Rows: 3, Bytes: 9, SHA256: "abc", ETag: `"e"`, Ended: at}
	want := &Object{
		Version: 1, Workspace: "ws", Destination: "acme", Extraction: "e1", Load: "l1", Table: "ads", Bucket: "b", Key: "k", Format: "csv",
		From: "2024-06-18", To: "2024-06-18", Account: "eu", Generation: 7, Result: Loaded, Rows: 3, Bytes: 9, SHA256: "abc", ETag: `"e"`, Time: at,
	}
	got := NewObject(load, outcome)
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("record (-want +got):\n%s", d)
	}
	body, err := EncodeObject(got)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = ParseObject(body); err != nil || !cmp.Equal(want, got) {
		t.Fatalf("parsed: got %+v, %v", got, err)
	}
	for _, result := range []Result{Superseded, DeadLettered} {
		if o := NewObject(load, &Outcome{Result: result}); o != nil {
			t.Errorf("%s left %+v, want nothing", result, o)
		}
	}
	for _, spoil := range []func(*Object){
		func(o *Object) { o.Version = 2 }, func(o *Object) { o.Key = "" }, func(o *Object) { o.Result = Superseded },
		func(o *Object) { o.Workspace = "a.b" },
	} {
		bad := *want
		spoil(&bad)
		if _, err := EncodeObject(&bad); err == nil {
			t.Errorf("%+v was encoded", bad)
		}
	}
}

func TestObjectBefore(t *testing.T) {
	for _, c := range []struct {
		a, b Object
		want bool
	}{
		{Object{Generation: 1, Extraction: "z"}, Object{Generation: 2, Extraction: "a"}, true},
		{Object{Generation: 2, Extraction: "a"}, Object{Generation: 1, Extraction: "z"}, false},
		{Object{Generation: 2, Extraction: "a"}, Object{Generation: 2, Extraction: "b"}, true},
		{Object{Generation: 2, Extraction: "a"}, Object{Generation: 2, Extraction: "a"}, false},
	} {
		if got := c.a.Before(&c.b); got != c.want {
			t.Errorf("%+v before %+v: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// No two objects of a destination have one record.
func TestObjectSubject(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range [][3]string{{"d", "b", "k"}, {"d", "bk", ""}, {"d", "b", "k "}, {"e", "b", "k"}, {"d", "b\x00k", ""}} {
		s := ObjectSubject(o[0], o[1], o[2])
		if seen[s] && o[1] != "b\x00k" { // no bucket's name has a zero byte
			t.Errorf("%q shares %s", o, s)
		}
		seen[s] = true
		if !strings.HasPrefix(s, strings.TrimSuffix(ObjectSubjects(o[0]), "*")) {
			t.Errorf("%s is not of %s", s, ObjectSubjects(o[0]))
		}
	}
}
