package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/target"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver"
	"raftkv/raft/snapshot"
)

func newSnapshotCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "snapshot",
		Short: "Back up a cluster, inspect a backup, begin a new cluster with it",
		Example: `  raftkv snapshot save monday.snapshot
  raftkv snapshot inspect monday.snapshot
  raftkv snapshot restore monday.snapshot --data-dir ./n1 --id n1 \
    --cluster n1=127.0.0.1:9701,n2=127.0.0.1:9702,n3=127.0.0.1:9703 \
    --cluster-id restored`,
		Args: noArguments,
		RunE: showHelp,
	}
	command.AddCommand(newSnapshotSaveCommand(), newSnapshotInspectCommand(), newSnapshotRestoreCommand())
	return command
}

func newSnapshotInspectCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Say what a backup holds, after checking all of it",
		Long: `Read a backup whole, check its checksums and that its content has the digest
that the cluster had, and say what it holds. It takes as much memory as a node
with that content. FILE must be a file, not a pipe.

Exit code 1 says that the file is damaged, was cut short, or is none.`,
		Example: `  raftkv snapshot inspect monday.snapshot
  raftkv snapshot inspect --json monday.snapshot | jq .keys`,
		Args: arguments("FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			backup, err := readBackup(args[0], "checking", command.ErrOrStderr())
			if err != nil {
				return err
			}
			return printBackup(command.OutOrStdout(), backup.Backup, asJSON)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

// readBackup reads and checks a whole backup file.
func readBackup(path, what string, stderr io.Writer) (*kvserver.BackupState, error) {
	file, size, err := openBackup(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	bar := terminal.StartProgress(stderr, what, size)
	defer bar.Finish()
	backup, err := kvserver.ReadBackupState(&terminal.WatchedReader{From: file, Bar: bar})
	if err != nil {
		return nil, badBackup(path, err)
	}
	return backup, nil
}

// openBackup opens a backup file and returns its length. It looks before it
// opens: a pipe that nobody writes to would hold it for ever.
func openBackup(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, exit.Fail(fmt.Errorf("there is no backup %s", path))
	case err != nil:
		return nil, 0, exit.Fail(fmt.Errorf("the backup %s cannot be read: %w", path, exit.LastCause(err)))
	case !info.Mode().IsRegular():
		return nil, 0, exit.Fail(fmt.Errorf("%s is %s; a backup is read more than once and must be a file: save it to one first", path, target.KindOf(info.Mode())))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, exit.Fail(fmt.Errorf("cannot open the backup %s: %w", path, exit.LastCause(err)))
	}
	return file, info.Size(), nil
}

// badBackup says what is wrong with a file and what follows from it.
func badBackup(path string, err error) error {
	var damage *snapshot.CorruptionError
	var newer *snapshot.VersionError
	switch {
	case errors.As(err, &damage) && damage.EndsEarly:
		return exit.Fail(fmt.Errorf("%s is not whole: %w; take the backup again, or use another one", path, err))
	case errors.As(err, &newer):
		return exit.Fail(fmt.Errorf("%s: %w", path, err))
	}
	return exit.Fail(fmt.Errorf("%s is damaged, or no backup: %w; use another one", path, err))
}

// printBackup prints what a backup holds.
func printBackup(out io.Writer, b kvserver.Backup, asJSON bool) error {
	if asJSON {
		return terminal.PrintJSON(out, b)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range []struct {
		name  string
		value any
	}{
		{"cluster", b.Cluster}, {"uid", b.UID}, {"index", b.Index}, {"term", b.Term}, {"keys", b.Keys}, {"bytes", b.Bytes}, {"revision", b.Revision},
		{"sessions", b.Sessions}, {"idempotency records", b.IdempotencyRecords}, {"digest", b.Digest}, {"hash", b.Hash},
	} {
		fmt.Fprintf(w, "%s\t%v\n", line.name, line.value)
	}
	return w.Flush()
}
