package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/worker"
)

// orphaning is the flags of destination orphans.
type orphaning struct {
	workspace, table, bucket string
	all, remove, yes         bool
	by                       string
	storage                  storage.Config
}

func (p *program) destinationOrphans() *cobra.Command {
	var o orphaning
	c := &cobra.Command{
		Use:   "orphans ID",
		Short: "Find, and remove on request, objects that a change of the destination left behind",
		Long: `Orphans are objects that loadfleet wrote and that no load would write again, since
templates, format, partitions or bucket of the destination were changed: readers
that read the whole prefix would count their rows twice. They are found on record;
no bucket is searched, and an object that nobody of the fleet wrote is never one.

An orphan is "replaced" when newer objects, named as the destination names them
now, hold all of its days and its account. With --remove --yes those are deleted,
each only if it is still the object that the record tells of. Those that nothing
replaces are the only copy of their rows: they are kept unless --all is given, too.
Without --remove nothing is changed.`,
		Example: `  loadfleet destination orphans acme
  loadfleet destination orphans acme --table ads --remove --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.yes && !o.remove {
				return usage(errors.New("--yes says that orphans are really to be removed: give --remove too"))
			}
			return p.atDesk(cmd.Context(), func(d *desk) error {
				s, _, err := d.get(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				found, err := worker.Orphans(cmd.Context(), d.queue, s)
				if err != nil {
					return err
				}
				found = o.choose(found)
				if !o.remove || !o.yes {
					return p.listOrphans(s, found, &o)
				}
				return p.removeOrphans(cmd.Context(), d, s, found, &o)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&o.workspace, "workspace", "", "only of this workspace")
	f.StringVar(&o.table, "table", "", "only of this table")
	f.StringVar(&o.bucket, "bucket", "", "only of this bucket, when the destination had several")
	f.BoolVar(&o.all, "all", false, "with --remove: also those that nothing replaces")
	f.BoolVar(&o.remove, "remove", false, "remove those that are replaced; without --yes only list them")
	f.BoolVar(&o.yes, "yes", false, "really remove them")
	f.StringVar(&o.by, "by", "", "who does it, for the record; default: this user and host")
	bindStorage(f, &o.storage)
	return c
}

// choose keeps the orphans that are asked for.
func (o *orphaning) choose(found []worker.Orphan) []worker.Orphan {
	same := func(want, got string) bool { return want == "" || want == got }
	chosen := []worker.Orphan{}
	for _, one := range found {
		if same(o.workspace, one.Workspace) && same(o.table, one.Table) && same(o.bucket, one.Bucket) && (!o.remove || o.all || one.Replaced) {
			chosen = append(chosen, one)
		}
	}
	return chosen
}

func (p *program) listOrphans(s *destination.Settings, found []worker.Orphan, o *orphaning) error {
	if p.settings.json() {
		return printJSON(p.out, found)
	}
	if len(found) == 0 {
		fmt.Fprintf(p.out, "destination %s has no orphans of that kind on record\n", s.ID)
		return nil
	}
	var rows [][]string
	var bytes int64
	replaced := 0
	for _, one := range found {
		yes := "no"
		if one.Replaced {
			yes, replaced = "yes", replaced+1
		}
		bytes += one.Bytes
		rows = append(rows, []string{"s3://" + one.Bucket + "/" + one.Key, size(one.Bytes), when(one.Time), yes, one.Why})
	}
	if err := table(p.out, []string{"OBJECT", "SIZE", "WRITTEN", "REPLACED", "WHY"}, rows); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "\n%s, %s; newer objects hold all of %d of them\n", many(int64(len(found)), "orphan"), size(bytes), replaced)
	if o.remove {
		fmt.Fprintln(p.out, "Nothing is removed yet: repeat with --yes.")
	} else if replaced > 0 {
		fmt.Fprintf(p.out, "Remove those:  loadfleet destination orphans %s --remove --yes\n", s.ID)
	}
	return nil
}

// removeOrphans removes one after another, and ends with the first error.
func (p *program) removeOrphans(ctx context.Context, d *desk, s *destination.Settings, found []worker.Orphan, o *orphaning) error {
	store, err := storage.OpenDestination(ctx, s, o.storage)
	if err != nil {
		return err
	}
	defer store.Close()
	by := cmp.Or(o.by, whoami())
	became := map[worker.Removal]int64{}
	kept := []worker.Orphan{}
	for i := range found {
		what, err := worker.RemoveOrphan(ctx, d.queue, store, &found[i], by)
		if err != nil {
			return fmt.Errorf("after %s removed: %s/%s: %w", many(became[worker.Removed], "orphan"), found[i].Bucket, found[i].Key, err)
		}
		became[what]++
		if what == worker.NotOurs || what == worker.Rewritten {
			kept = append(kept, found[i])
		}
	}
	if p.settings.json() {
		return printJSON(p.out, map[string]any{"removed": became[worker.Removed], "gone": became[worker.WasGone], "kept": kept, "by": by})
	}
	fmt.Fprintf(p.out, "%s removed", many(became[worker.Removed], "orphan"))
	if n := became[worker.WasGone]; n > 0 {
		fmt.Fprintf(p.out, ", %s gone already", count(n))
	}
	fmt.Fprintln(p.out)
	for _, one := range kept {
		fmt.Fprintf(p.out, "kept s3://%s/%s: somebody else has written it since\n", one.Bucket, printable(one.Key))
	}
	return nil
}
