package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/address"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/settings"
)

// parse reads settings of serve as the command does.
func parse(t *testing.T, args []string, env map[string]string, file string) (*serveSettings, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "n.toml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	var s serveSettings
	table := s.table()
	command := &cobra.Command{}
	settings.AddFlags(command, table)
	if err := command.Flags().Parse(args); err != nil {
		return nil, err
	}
	lookup := func(name string) (string, bool) { text, found := env[name]; return text, found }
	return &s, settings.Complete(table, command.Flags().Changed, lookup)
}

// Goal: flag before variable before file before default, for every type.
// Method: one setting given in all places, one in all but the first, and so on.
func TestFlagWinsOverVariableWinsOverFileWinsOverDefault(t *testing.T) {
	file := `
id = "file"
data-dir = "file"
http = "file:1"
max-value-bytes = 3
request-timeout = "3s"
election-timeout = "3s"
`
	env := map[string]string{
		"RAFTKV_ID": "env", "RAFTKV_DATA_DIR": "env",
		"RAFTKV_MAX_VALUE_BYTES": "2", "RAFTKV_REQUEST_TIMEOUT": "2s",
		"RAFTKV_HTTP": "",              // empty: not set
		"RAFTKV_PORT": "tcp://1.2.3.4", // nobody's
	}
	s, err := parse(t, []string{"--id", "flag", "--max-value-bytes", "1"}, env, file)
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]any{
		"id":               {s.id, "flag"},
		"data-dir":         {s.dataDir, "env"},
		"http":             {s.http, "file:1"},
		"cluster-id":       {s.clusterID, defaultClusterID},
		"max-value-bytes":  {s.maxValueBytes, int64(1)},
		"request-timeout":  {s.requestTimeout, 2 * time.Second},
		"election-timeout": {s.electionTimeout, 3 * time.Second},
		"log-level":        {s.logLevel, "info"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %v, want %v", what, pair[0], pair[1])
		}
	}
}

// Goal: the cluster may be a table in the file.
func TestClusterMayBeATable(t *testing.T) {
	s, err := parse(t, nil, nil, "[cluster]\nn2 = \"b:2\"\nn1 = \"a:1\"\n")
	if err != nil || s.cluster != "n1=a:1,n2=b:2" {
		t.Fatalf("%q, %v", s.cluster, err)
	}
}

// Goal: whatever is wrong in a file or variable is named, also where something
// else overrides it, and the sentence says what would be right.
func TestWrongSettingsAreNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		file string
		want []string
	}{
		{"unknown key", nil, nil, "ID = \"n1\"", []string{`"ID" is not a setting`, "id,", "data-dir"}},
		{"unknown table", nil, nil, "[node]\nid = \"n1\"", []string{`"node" is not a setting`}},
		{"config in a config", nil, nil, "config = \"x\"", []string{`"config" is not a setting`}},
		{"number for a string", nil, nil, "id = 1", []string{"id must be a string", "a whole number"}},
		{"string for a number", nil, nil, "max-value-bytes = \"1\"", []string{"max-value-bytes must be a whole number", "a string"}},
		{"fraction for a number", nil, nil, "max-value-bytes = 1.5", []string{"max-value-bytes", "fraction"}},
		{"number for a duration", nil, nil, "request-timeout = 10", []string{"request-timeout must be a duration", "a whole number"}},
		{"no duration", nil, nil, "request-timeout = \"ten\"", []string{"request-timeout", `"ten"`, "duration"}},
		{"table for a string", nil, nil, "[http]\nport = 1", []string{"http must be a string", "a table"}},
		{"cluster of numbers", nil, nil, "[cluster]\nn1 = 9701", []string{"cluster must be", "a table"}},
		{"list", nil, nil, "cluster = [\"n1=a:1\"]", []string{"cluster must be"}},
		{"wrong though overridden", []string{"--max-value-bytes", "5"}, nil, "max-value-bytes = \"x\"", []string{"max-value-bytes must be a whole number"}},
		{"no duration though overridden", nil, map[string]string{"RAFTKV_REQUEST_TIMEOUT": "1s"}, "request-timeout = \"ten\"", []string{"request-timeout", `"ten"`}},
		{"not TOML", nil, nil, "id = ", []string{"n.toml", "cannot be read"}},
		{"string without quotes", nil, nil, "id = n1", []string{"n.toml", `strings need quotes, as in id = "…"`}},
		{"no unit", nil, nil, "request-timeout = \"5\"", []string{"request-timeout", "as 5s"}},
		{"a home directory", []string{"--config", "~/n.toml"}, nil, "", []string{"--config", "only a shell"}},
		{"key twice", nil, nil, "id = \"a\"\nid = \"b\"", []string{"n.toml", "id"}},
		{"variable", nil, map[string]string{"RAFTKV_MAX_VALUE_BYTES": "1MiB"}, "", []string{"RAFTKV_MAX_VALUE_BYTES", `"1MiB"`, "whole number"}},
		{"file that is not there", []string{"--config", "/nowhere/n.toml"}, nil, "", []string{"--config", "/nowhere/n.toml"}},
		{"file by variable", nil, map[string]string{"RAFTKV_CONFIG": "/nowhere/n.toml"}, "", []string{"/nowhere/n.toml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(t, c.args, c.env, c.file)
			if err == nil {
				t.Fatal("was taken")
			}
			for _, word := range c.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

// Goal: settings that cannot be are refused with a sentence and exit code 2
// before anything is opened.
// Method: a valid set of settings, one of which is replaced at a time.
func TestImpossibleSettingsAreRefused(t *testing.T) {
	valid := map[string]string{
		"--id": "n1", "--data-dir": filepath.Join(t.TempDir(), "d"), "--cluster": "n1=127.0.0.1:1,n2=127.0.0.1:2", "--http": "127.0.0.1:0",
	}
	for _, c := range []struct{ flag, value, want string }{
		{"--id", "", "--id is missing"},
		{"--data-dir", "", "RAFTKV_DATA_DIR"},
		{"--cluster", "", "--cluster is missing"},
		{"--id", "n3", "--cluster names n1, n2 and not this node, n3"},
		{"--id", "a/b", "--id holds '/'"},
		{"--cluster-id", "", "--cluster-id has 0 characters"},
		{"--cluster", "n1=127.0.0.1:1,n1=127.0.0.1:2", "node n1 twice"},
		{"--cluster", "n1=127.0.0.1:1,n2=127.0.0.1:1", "same address"},
		{"--max-value-bytes", "0", "--max-value-bytes is 0"},
		{"--max-value-bytes", "9000000", "--max-value-bytes is 9000000"},
		{"--max-value-bytes", "many", "--max-value-bytes"},
		{"--max-txn-bytes", "0", "--max-txn-bytes is 0"},
		{"--max-txn-bytes", "9000000", "--max-txn-bytes is 9000000"},
		{"--request-timeout", "1ms", "--request-timeout is 1ms"},
		{"--election-timeout", "1ms", "--election-timeout is 1ms"},
		{"--log-level", "loud", "--log-level"},
		{"--http", "localhost", "--http"},
		{"--peer", "localhost", "--peer"},
		{"--nonsense", "1", "--nonsense"},
	} {
		args := []string{"serve"}
		for flag, value := range valid {
			if flag != c.flag {
				args = append(args, flag, value)
			}
		}
		var said strings.Builder
		if code := run(append(args, c.flag, c.value), io.Discard, &said); code != exit.Usage || !strings.Contains(said.String(), c.want) {
			t.Errorf("%s %q: exit code %d, said %q; want %d and %q", c.flag, c.value, code, said.String(), exit.Usage, c.want)
		}
	}
	if _, err := os.Stat(valid["--data-dir"]); !os.IsNotExist(err) {
		t.Errorf("the data directory was touched: %v", err)
	}
}

// Goal: the command line itself is checked, too.
func TestWrongCommandLines(t *testing.T) {
	for _, args := range [][]string{
		{"sevre"}, {"serve", "n1"}, {"dev", "--nodes", "0"}, {"dev", "--nodes", "8"}, {"dev", "--port", "0"}, {"dev", "--port", "64534"},
		{"dev", "more"}, {"version", "now"}, {"--loud"}, {"snapshot", "sav", "f"}, {"wal", "inspekt", "d"},
		{"list", "--limit", "-1"}, {"get", "k", "--timeout", "0s"}, {"put", "k", "v", "--timeout", "-1s"}, {"status", "--timeout", "0s"},
		{"snapshot", "save", "f", "--timeout", "0s"}, {"bench", "--http", "--conns", "-1"}, {"bench", "--rate", "inf"}, {"bench", "--rate", "NaN"},
		{"verify", "--rate", "NaN"}, {"help", "sevre"}, {"help", "snapshot", "sav"}, {"completion", "tcsh"},
	} {
		if args[0] == "dev" {
			args = append(args, "--data-dir", filepath.Join(t.TempDir(), "d"))
		}
		var said strings.Builder
		if code := run(args, io.Discard, &said); code != exit.Usage || !strings.HasPrefix(said.String(), "raftkv: ") {
			t.Errorf("%q: exit code %d, said %q", args, code, said.String())
		}
	}
	var out strings.Builder
	if code := run([]string{"version"}, &out, io.Discard); code != exit.Done || !strings.HasPrefix(out.String(), "raftkv ") {
		t.Errorf("version: exit code %d, printed %q", code, out.String())
	}
}

// Goal: a table of members may have ids with dots, quoted or not.
func TestMembersWithDotsInATable(t *testing.T) {
	for _, file := range []string{
		"[cluster]\n\"kv1.example.com\" = \"a:1\"\nkv2.example.com = \"b:1\"",
		"[cluster]\nkv1.example.com = \"a:1\"\nkv2.example.com = \"b:1\"",
		"[cluster.kv1.example]\ncom = \"a:1\"\n[cluster.kv2]\nexample.com = \"b:1\"",
	} {
		s, err := parse(t, nil, nil, file)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if m, err := address.ParseMembers(s.cluster); err != nil || len(m) != 2 || m["kv1.example.com"] != "a:1" || m["kv2.example.com"] != "b:1" {
			t.Errorf("%s: %v, %v", file, m, err)
		}
	}
}
