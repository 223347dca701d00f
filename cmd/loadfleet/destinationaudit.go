package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

func (p *program) destinationAudit() *cobra.Command {
	return &cobra.Command{
		Use:   "audit [ID]",
		Short: "See who changed which destinations in the last 400 days, the latest first",
		Long: `Audit lists who applied, approved, paused, resumed, resealed and deleted
destinations, by command or on the console, and which settings changed; those of a
new one are listed with -o json. A secret that changed is named, never shown.
"refused" says that somebody else was faster, "unknown" that whoever did it was
stopped before he could tell: the history in ` + "`loadfleet destination show`" + ` says
whether it was done.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.onQueue(cmd.Context(), "destination", func(q *queue.Queue) error {
				all := []messages.DestinationAudit{}
				for a, err := range q.Destinations().Audit(cmd.Context(), strings.Join(args, "")) {
					if err != nil {
						return err
					}
					all = append(all, a)
				}
				slices.Reverse(all)
				if p.settings.json() {
					return printJSON(p.out, all)
				}
				var rows [][]string
				for _, a := range all {
					did := string(a.Action)
					var changed []string
					for _, f := range a.Changes {
						changed = append(changed, fmt.Sprintf("%s: %q -> %q", f.Field, f.Old, f.New))
					}
					if a.Created {
						did, changed = "create", []string{many(int64(len(a.Changes)), "setting")}
					}
					rows = append(rows, []string{when(a.Time), printable(a.By), did, a.Destination, cmp.Or(string(a.End), "unknown"), printable(strings.Join(changed, "; ")), a.Operation})
				}
				return table(p.out, []string{"TIME", "BY", "DID", "DESTINATION", "END", "CHANGED", "OPERATION"}, rows)
			})
		},
	}
}
