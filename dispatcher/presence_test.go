package dispatcher

import (
	"testing"

	"github.com/loadfleet/loadfleet/messages"
)

// A dispatcher says that it is there, what it did, and that it goes.
func TestPresence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply()
	fleet, err := w.Presences(w.within())
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	stop := w.start(w.Connect(t), Config{Name: "d", Program: "v1"})
	w.extract(commitOf("e"), batch{body: `{"day":"2024-06-18","n":1}` + "\n" + `{"day":"2024-06-19","n":2}` + "\n", rows: 2})
	all, err := fleet.Await(w.within(), func(all []messages.Presence) bool { return len(all) == 1 && all[0].Extractions == 1 })
	if err != nil {
		t.Fatalf("there are %+v: %v", all, err)
	}
	if p := all[0]; p.Name != "d" || p.Role != messages.RoleDispatcher || p.State != messages.ProcessRunning || p.Loads != 2 || p.Rows != 2 || p.InFlight != 0 {
		t.Errorf("it says of itself %+v", p)
	}
	stop()
	if all, err := fleet.Await(w.within(), func(all []messages.Presence) bool { return len(all) == 0 }); err != nil {
		t.Errorf("after its end there are %+v", all)
	}
}
