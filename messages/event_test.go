package messages

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func goodEvent() *Event {
	at := time.Date(2024, 6, 20, 12, 15, 17, 0, time.UTC)
	return &Event{
		Version: 1, Kind: EventOutcome, Time: at, Workspace: "acme", Extraction: "x1", Destination: "lake", Table: "ads",
		Outcome: &Outcome{
			Load: "a1", Result: DeadLettered, Bucket: "acme-lake", Key: "ads.csv", Format: "csv", Rows: 2, Generation: 7, Attempts: 1,
			Started: at, Ended: at, Failure: &Failure{Reason: ReasonKey, Message: "too long"},
		},
	}
}

func TestEventIsRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Event)
		field string
	}{
		{"unknown kind", func(e *Event) { e.Kind = "begun" }, "kind"},
		{"bad workspace", func(e *Event) { e.Workspace = "" }, "workspace"},
		{"bad extraction", func(e *Event) { e.Extraction = "a.b" }, "extraction"},
		{"no time", func(e *Event) { e.Time = time.Time{} }, "time"},
		{"no outcome", func(e *Event) { e.Outcome = nil }, "outcome"},
		{"no plan", func(e *Event) { e.Kind = EventDispatched }, "plan"},
		{"no failure", func(e *Event) { e.Kind = EventFailed }, "failure"},
		{"unknown result", func(e *Event) { e.Outcome.Result = "lost"; e.Outcome.Failure = nil }, "outcome.result"},
		{"loaded with a failure", func(e *Event) { e.Outcome.Result = Loaded }, "outcome.failure"},
		{"dead without a failure", func(e *Event) { e.Outcome.Failure = nil }, "outcome.failure"},
		{"unknown reason", func(e *Event) { e.Outcome.Failure.Reason = "luck" }, "outcome.failure.reason"},
		{"negative bytes", func(e *Event) { e.Outcome.Bytes = -1 }, "outcome.rows"},
		{"bad load", func(e *Event) { e.Outcome.Load = "a/b" }, "outcome.load"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := goodEvent()
			c.spoil(e)
			_, err := EncodeEvent(e)
			checkDecodeError(t, "EncodeEvent", err, c.field)
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			_, err = ParseEvent(b)
			checkDecodeError(t, "ParseEvent", err, c.field)
		})
	}
	b, err := EncodeEvent(goodEvent())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseEvent([]byte(strings.Replace(string(b), `"version":1`, `"version":9`, 1))); !errors.Is(err, ErrNewer) {
		t.Errorf("version 9: %v, want ErrNewer", err)
	}
}

func TestEventTextsAreShortened(t *testing.T) {
	e := goodEvent()
	e.Outcome.Failure.Message = strings.Repeat("ü", 1<<20)
	b, err := EncodeEvent(e)
	if err != nil || len(b) > 4096 {
		t.Errorf("%d bytes, %v: want a short event", len(b), err)
	}
	if got := len(e.Outcome.Failure.Message); got != 2<<20 {
		t.Errorf("EncodeEvent cut its argument to %d bytes", got)
	}
}

func goodDeadLetter() *DeadLetter {
	at := time.Date(2024, 6, 20, 12, 15, 17, 0, time.UTC)
	return &DeadLetter{
		Version: 1, ID: "a1", Stage: StageLoad, Workspace: "acme", Destination: "lake", Extraction: "x1",
		Failure: Failure{Reason: ReasonDestination, Message: "denied"}, Subject: "load.fresh.lake.x1.a1", Time: at,
		Attempts: []Attempt{{Worker: "w1", Time: at, Error: "first"}},
	}
}

func TestDeadLetterAlwaysFitsItsHeader(t *testing.T) {
	for _, text := range []string{"plain", "\x01", "😀", `"`, "\xff"} {
		t.Run(fmt.Sprintf("%q", text), func(t *testing.T) {
			d := goodDeadLetter()
			long := strings.Repeat(text, 1<<16)
			d.Failure = Failure{Reason: ReasonExhausted, Message: long, Remedy: long, Column: long, Value: long}
			d.Subject = long
			for i := range 1000 {
				d.Attempts = append(d.Attempts, Attempt{Worker: "w2", Time: d.Time, Error: fmt.Sprint(i, " ", long)})
			}
			s, err := EncodeDeadLetter(d)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseDeadLetter(s)
			if err != nil {
				t.Fatal(err)
			}
			if len(s) > MaxDeadLetterHeader || got.Attempts[0].Error != "first" || got.Failure.Message == "" {
				t.Errorf("%d bytes with %d attempts, the first %+v", len(s), len(got.Attempts), got.Attempts[0])
			}
			if n := len(got.Attempts); n > 1 && !strings.HasPrefix(got.Attempts[n-1].Error, "999 ") {
				t.Errorf("the last attempt kept is %.20q, want the newest", got.Attempts[n-1].Error)
			}
		})
	}
}

func TestDeadLetterIsRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*DeadLetter)
		field string
	}{
		{"no id", func(d *DeadLetter) { d.ID = "" }, "id"},
		{"unknown stage", func(d *DeadLetter) { d.Stage = "verify" }, "stage"},
		{"unknown reason", func(d *DeadLetter) { d.Failure.Reason = "" }, "failure.reason"},
		{"no time", func(d *DeadLetter) { d.Time = time.Time{} }, "time"},
		{"version zero", func(d *DeadLetter) { d.Version = 0 }, "version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := goodDeadLetter()
			c.spoil(d)
			_, err := EncodeDeadLetter(d)
			checkDecodeError(t, "EncodeDeadLetter", err, c.field)
			b, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			_, err = ParseDeadLetter(string(b))
			checkDecodeError(t, "ParseDeadLetter", err, c.field)
		})
	}
}

func TestEveryReasonHasARemedy(t *testing.T) {
	seen := map[string]Reason{}
	for _, r := range Reasons() {
		if other, twice := seen[r.Remedy()]; twice || r.Remedy() == "" {
			t.Errorf("remedy of %q is %q, as of %q", r, r.Remedy(), other)
		}
		seen[r.Remedy()] = r
	}
	if got := Reason("luck").Remedy(); got != "" {
		t.Errorf("remedy of an unknown reason is %q", got)
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{{"short", 5, "short"}, {"shorter", 6, "sho..."}, {"üüüü", 6, "ü..."}, {"😀😀", 7, "😀..."}, {"😀😀", 6, "..."}} {
		if got := clip(c.s, c.n); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.s, c.n, got, c.want)
		}
	}
	if d := cmp.Diff("", clip("", 0)); d != "" {
		t.Error(d)
	}
}
