// Command raftkv runs nodes of a replicated key/value store.
//
// This package holds the commands, their flags and their texts. serve runs one node, dev
// several in one process; the other commands are clients of a cluster, or read a backup
// or a log. Everything that has an algorithm is below internal: host runs a node,
// inventory judges what a directory holds, logging makes the logger, process divides what
// the process may use, settings reads flags, variables and files, address opens ports,
// ask and status question the nodes, member changes who they are, secure has the certificates, terminal shows and target
// writes files.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/terminal"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

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
