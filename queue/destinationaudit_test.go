package queue_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// Each change of a destination is on record with who made it, what it changed and
// how it ended: one that somebody else was faster with is refused.
func TestDestinationAudit(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	keyring, err := destination.NewKeyring(destination.NewSealKey())
	if err != nil {
		t.Fatal(err)
	}
	store := f.Destinations()
	was := destination.Settings{ID: "acme", Bucket: "b", SecretAccessKey: destination.NewSecret("one")}
	first, err := store.Save(ctx, keyring, &was, 0, queue.Edit{Action: messages.DestinationApply, By: "ann@desk"})
	if err != nil {
		t.Fatal(err)
	}
	is := was
	is.Paused, is.SecretAccessKey = true, destination.NewSecret("two")
	edit := queue.Edit{Action: messages.DestinationPause, By: "bob@desk", From: &was}
	second, err := store.Save(ctx, keyring, &is, first, edit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Save(ctx, keyring, &was, first, edit); !errors.Is(err, queue.ErrRevision) {
		t.Errorf("save over an old revision: got %v, want ErrRevision", err)
	}
	if err := store.Delete(ctx, "acme", ""); err != nil {
		t.Fatal(err)
	}
	var got []string
	for a, err := range store.Audit(ctx, "acme") {
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(a.Time) > time.Minute {
			t.Errorf("record of %s", a.Time)
		}
		got = append(got, fmt.Sprint(a.Action, " ", a.Created, " by ", a.By, " ", a.End, " ", a.Revision, " ", a.Changes))
	}
	want := []string{
		fmt.Sprintf("apply true by ann@desk done %d [{id  acme} {secret_access_key  changed} {bucket  b}]", first),
		fmt.Sprintf("pause false by bob@desk done %d [{secret_access_key [redacted] changed} {paused false true}]", second),
		"pause false by bob@desk refused 0 []",
		"delete false by unknown done 0 []",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}
	for a, err := range store.Audit(ctx, "other") {
		t.Errorf("of another: got %+v, %v", a, err)
	}
}
