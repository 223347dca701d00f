package main

import (
	"net/url"
	"strings"
	"testing"
)

// TestStages stages an extraction at each place that --stage-url knows, loads it
// by processes of their own, and finds the rows in the bucket.
func TestStages(t *testing.T) {
	t.Parallel()
	h := startHome(t, "--bucket", "acme,stage", "--servers-only")
	h.applyAcme(t, "acme")
	rows := adDays(4)
	worker := h.terminal.start(t, "worker")
	worker.await(t, "worker ready")
	for name, stage := range map[string]string{
		"s3":     "s3://stage/in/put?region=us-east-1&endpoint=" + url.QueryEscape(h.variable("AWS_ENDPOINT_URL")),
		"nats":   "nats",
		"folder": h.dir + "/shared",
	} {
		t.Run(name, func(t *testing.T) {
			dispatcher := h.terminal.start(t, "dispatcher", "--stage-url", stage)
			dispatcher.await(t, "dispatcher ready")
			publish := func(code int, extraction string, more ...string) finished {
				return h.run(t, code, "", append([]string{"publish", h.write(t, name+".ndjson", rows), "--destination", "acme", "--table", name, "--date-column", "date",
					"--stage", "--stage-url", stage, "--extraction", extraction, "--wait"}, more...)...)
			}
			if f := publish(exitOK, name+"-1"); !strings.Contains(f.out, "8 rows in 4 loads: 4 loaded") {
				t.Errorf("publish says %q", f.out)
			}
			if got, want := h.object(t, "acme/"+name+"/2024-06-03.csv"), "date,ad,spend\n2024-06-03,ad-0,2.25\n2024-06-03,ad-1,2.25\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			h.run(t, exitOK, "", "verify", name+"-1")
			// The same again is the same files, put over themselves.
			if f := publish(exitOK, name+"-2"); !strings.Contains(f.out, "4 unchanged") {
				t.Errorf("publish again says %q", f.out)
			}
			// A bad row names its file and line at the dispatcher, too.
			rows = strings.Replace(rows, "2024-06-02", "junk", 1)
			f := publish(exitBad, name+"-3", "--check=false", "--schema", h.write(t, "schema.json",
				`[{"name":"date","type":"date"},{"name":"ad","type":"string"},{"name":"spend","type":"decimal(12,2)"}]`))
			if !holdsAll(f.out+f.err, []string{"bad-row", "row 3", `"junk"`}) {
				t.Errorf("a bad row: %s%s", f.out, f.err)
			}
			rows = adDays(4)
			dispatcher.stop(t)
		})
	}
}
