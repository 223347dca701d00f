package worker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/messages"
)

// listing publishes the manifest loads of an extraction with so many others.
func (r *rig) listing(extraction string, others int64, forms ...messages.ManifestForm) map[messages.ManifestForm]*messages.Load {
	r.t.Helper()
	all := map[messages.ManifestForm]*messages.Load{}
	for _, form := range forms {
		l, _ := r.load(spec{extraction: extraction, change: func(l *messages.Load) {
			l.Key, l.Table = "_manifests/"+extraction+"/"+string(form), "orders"
			l.ID = messages.LoadID(l.Workspace, l.Extraction, l.Bucket, l.Key)
			l.Rows, l.Inline, l.Part = 0, nil, messages.Partition{}
			l.Manifest = &messages.Manifest{Form: form, Loads: others}
		}})
		r.send(l, nil, extraction+"-"+string(form))
		all[form] = l
	}
	return all
}

func (r *rig) text(key string) string {
	r.t.Helper()
	body, _, err := r.direct.Get(r.t.Context(), r.bucket, key)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	b, err := io.ReadAll(body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// ended is the outcomes of an extraction so far, by load.
func (r *rig) ended(extraction string) map[string]messages.Outcome {
	r.t.Helper()
	all := map[string]messages.Outcome{}
	for o, err := range r.Outcomes(r.t.Context(), workspace, extraction) {
		if err != nil {
			r.t.Fatal(err)
		}
		all[o.Load] = o
	}
	return all
}

// TestManifest: every form lists what the extraction's other loads left, and is
// written when the last of them has ended.
func TestManifest(t *testing.T) {
	r := newRig(t)
	r.start()
	manifests := r.listing("e", 2, messages.ManifestForms()...)
	first := r.publish(spec{extraction: "e"})
	r.outcome(first)
	second, payload := r.load(spec{extraction: "e", change: func(l *messages.Load) {
		l.Key = "orders/20240618 ü.csv"
		l.ID = messages.LoadID(l.Workspace, l.Extraction, l.Bucket, l.Key)
	}})
	if early := r.ended("e"); len(early) != 1 {
		t.Fatalf("a manifest was written before the last load: %+v", early)
	}
	r.send(second, payload, "second")
	outcomes := []messages.Outcome{r.outcome(second), r.outcome(first)} // by key: the space comes before the dot
	for _, l := range manifests {
		if o := r.outcome(l); o.Result != messages.Loaded || o.Format != messages.FormatManifest {
			t.Errorf("%s: %+v", l.Key, o)
		}
	}
	var got struct {
		Extraction, Table string
		Rows              int64
		Objects           []struct {
			Key, URL, Outcome, SHA256, ETag string
			Rows, Bytes, Generation         int64
		}
	}
	if err := json.Unmarshal([]byte(r.text(manifests[messages.ManifestJSON].Key)), &got); err != nil {
		t.Fatal(err)
	}
	if got.Extraction != "e" || got.Table != "orders" || got.Rows != 40 || len(got.Objects) != 2 {
		t.Fatalf("manifest: %+v", got)
	}
	var urls []string
	for i, o := range got.Objects {
		want := outcomes[i]
		if o.Key != want.Key || o.Rows != want.Rows || o.Bytes != want.Bytes || o.SHA256 != want.SHA256 || `"`+o.ETag+`"` != want.ETag || o.Outcome != "loaded" || o.Generation != 1 {
			t.Errorf("object %d: %+v, want that of %+v", i, o, want)
		}
		if o.URL != "s3://"+r.bucket+"/"+o.Key {
			t.Errorf("URL of %s is %s", o.Key, o.URL)
		}
		urls = append(urls, o.URL)
	}
	var redshift struct {
		Entries []struct {
			URL       string
			Mandatory bool
			Meta      struct {
				ContentLength int64 `json:"content_length"`
			}
		}
	}
	if err := json.Unmarshal([]byte(r.text(manifests[messages.ManifestRedshift].Key)), &redshift); err != nil {
		t.Fatal(err)
	}
	for i, e := range redshift.Entries {
		if e.URL != urls[i] || !e.Mandatory || e.Meta.ContentLength != outcomes[i].Bytes {
			t.Errorf("entry %d for Redshift: %+v", i, e)
		}
	}
	if d := cmp.Diff(strings.Join(urls, "\n")+"\n", r.text(manifests[messages.ManifestAthena].Key)); d != "" || len(redshift.Entries) != 2 {
		t.Errorf("for Athena (-want +got):\n%s", d)
	}
	if text := r.text(manifests[messages.ManifestSuccess].Key); text != "" {
		t.Errorf("_SUCCESS holds %q", text)
	}
}

// TestNoSuccessWithDeadLetters: the marker waits for the replay of what failed.
func TestNoSuccessWithDeadLetters(t *testing.T) {
	r := newRig(t)
	r.start()
	bad := r.publish(spec{extraction: "e", payload: func(b []byte) []byte { return b[:len(b)-1] }})
	if o := r.outcome(bad); o.Result != messages.DeadLettered {
		t.Fatalf("%+v", o)
	}
	m := r.listing("e", 1, messages.ManifestSuccess, messages.ManifestAthena)
	o := r.outcome(m[messages.ManifestSuccess])
	if o.Result != messages.DeadLettered || o.Failure.Reason != messages.ReasonIncomplete || !strings.Contains(fmt.Sprint(o.Failure), "1 of 1 loads were dead-lettered") {
		t.Errorf("%+v %+v", o, o.Failure)
	}
	if o := r.outcome(m[messages.ManifestAthena]); o.Result != messages.Loaded || r.text(m[messages.ManifestAthena].Key) != "" {
		t.Errorf("the list of no objects: %+v", o)
	}
}
