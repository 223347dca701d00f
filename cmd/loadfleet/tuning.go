package main

import (
	"github.com/spf13/pflag"

	"github.com/loadfleet/loadfleet/dispatcher"
	"github.com/loadfleet/loadfleet/worker"
)

// bindDispatcherTuning is bindTuning for a dispatcher.
func bindDispatcherTuning(f *pflag.FlagSet, c *dispatcher.Config) {
	f.DurationVar(&c.HoldDelay, "hold-delay", 0, "between looks at a commit that is held; default 30s")
	f.DurationVar(&c.RetryDelay, "dispatch-retry-delay", 0, "before an extraction's second try, doubling with each; default 1s")
	hide(f, "hold-delay", "dispatch-retry-delay")
}

// bindTuning binds what a fleet under test turns down so that hours of patience
// pass in seconds. Operators need none of it: the flags are not in the help.
func bindTuning(f *pflag.FlagSet, c *worker.Config) {
	f.DurationVar(&c.RetryDelay, "retry-delay", 0, "before a load's second try, doubling with each; default 1s")
	f.DurationVar(&c.ParkDelay, "park-delay", 0, "between looks at a destination that refuses or is paused; default 1m")
	f.DurationVar(&c.Storage.ReplyTimeout, "reply-timeout", 0, "from a request's last byte to its reply's first; default 1m")
	f.Int64Var(&c.Storage.MultipartThreshold, "multipart-threshold", 0, "bytes from which objects go in parts; default 16 MiB")
	hide(f, "retry-delay", "park-delay", "reply-timeout", "multipart-threshold")
}

func hide(f *pflag.FlagSet, names ...string) {
	for _, name := range names {
		if err := f.MarkHidden(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
}
