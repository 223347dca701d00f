package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/messages"
)

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of the program and of the queue contract",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version  string `json:"version"`
				Go       string `json:"go"`
				Contract int    `json:"contract"`
			}{Version: programVersion(), Go: runtime.Version(), Contract: messages.Version}
			if p.settings.json() {
				return printJSON(p.out, v)
			}
			fmt.Fprintf(p.out, "loadfleet %s (%s, queue contract %d)\n", v.Version, v.Go, v.Contract)
			return nil
		},
	}
}

// programVersion is the version that the program was built as.
func programVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		return b.Main.Version
	}
	return "development"
}
