package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// errWaiting says that a manifest's other loads have not all ended.
var errWaiting = errors.New("the extraction's other loads have not all ended")

// listed is an object as a manifest tells of it.
type listed struct {
	Key        string          `json:"key"`
	URL        string          `json:"url"`
	Outcome    messages.Result `json:"outcome"` // unchanged: nothing to read again
	Format     string          `json:"format"`
	Rows       int64           `json:"rows"`
	Bytes      int64           `json:"bytes"`
	SHA256     string          `json:"sha256,omitempty"`
	ETag       string          `json:"etag,omitempty"`
	Generation int64           `json:"generation"`
	Load       string          `json:"load"`
}

// listing is what a manifest of form json holds before and after its objects.
type listing struct {
	Version     int       `json:"version"`
	Workspace   string    `json:"workspace"`
	Destination string    `json:"destination"`
	Extraction  string    `json:"extraction"`
	Table       string    `json:"table"`
	Generation  int64     `json:"generation"`
	Time        time.Time `json:"time"` // of the extraction's loads
	Bucket      string    `json:"bucket"`
	Rows        int64     `json:"rows"`
	Bytes       int64     `json:"bytes"`
}

// writeManifest writes the load's manifest, from what the other loads left. It
// fails with errWaiting while some have not ended, and with a *LoadError for
// good when a marker of success is asked for and there was none. Equal outcomes
// give equal bytes: objects stand in the order of their keys.
func writeManifest(ctx context.Context, q *queue.Queue, l *messages.Load, out io.Writer) error {
	// Mostly some are missing: that takes no walk over the outcomes.
	counts, err := q.Counts(ctx, l.Workspace, l.Extraction)
	if err != nil {
		return fmt.Errorf("outcomes for the manifest: %w", err)
	}
	if n := counts.Total().Loads; n < l.Manifest.Loads {
		return fmt.Errorf("%w: %d of %d", errWaiting, n, l.Manifest.Loads)
	}
	var all []messages.Outcome
	for o, err := range q.Outcomes(ctx, l.Workspace, l.Extraction) {
		if err != nil {
			return fmt.Errorf("outcomes for the manifest: %w", err)
		}
		if !messages.Companion(o.Format) {
			all = append(all, o)
		}
	}
	if int64(len(all)) < l.Manifest.Loads {
		return fmt.Errorf("%w: %d of %d", errWaiting, len(all), l.Manifest.Loads)
	}
	slices.SortFunc(all, func(a, b messages.Outcome) int { return strings.Compare(a.Key, b.Key) })
	w := bufio.NewWriter(out)
	switch l.Manifest.Form {
	case messages.ManifestJSON:
		err = writeListing(w, l, all)
	case messages.ManifestRedshift:
		err = writeRedshift(w, all)
	case messages.ManifestAthena:
		for _, o := range present(all) {
			fmt.Fprintln(w, objectURL(o.Bucket, o.Key))
		}
	case messages.ManifestSuccess:
		err = success(all)
	default:
		err = undecodable("this worker knows no manifest of form %q", l.Manifest.Form)
	}
	return errors.Join(err, w.Flush())
}

// present is the outcomes that left an object with the extraction's rows. A
// superseded one is a newer extraction's to list.
func present(all []messages.Outcome) []messages.Outcome {
	return slices.DeleteFunc(slices.Clone(all), func(o messages.Outcome) bool {
		return o.Result != messages.Loaded && o.Result != messages.Unchanged
	})
}

func writeListing(w *bufio.Writer, l *messages.Load, all []messages.Outcome) error {
	head := listing{
		Version: messages.Version, Workspace: l.Workspace, Destination: l.Destination, Extraction: l.Extraction,
		Table: l.Table, Generation: l.Generation, Time: l.Time, Bucket: l.Bucket,
	}
	for _, o := range present(all) {
		head.Rows, head.Bytes = head.Rows+o.Rows, head.Bytes+o.Bytes
	}
	b, err := json.Marshal(head)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s,\"objects\":[", b[:len(b)-1])
	for i, o := range all {
		b, err := json.Marshal(listed{
			Key: o.Key, URL: objectURL(o.Bucket, o.Key), Outcome: o.Result, Format: o.Format, Rows: o.Rows, Bytes: o.Bytes,
			SHA256: o.SHA256, ETag: strings.Trim(o.ETag, `"`), Generation: o.Generation, Load: o.Load,
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\n%s", comma(i), b)
	}
	_, err = w.WriteString("\n]}\n")
	return err
}

// comma stands before every element of a list but the first.
func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

// writeRedshift writes what COPY ... MANIFEST reads; it wants each file's
// length for columnar formats, and takes it for all.
// https://docs.aws.amazon.com/redshift/latest/dg/loading-data-files-using-manifest.html
func writeRedshift(w *bufio.Writer, all []messages.Outcome) error {
	type entry struct {
		URL       string           `json:"url"`
		Mandatory bool             `json:"mandatory"`
		Meta      map[string]int64 `json:"meta"`
	}
	fmt.Fprint(w, `{"entries":[`)
	for i, o := range present(all) {
		b, err := json.Marshal(entry{URL: objectURL(o.Bucket, o.Key), Mandatory: true, Meta: map[string]int64{"content_length": o.Bytes}})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\n%s", comma(i), b)
	}
	_, err := w.WriteString("\n]}\n")
	return err
}

// success refuses to mark an extraction of which something is missing. When
// that has been replayed, so can the marker be.
func success(all []messages.Outcome) error {
	var dead int
	for _, o := range all {
		if o.Result == messages.DeadLettered {
			dead++
		}
	}
	if dead == 0 {
		return nil
	}
	return &LoadError{
		Reason: messages.ReasonIncomplete, Remedy: "replay the extraction's other dead letters first, then this one",
		Err: fmt.Errorf("no _SUCCESS: %d of %d loads were dead-lettered", dead, len(all)),
	}
}

// objectURL is an object as tools name it. Keys stand in it as they are: these
// tools do not decode them.
func objectURL(bucket, key string) string { return "s3://" + bucket + "/" + key }
