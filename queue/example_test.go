package queue_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

func TestMain(m *testing.M) {
	code := m.Run()
	stopExampleFleet()
	os.Exit(code)
}

// An extractor in Go: rows are structs, and the schema is theirs.
func Example() {
	type Spend struct {
		Day     queue.Date `json:"day"`
		Account string     `json:"account"`
		Spend   string     `json:"spend" loadfleet:"decimal(18,6)"`
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q, err := queue.Connect(ctx, queue.Config{URL: fleetURL()}, zap.NewNop())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close(ctx)
	schema, err := queue.SchemaOf(Spend{})
	if err != nil {
		fmt.Println(err)
		return
	}
	extraction, err := q.OpenExtraction(ctx, messages.Commit{
		WorkspaceID: "default", Extraction: "spend-2024-06-18", Destination: "acme",
		Filename: "spend", Schema: schema, DateColumn: "day",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	day := time.Date(2024, 6, 18, 0, 0, 0, 0, time.UTC)
	for n := range 3 {
		row := Spend{Day: queue.Date(day.AddDate(0, 0, n)), Account: "acme/eu", Spend: "12.5"}
		if err := extraction.Add(ctx, row); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := extraction.Commit(ctx); err != nil {
		fmt.Println(err)
		return
	}
	end, err := extraction.Wait(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(end.State, end.Plan.Rows, "rows:", end.Results[messages.Loaded], "files loaded")
	// Output: completed 3 rows: 3 files loaded
}

// Rows that are text already: NDJSON or CSV from any reader. Bad input comes
// back with the place and the remedy.
func ExamplePublisher_AddCSV() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q, err := queue.Connect(ctx, queue.Config{URL: fleetURL()}, zap.NewNop())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close(ctx)
	for n, text := range []string{"day,clicks\n2024-06-18,3\n2024-06-19,5\n", "day,clicks\n2024-06-18,3\n18 June,5\n"} {
		extraction, err := q.OpenExtraction(ctx, messages.Commit{
			WorkspaceID: "default", Extraction: fmt.Sprintf("clicks-%d", n+1), Destination: "acme",
			Filename: "clicks", DateColumn: "day",
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := extraction.AddCSV(ctx, strings.NewReader(text)); err != nil {
			fmt.Println(err)
			return
		}
		if err := extraction.Commit(ctx); err != nil {
			fmt.Println(err)
			return
		}
		end, err := extraction.Wait(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(end.State)
		if f := end.Failure; f != nil {
			fmt.Println(f.Message)
			fmt.Println(f.Remedy)
		}
	}
	// Output:
	// completed
	// failed
	// batch 1, row 2, column "day" (value "18 June"): is not a date: write YYYY-MM-DD
	// correct the value or the schema, and publish the extraction again under a new id
}

// An extractor that died begins again: the same id, the same rows. What stands
// on the queue is not stored again.
func ExamplePublisher_Stood() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q, err := queue.Connect(ctx, queue.Config{URL: fleetURL()}, zap.NewNop())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close(ctx)
	for try := range 2 {
		extraction, err := q.OpenExtraction(ctx, messages.Commit{
			WorkspaceID: "default", Extraction: "again-1", Destination: "acme", Filename: "again", DateColumn: "day",
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, day := range []string{"2024-06-18", "2024-06-19"} {
			if err := extraction.AddNDJSON(ctx, strings.NewReader(`{"day":"`+day+`"}`)); err != nil {
				fmt.Println(err)
				return
			}
		}
		if err := extraction.Commit(ctx); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("try", try+1, "committed before:", extraction.Committed())
		if _, err := extraction.Wait(ctx); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// try 1 committed before: false
	// try 2 committed before: true
}
