package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// revision is the number that apply's answer ends its first line with.
func revision(t *testing.T, answer string) string {
	t.Helper()
	m := regexp.MustCompile(`\(revision (\d+)\)`).FindStringSubmatch(answer)
	if m == nil {
		t.Fatalf("no revision in %q", answer)
	}
	return m[1]
}

func TestApply(t *testing.T) {
	t.Parallel()
	h := startHome(t, "--bucket", "acme,other")
	secret := "env:AWS_SECRET_ACCESS_KEY"
	h.set("OTHER_SECRET", "another/SECRET+access=key&Zq9~")
	document := func(edits ...string) string {
		doc := p10Document("acme", h.variable("AWS_ACCESS_KEY_ID"), secret, h.variable("AWS_ENDPOINT_URL"), "loads")
		for i := 0; i < len(edits); i += 2 {
			if !strings.Contains(doc, edits[i]) {
				t.Fatalf("the document has no %q", edits[i])
			}
			doc = strings.Replace(doc, edits[i], edits[i+1], 1)
		}
		return doc
	}
	apply := func(t *testing.T, code int, doc string, flags ...string) finished {
		t.Helper()
		return h.run(t, code, doc, append([]string{"destination", "apply", "-f", "-"}, flags...)...)
	}

	t.Run("repeating changes nothing", func(t *testing.T) {
		first := apply(t, exitOK, document())
		if !strings.HasPrefix(first.out, "destination acme created (revision ") {
			t.Errorf("the first apply says %q", first.out)
		}
		again := apply(t, exitOK, document())
		if want := "destination acme unchanged (revision " + revision(t, first.out) + ")\n"; again.out != want {
			t.Errorf("the second apply says %q, want %q", again.out, want)
		}
		json := apply(t, exitOK, document(), "-o", "json")
		if !holdsAll(json.out, []string{`"created": false`, `"changes": []`, `"warnings": []`}) {
			t.Errorf("the third apply says %s", json.out)
		}
	})

	t.Run("it shows what changes", func(t *testing.T) {
		f := apply(t, exitOK, document("canary-of-the-run acme", "Acme", secret, "env:OTHER_SECRET"))
		want := []string{"destination acme changed (revision ", `title: "canary-of-the-run acme" -> "Acme"`, `secret_access_key: "[redacted]" -> "changed"`}
		if !holdsAll(f.out, want) {
			t.Errorf("apply says %q, want %q", f.out, want)
		}
		if shown := h.run(t, exitOK, "", "destination", "show", "acme"); !holdsAll(shown.out, []string{
			"# revision " + revision(t, f.out) + ", open\n", "secret_access_key: \"[redacted]\"", "title: Acme\n"}) || strings.Count(shown.out, " applied ") != 2 {
			t.Errorf("show says %s", shown.out)
		}
		apply(t, exitOK, document())
	})

	t.Run("a change that leaves objects behind", func(t *testing.T) {
		// Before anything was loaded there is nothing to leave.
		apply(t, exitOK, document("loads/", "elsewhere/"))
		apply(t, exitOK, document())
		for _, extraction := range []string{"one", "again"} { // the same three objects
			h.run(t, exitOK, adDays(3), "publish", "-", "--format", "ndjson", "--destination", "acme", "--table", "ads",
				"--date-column", "date", "--wait", "--extraction", extraction)
		}
		before := revision(t, apply(t, exitOK, document()).out)
		for field, edit := range map[string][2]string{
			"folder": {"loads/", "elsewhere/"}, "file_name": {"{{MM}}-", "{{MM}}_"}, "file_format": {"json", "csv"}, "bucket": {"bucket: acme", "bucket: other"},
		} {
			f := apply(t, exitUsage, document(edit[0], edit[1]))
			if want := "a change of " + field + " leaves 3 objects in s3://acme "; !holdsAll(f.err, []string{want, "--yes"}) {
				t.Errorf("apply says %q, want %q", f.err, want)
			}
		}
		if got := revision(t, apply(t, exitOK, document()).out); got != before {
			t.Errorf("revision %s after refusals, want %s", got, before)
		}
		// What moves no key is free.
		apply(t, exitOK, document("folder: loads", "folder: /loads"))
		f := apply(t, exitOK, document("loads/", "elsewhere/"), "--yes")
		if !strings.Contains(f.out, "folder: ") {
			t.Errorf("apply --yes says %q", f.out)
		}
	})

	t.Run("somebody else is faster", func(t *testing.T) {
		p := &program{settings: settings{
			natsURL: h.variable("LOADFLEET_NATS_URL"), sealKey: h.variable("LOADFLEET_SEAL_KEY"), replicas: 1, logLevel: "error", output: "human"},
			err: newHeard(), out: newHeard()}
		err := p.atDesk(t.Context(), func(d *desk) error {
			s, revision, err := d.get(t.Context(), "acme")
			if err != nil {
				return err
			}
			apply(t, exitOK, document("canary-of-the-run acme", "Theirs", "loads/", "elsewhere/"))
			s.Title = "Ours"
			_, err = d.put(t.Context(), s, revision, queue.Edit{Action: messages.DestinationApply})
			if want := "destination acme was changed by somebody else meanwhile: look at it and try again"; err == nil || err.Error() != want {
				t.Errorf("put over another revision: %v, want %q", err, want)
			}
			// And the first apply of all, twice at a time.
			s.ID = "fresh"
			apply(t, exitOK, strings.Replace(document(), "id: acme", "id: fresh", 1))
			if _, err = d.put(t.Context(), s, 0, queue.Edit{Action: messages.DestinationApply}); err == nil || !strings.Contains(err.Error(), "somebody else") {
				t.Errorf("put of one that is new to us only: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if f := h.run(t, exitOK, "", "destination", "show", "acme"); !strings.Contains(f.out, "title: Theirs\n") {
			t.Errorf("show says %s", f.out)
		}
	})

	t.Run("approval and pause", func(t *testing.T) {
		shared := func(edits ...string) string {
			return strings.Replace(strings.Replace(document(edits...), "id: acme", "id: shared", 1), "access_keys", "shared_account", 1)
		}
		f := apply(t, exitOK, shared())
		if want := "its loads wait for an operator: loadfleet destination approve shared\n"; !strings.HasSuffix(f.out, want) {
			t.Errorf("apply says %q, want %q", f.out, want)
		}
		steps := []struct {
			name, doc string
			args      []string
			want      string
		}{
			{"before", "", nil, "waits for approval"},
			{"approve", "", []string{"approve"}, "open"},
			{"approve again", "", []string{"approve"}, "open"},
			{"pause", "", []string{"pause"}, "paused"},
			{"pause again", "", []string{"pause"}, "paused"},
			{"an apply keeps the pause", shared("canary-of-the-run acme", "Shared"), nil, "paused"},
			{"resume", "", []string{"resume"}, "open"},
			{"an apply keeps the approval", shared(), nil, "open"},
			{"another bucket is approved anew", shared("bucket: acme", "bucket: other"), nil, "waits for approval"},
		}
		for _, step := range steps {
			if step.doc != "" {
				apply(t, exitOK, step.doc)
			}
			for _, verb := range step.args {
				if f := h.run(t, exitOK, "", "destination", verb, "shared"); f.out != "destination shared: "+step.want+"\n" {
					t.Errorf("%s says %q", step.name, f.out)
				}
			}
			var all []struct{ ID, State string }
			h.read(t, &all, "destination", "list")
			states := map[string]string{}
			for _, d := range all {
				states[d.ID] = d.State
			}
			if diff := cmp.Diff(map[string]string{"acme": "open", "fresh": "open", "shared": step.want}, states); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.name, diff)
			}
		}
		// Saying what is so already makes no revision: seven did.
		if f := h.run(t, exitOK, "", "destination", "show", "shared"); strings.Count(f.out, " applied ") != 7 {
			t.Errorf("show says %s", f.out)
		}
		for _, verb := range []string{"approve", "pause", "resume", "show", "preview", "policy"} {
			f := h.run(t, exitNotFound, "", "destination", verb, "nobody")
			if want := `there is no destination "nobody"; see`; !strings.Contains(f.err, want) {
				t.Errorf("%s of nobody says %q, want %q", verb, f.err, want)
			}
		}
	})

	t.Run("every mistake at once", func(t *testing.T) {
		f := apply(t, exitUsage, document("file_format: json", "file_format: xlsx", "bucket: acme", "bucket: ac_me", "{{workspace_id}}", "{{workspace}}",
			"region: us-east-1", "region: us east", "workspaces:", "work_spaces:", "title:", "encryption: sse-kms-customer\ntitle:"))
		for _, want := range []string{"6 mistakes:", "file_format: ", "bucket: ", "folder: ", "region: ", "work_spaces: is not a field", "did you mean workspaces?", "encryption_key: is missing"} {
			if !strings.Contains(f.err, want) {
				t.Errorf("apply says %s\nwant %q", f.err, want)
			}
		}
		for _, bad := range []string{"", "id: [", "- a\n- b\n", "{", "id: a\n---\nid: b\n"} {
			if f := apply(t, exitUsage, bad); f.out != "" || f.err == "" {
				t.Errorf("apply of %q says %q and %q", bad, f.out, f.err)
			}
		}
		if f := h.run(t, exitUsage, "", "destination", "apply", "-f", "nothing.yaml"); !strings.Contains(f.err, "nothing.yaml") {
			t.Errorf("apply of no file says %q", f.err)
		}
	})
}

// A sealed secret that was altered at rest is said to be, and applied over.
func TestApplyOverATamperedSecret(t *testing.T) {
	t.Parallel()
	h := startHome(t)
	doc := p10Document("acme", h.variable("AWS_ACCESS_KEY_ID"), "env:AWS_SECRET_ACCESS_KEY", h.variable("AWS_ENDPOINT_URL"), "loads")
	h.run(t, exitOK, doc, "destination", "apply", "-f", "-")
	p := &program{settings: settings{natsURL: h.variable("LOADFLEET_NATS_URL"), replicas: 1}}
	q, err := p.settings.connect(t.Context(), "test", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close(t.Context()) }()
	stored, err := q.Destinations().Get(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	moved := strings.Replace(string(stored.Document), `"bucket":"acme"`, `"bucket":"other"`, 1)
	if moved == string(stored.Document) {
		t.Fatalf("no bucket in %s", stored.Document)
	}
	if _, err := q.Destinations().Put(t.Context(), "acme", []byte(moved), stored.Revision); err != nil {
		t.Fatal(err)
	}
	f := h.run(t, exitFailed, doc, "destination", "apply", "-f", "-")
	if want := fmt.Sprint(destination.ErrTampered); !holdsAll(f.err, []string{want, "apply the destination again with --yes"}) {
		t.Errorf("apply says %q", f.err)
	}
	f = h.run(t, exitOK, doc, "destination", "apply", "-f", "-", "--yes")
	if !holdsAll(f.out, []string{"changed", `bucket: "other" -> "acme"`}) {
		t.Errorf("apply --yes says %q", f.out)
	}
	h.run(t, exitOK, "", "destination", "show", "acme")
}
