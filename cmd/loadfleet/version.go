package main

import (
	"fmt"
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
			}{Version: "development", Contract: messages.Version}
			if b, ok := debug.ReadBuildInfo(); ok {
				v.Go = b.GoVersion
				if b.Main.Version != "" && b.Main.Version != "(devel)" {
					v.Version = b.Main.Version
				}
			}
			if p.settings.json() {
				return printJSON(p.out, v)
			}
			fmt.Fprintf(p.out, "loadfleet %s (%s, queue contract %d)\n", v.Version, v.Go, v.Contract)
			return nil
		},
	}
}
