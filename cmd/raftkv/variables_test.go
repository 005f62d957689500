package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"raftkv/cmd/raftkv/internal/settings"
)

// Goal: a misspelt environment variable is named, with the one that was meant;
// settings, reserved names and what orchestrators put there are left alone.
func TestAMisspeltVariableIsNamed(t *testing.T) {
	for name, want := range map[string]string{
		"RAFTKV_ENDPOINT":       "RAFTKV_ENDPOINTS",
		"RAFTKV_DATADIR":        "RAFTKV_DATA_DIR",
		"RAFTKV_DATA_DIRECTORY": "no setting and does nothing;",
		"RAFTKV_HTPP":           "RAFTKV_HTTP",
		"RAFTKV_COLOUR":         "no setting and does nothing; unset it",
	} {
		got := strayVariables([]string{"PATH=/bin", name + "=x", "HOME=/"})
		if len(got) != 1 || !strings.Contains(got[0], name+" is no setting") || !strings.Contains(got[0], want) {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
	quiet := []string{
		"RAFTKV_ENDPOINTS=a:1", "RAFTKV_TIMEOUT=5s", "RAFTKV_JSON=1", "RAFTKV_DATA_DIR=d", "RAFTKV_CONFIG=f", "RAFTKV_MISTAKE=", "RAFTKVX=1",
		"RAFTKV_PORT=tcp://10.0.0.1:8701", "RAFTKV_PORT_8701_TCP=tcp://10.0.0.1:8701", "RAFTKV_PORT_8701_TCP_ADDR=10.0.0.1",
		"RAFTKV_SERVICE_HOST=10.0.0.1", "RAFTKV_SERVICE_PORT=8701", "RAFTKV_SERVICE_PORT_HTTP=8701",
		"RAFTKV_CLIENT_SERVICE_HOST=10.0.0.1", "RAFTKV_CLIENT_PORT=tcp://10.0.0.1:8701", "RAFTKV_CLIENT_PORT_8701_TCP_PROTO=tcp",
		"RAFTKV_TOKEN=x", "RAFTKV_LEASE=1", "RAFTKV_KEY=k",
	}
	if got := strayVariables(quiet); len(got) > 0 {
		t.Errorf("warned without need: %q", got)
	}
	for _, pair := range quiet {
		name, _, _ := strings.Cut(pair, "=")
		if slices.Contains(settings.ReservedVariables, name) {
			for _, s := range new(serveSettings).table() {
				if settings.Variable(s.Name) == name {
					t.Errorf("%s is a setting and reserved", name)
				}
			}
		}
	}
}

// Goal: a command says that a variable does nothing, in addition to what the command does.
func TestACommandWarnsOfAStrayVariable(t *testing.T) {
	t.Setenv("RAFTKV_ENDPOINT", "127.0.0.1:1")
	var said strings.Builder
	run([]string{"snapshot", "inspect", t.TempDir() + "/nothing"}, io.Discard, &said)
	if !strings.Contains(said.String(), "did you mean RAFTKV_ENDPOINTS?") {
		t.Errorf("%q", said.String())
	}
}

// Goal: dev says that it takes no setting from a variable, and is not disturbed by
// what commands and orchestrators use.
// Method: a dev that is refused for its number of nodes, so that nothing starts.
func TestDevWarnsOfVariables(t *testing.T) {
	t.Setenv("RAFTKV_DATA_DIR", "zzz")
	t.Setenv("RAFTKV_ENDPOINTS", "127.0.0.1:1")
	t.Setenv("RAFTKV_PORT", "tcp://10.0.0.1:8701")
	t.Setenv("RAFTKV_HTPP", "x")
	var said strings.Builder
	run([]string{"dev", "--nodes", "0", "--data-dir", t.TempDir()}, io.Discard, &said)
	for _, want := range []string{"RAFTKV_DATA_DIR is a setting of serve", "give --data-dir", "RAFTKV_HTPP is no setting"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q is missing in %q", want, said.String())
		}
	}
	if strings.Contains(said.String(), "RAFTKV_ENDPOINTS") || strings.Contains(said.String(), "RAFTKV_PORT") {
		t.Errorf("warned without need: %q", said.String())
	}
}

// Goal: a build that was made without the history of versions, as in an image, is called by
// what the linker was told.
func TestAnImageKnowsItsVersion(t *testing.T) {
	before := buildVersion()
	release = "v9.9.9-3-gabcdef0"
	defer func() { release = "" }()
	if got := buildVersion(); got != release {
		t.Errorf("the build is called %q", got)
	}
	release = ""
	if got := buildVersion(); got != before || got == "" {
		t.Errorf("without a version the build is called %q, and before %q", got, before)
	}
}
