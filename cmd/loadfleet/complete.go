package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// How long a shell waits for names, and how many it is offered at most.
const (
	completeTime = 3 * time.Second // presence needs two of them
	completeMany = 200
)

// completing gives what can stand in a place of the command line, each a word,
// or a word, a tab and what it is.
type completing func(ctx context.Context, q *queue.Queue) ([]string, error)

// complete teaches a command and those below it what to offer to a shell: the
// words that a flag takes, and the names of what is on the queue.
func (p *program) complete(c *cobra.Command) {
	words := map[string][]string{
		"output": {"human", "json"}, "log-level": {"debug", "info", "warn", "error"},
		"reason": texts(messages.Reasons()), "result": texts(messages.Results()), "replicas": {"1", "3", "5"},
	}
	switch c.Name() {
	case "bench":
		words["format"] = texts(encoding.Formats())
		words["endpoint"] = []string{endpointQuiet, endpointStore}
		words["sync"] = []string{syncAlways, syncDefault}
	case "publish":
		words["format"] = []string{"ndjson", "csv", "arrow", "parquet"}
		words["lane"] = texts([]messages.Lane{messages.Fresh, messages.Backfill})
	case "policy":
		words["format"] = []string{"text", "terraform", "cloudformation"}
	case "audit":
		words["verb"] = texts([]messages.Verb{messages.VerbReplay, messages.VerbDiscard})
	}
	if parent := c.Parent(); parent != nil && parent.Name() == "deadletter" {
		words["stage"] = texts([]messages.Stage{messages.StageDispatch, messages.StageLoad})
	}
	names := map[string]completing{"destination": destinationNames, "extraction": extractionNames, "workspace": workspaceNames}
	for flag, of := range words {
		p.completeFlag(c, flag, cobra.FixedCompletions(of, cobra.ShellCompDirectiveNoFileComp))
	}
	for flag, of := range names {
		p.completeFlag(c, flag, p.fromQueue(of, 0))
	}
	parent := ""
	if c.HasParent() {
		parent = c.Parent().Name()
	}
	switch _, argument, _ := strings.Cut(c.Use, " "); {
	case argument == "":
		if c.RunE != nil && c.Args != nil { // it takes none
			c.ValidArgsFunction = cobra.NoFileCompletions
		}
	case parent == "destination" && strings.Contains(argument, "ID"):
		c.ValidArgsFunction = p.fromQueue(destinationNames, 1)
	case parent == "extraction", c.Name() == "verify":
		c.ValidArgsFunction = p.fromQueue(extractionNames, 1)
	case parent == "fleet":
		c.ValidArgsFunction = p.fromQueue(workerNames, 1)
	case parent == "deadletter" && strings.Contains(argument, "..."):
		c.ValidArgsFunction = p.fromQueue(deadLetterNumbers, 0)
	case parent == "deadletter":
		c.ValidArgsFunction = p.fromQueue(deadLetterNumbers, 1)
	}
	for _, sub := range c.Commands() {
		p.complete(sub)
	}
}

// completeFlag offers words for a flag, where the command has it itself.
func (p *program) completeFlag(c *cobra.Command, flag string, offer cobra.CompletionFunc) {
	if c.LocalNonPersistentFlags().Lookup(flag) == nil && (c.HasParent() || c.PersistentFlags().Lookup(flag) == nil) {
		return
	}
	if err := c.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic(err) // the flag is there, and nobody else has registered
	}
}

// fromQueue asks the queue for names, of which a command takes so many, 0 for
// any number. A queue that does not answer in time has none: a shell is no
// place for errors.
func (p *program) fromQueue(ask completing, takes int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if takes > 0 && len(args) >= takes {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
		defer cancel()
		var found []string
		err := p.settings.resolve(cmd.Flags(), os.LookupEnv) // cobra does not run what comes before a command
		if err == nil {
			quiet := &program{err: io.Discard, settings: p.settings}
			err = quiet.onQueue(ctx, "complete", func(q *queue.Queue) (err error) {
				found, err = ask(ctx, q)
				return err
			})
		}
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var fits []cobra.Completion
		for _, one := range found {
			if strings.HasPrefix(one, typed) && len(fits) < completeMany {
				fits = append(fits, one)
			}
		}
		return fits, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

func destinationNames(ctx context.Context, q *queue.Queue) (names []string, err error) {
	all, err := q.Destinations().List(ctx)
	for _, d := range all {
		names = append(names, d.ID)
	}
	return names, err
}

func extractionNames(ctx context.Context, q *queue.Queue) (names []string, err error) {
	all, err := q.Extractions(ctx, "")
	for _, e := range all {
		names = append(names, offered(e.Extraction, string(e.State)+", "+e.Destination))
	}
	return names, err
}

func workspaceNames(ctx context.Context, q *queue.Queue) (names []string, err error) {
	all, err := q.Extractions(ctx, "")
	for _, e := range all {
		names = append(names, offered(e.Workspace, ""))
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

func workerNames(ctx context.Context, q *queue.Queue) (names []string, err error) {
	all, err := present(ctx, q)
	for _, w := range all {
		if w.Role == messages.RoleWorker {
			names = append(names, offered(w.Name, string(w.State)))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

func deadLetterNumbers(ctx context.Context, q *queue.Queue) (numbers []string, err error) {
	page, err := q.DeadLetterPage(ctx, queue.DeadLetterFilter{}, 0, completeMany)
	if err != nil {
		return nil, err
	}
	for _, d := range page.Letters {
		numbers = append(numbers, offered(fmt.Sprint(d.Sequence), string(d.Failure.Reason)+", "+d.Destination))
	}
	return numbers, nil
}

// offered is a name with what it is. Control characters, which a shell would
// take for the end of it, are not in either.
func offered(name, what string) string {
	if what == "" {
		return printable(name)
	}
	return printable(name) + "\t" + printable(what)
}

func texts[T ~string](of []T) (all []string) {
	for _, one := range of {
		all = append(all, string(one))
	}
	return all
}
