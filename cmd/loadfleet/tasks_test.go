package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// task is a line of docs/tasks.md.
type task struct {
	name    string
	command []string
	clicks  []string
}

// answer is what must be told of a task.
type answer struct {
	code       int // of the command
	says, page string
}

// answers, in the order of docs/tasks.md.
var answers = []answer{
	{exitOK, "dispatcher", "Processes"},
	{exitOK, "nothing is late", "No extraction is known that fits"},
	{exitOK, "credentials refused", "credentials are refused"},
	{exitBad, "credentials", "failed"},
	{exitOK, "s3:PutObject", "s3:PutObject"},
	{exitOK, "paused", "paused"},
	{exitOK, "refused", "refused: open"},
	{exitOK, "3 dead letters replayed", "3 of 3 replayed"},
	{exitOK, "80 loads", "completed"},
	{exitOK, "paused", "paused"},
}

// tasks reads the table.
func tasks(t *testing.T) (all []task) {
	t.Helper()
	text, err := os.ReadFile("../../docs/tasks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (.+) \\| `loadfleet (.+)` \\| (.+) \\|$").FindAllStringSubmatch(string(text), -1) {
		all = append(all, task{row[1], strings.Fields(row[2]), strings.Split(row[3], " → ")})
	}
	if len(all) != 10 || len(all) != len(answers) {
		t.Fatalf("docs/tasks.md has %d tasks, and there are %d answers; want 10", len(all), len(answers))
	}
	return all
}

// worker is the name of the one there is.
func (h *home) worker(t *testing.T) string {
	t.Helper()
	var fleet roll
	h.read(t, &fleet, "fleet", "list")
	for _, p := range fleet.Processes {
		if p.Role == "worker" {
			return p.Name
		}
	}
	t.Fatal("no worker is heard")
	return ""
}

func TestTasksByCommand(t *testing.T) {
	t.Parallel()
	h, _ := consoleStage(t)
	for i, task := range tasks(t) {
		args := task.command
		if last := len(args) - 1; args[last] == "NAME" {
			args[last] = h.worker(t)
		}
		if f := h.run(t, answers[i].code, "", args...); !strings.Contains(f.out+f.err, answers[i].says) {
			t.Errorf("%s: %q is missing from the answer:\n%s%s", task.name, answers[i].says, f.out, f.err)
		}
	}
}

// stepTime is how long a click may take until its page is there, on a machine that
// does other things, too.
const stepTime = 15 * time.Second

// TestTasksByClicks does every task with the mouse, from the first page, and logs
// how long each step took.
func TestTasksByClicks(t *testing.T) {
	t.Parallel()
	needForeignReaders(t)
	_, login := consoleStage(t)
	ctx := browser(t)
	if err := chromedp.Run(ctx, chromedp.Navigate(login), chromedp.WaitVisible("nav")); err != nil {
		t.Fatal(err)
	}
	first := login[:strings.Index(login, "/login")] + "/"
	for i, task := range tasks(t) {
		if len(task.clicks) > 3 {
			t.Errorf("%s takes %d clicks", task.name, len(task.clicks))
		}
		if err := chromedp.Run(ctx, chromedp.Navigate(first)); err != nil {
			t.Fatal(err)
		}
		for _, text := range task.clicks {
			began := time.Now()
			step, cancel := context.WithTimeout(ctx, stepTime)
			_, err := chromedp.RunResponse(step, chromedp.Click(fmt.Sprintf(`(//*[self::a or self::button][contains(concat(normalize-space(.), " ", @aria-label), %q)])[1]`, text)))
			cancel()
			if err != nil {
				t.Fatalf("%s: click %q: %v", task.name, text, err)
			}
			t.Logf("%s: %s, %d ms", task.name, text, time.Since(began).Milliseconds())
		}
		step, cancel := context.WithTimeout(ctx, stepTime)
		err := chromedp.Run(step, chromedp.WaitVisible(fmt.Sprintf(`//main//*[not(self::option) and contains(., %q)]`, answers[i].page)))
		cancel()
		if err != nil {
			var text string
			_ = chromedp.Run(ctx, chromedp.Text("main", &text))
			t.Errorf("%s: %q is missing from the page:\n%s", task.name, answers[i].page, text)
		}
	}
}
