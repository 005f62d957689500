package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/terminal"
)

func newVersionCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:     "version",
		Short:   "Print which build this is",
		Example: "  raftkv version\n  raftkv version --json | jq -r .version",
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if asJSON {
				return terminal.PrintJSON(command.OutOrStdout(), struct {
					Version string `json:"version"`
					Go      string `json:"go"`
					OS      string `json:"os"`
					Arch    string `json:"arch"`
				}{buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH})
			}
			_, err := fmt.Fprintf(command.OutOrStdout(), "raftkv %s\n", command.Root().Version)
			return err
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

// buildVersion names the build by what the Go toolchain wrote into it.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version, revision, modified := info.Main.Version, "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = "-" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+changes"
		}
	}
	if version != "" && version != "(devel)" {
		return version // it already holds the revision
	}
	return "devel" + revision + modified
}
