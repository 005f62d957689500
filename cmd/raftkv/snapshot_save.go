package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/kvserver/api"
	"raftkv/raft/snapshot"
)

func newSnapshotSaveCommand() *cobra.Command {
	s := clerkSettings{}
	force := false
	command := &cobra.Command{
		Use:   "save FILE",
		Short: "Back up a running cluster into a file",
		Long: `Write the whole store, as it is at one moment after the command began, into a
file. Clients are served meanwhile. The endpoints are asked in turn until one
sends it; a follower will do.

The file is made under another name and gets its own when it is whole, checked
and on the disk. What else is in the way is not touched without --force.`,
		Example: `  raftkv snapshot save monday.snapshot
  raftkv snapshot save --endpoints 10.0.0.1:8701,10.0.0.2:8701 --force /backup/raftkv`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			return s.saveSnapshot(args[0], force, command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	s.addTo(command)
	command.Flags().Lookup("timeout").Usage = "how long to wait for a node to begin, and then for more to come"
	command.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	return command
}

// saved is what save tells with --json.
type saved struct {
	File    string `json:"file"`
	Cluster string `json:"cluster"`
	Index   uint64 `json:"index"`
	Term    uint64 `json:"term"`
	Bytes   int64  `json:"bytes"`
	Node    string `json:"node"` // that sent it
}

func (s *clerkSettings) saveSnapshot(path string, force bool, stdout, stderr io.Writer) error {
	if err := s.checkTimeout(); err != nil {
		return err
	}
	if _, err := os.Lstat(path); !force && !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return &failure{err}
		}
		return fmt.Errorf("%s is there already: choose another name, or say --force to replace it", path)
	}
	ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer endOfSignals()
	var reasons []string
	for _, endpoint := range s.list() {
		done, err := s.saveFrom(ctx, endpoint, path, stderr)
		switch {
		case err == nil && s.json:
			return printJSON(stdout, done)
		case err == nil:
			_, err = fmt.Fprintf(stdout, "%s: cluster %s, index %d, term %d, %s from node %s\n",
				done.File, done.Cluster, done.Index, done.Term, sizeOf(done.Bytes), done.Node)
			return err
		case ctx.Err() != nil:
			return &failure{errors.New("ended before the backup was whole; nothing is left of it")}
		}
		if disk := (*failure)(nil); errors.As(err, &disk) {
			return err // another node would not help
		}
		reasons = append(reasons, endpoint+": "+err.Error())
	}
	return &ending{exitUnavailable, fmt.Errorf("no node sent a backup: %s", strings.Join(reasons, "; "))}
}

// saveFrom makes the file of what one node sends. Its error is a *failure if
// this machine is at fault.
func (s *clerkSettings) saveFrom(ctx context.Context, endpoint, path string, stderr io.Writer) (saved, error) {
	from, err := s.askForBackup(ctx, endpoint)
	if err != nil {
		return saved{}, err
	}
	defer from.Close()
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+tmpSuffix)
	if err != nil {
		return saved{}, &failure{fmt.Errorf("making a file beside %s: %w", path, err)}
	}
	done := saved{File: path, Node: from.node}
	var header snapshot.Header
	if header, done.Bytes, err = copyBackup(file, from, stderr); err == nil {
		err = finishFile(file, path)
	}
	if err != nil {
		file.Close() // again, perhaps
		os.Remove(file.Name())
		return saved{}, err
	}
	done.Cluster, done.Index, done.Term = header.ClusterID, header.Index, header.Term
	return done, nil
}

// copyBackup writes what comes to the file and checks it on the way.
func copyBackup(file *os.File, from *incoming, stderr io.Writer) (snapshot.Header, int64, error) {
	bar := startProgress(stderr, "saving", max(from.expected, 1))
	defer bar.finish()
	to := &diskWriter{file: file}
	watched := &watchedReader{from: io.TeeReader(from, to), bar: bar}
	header, err := snapshot.Verify(watched)
	switch {
	case to.err != nil:
		return header, 0, &failure{fmt.Errorf("writing %s: %w", file.Name(), to.err)}
	case from.err != nil:
		return header, 0, fmt.Errorf("the backup broke off after %s: %w", sizeOf(watched.done), lastCause(from.err))
	}
	return header, watched.done, err
}

// finishFile makes a file durable under its name.
func finishFile(file *os.File, path string) error {
	err := file.Chmod(0o600) // it holds everything that the cluster does
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return &failure{fmt.Errorf("writing %s: %w", file.Name(), err)}
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return &failure{err}
	}
	dir, err := os.Open(filepath.Dir(path))
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return &failure{fmt.Errorf("making the name %s durable: %w", path, err)}
	}
	return nil
}

// diskWriter remembers that it was the disk that failed.
type diskWriter struct {
	file *os.File
	err  error
}

func (w *diskWriter) Write(p []byte) (n int, err error) {
	n, w.err = w.file.Write(p)
	return n, w.err
}

// incoming is a backup that a node sends. Reading fails if nothing comes for as
// long as the user waits.
type incoming struct {
	body     io.ReadCloser
	node     string
	expected int64 // bytes, about
	timeout  time.Duration
	cancel   context.CancelFunc
	err      error // why reading ended, but for the end
}

func (i *incoming) Read(p []byte) (int, error) {
	patience := time.AfterFunc(i.timeout, i.cancel)
	n, err := i.body.Read(p)
	if !patience.Stop() && err != nil {
		err = fmt.Errorf("nothing came for %v", i.timeout)
	}
	if err != nil && err != io.EOF {
		i.err = err
	}
	return n, err
}

func (i *incoming) Close() error {
	defer i.cancel()
	return i.body.Close()
}

// askForBackup asks a node to begin.
func (s *clerkSettings) askForBackup(ctx context.Context, endpoint string) (*incoming, error) {
	i := &incoming{timeout: s.timeout}
	begin, cancelStatus := context.WithTimeout(ctx, s.timeout)
	status, err := fetchStatus(begin, endpoint)
	cancelStatus()
	if err != nil {
		return nil, err
	}
	i.node, i.expected = status.Node, int64(status.Store.Bytes)+12*int64(status.Store.Keys)
	ctx, i.cancel = context.WithCancel(ctx)
	patience := time.AfterFunc(s.timeout, i.cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpointURL(endpoint, "/v1/snapshot"), nil)
	if err != nil {
		return nil, errors.New("no address of the form host:port")
	}
	transport := &http.Transport{Proxy: nil, DisableKeepAlives: true, DisableCompression: true, DialContext: (&net.Dialer{Timeout: s.timeout}).DialContext}
	response, err := transport.RoundTrip(request)
	if !patience.Stop() {
		if err == nil {
			response.Body.Close()
		}
		err = fmt.Errorf("no answer within %v", s.timeout)
	}
	if err != nil {
		i.cancel()
		return nil, lastCause(err)
	}
	if response.StatusCode != http.StatusOK {
		defer i.cancel()
		defer response.Body.Close()
		return nil, problemOf(response)
	}
	i.body = response.Body
	return i, nil
}

// problemOf reads an error that a node answered with.
func problemOf(response *http.Response) error {
	var problem api.Problem
	body, err := io.ReadAll(io.LimitReader(response.Body, maxStatusBytes))
	if err != nil || json.Unmarshal(body, &problem) != nil || problem.Code == "" {
		return fmt.Errorf("it answered %s", response.Status)
	}
	return fmt.Errorf("%s (%s)", problem.Detail, problem.Code)
}
