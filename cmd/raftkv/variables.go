package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// commandVariables are the environment variables of the commands that talk to a
// running cluster. Those of serve are made of its settings, see variable.
var commandVariables = []string{endpointsVariable, timeoutVariable, jsonVariable}

// reservedVariables are kept for what runs raftkv or is run by it, and never
// belong to a setting. Nobody is warned of them.
var reservedVariables = []string{
	"RAFTKV_TOKEN", "RAFTKV_AUTH_TOKEN", "RAFTKV_LOCK", "RAFTKV_LEASE", "RAFTKV_OP", "RAFTKV_KEY", "RAFTKV_VALUE", "RAFTKV_REVISION",
}

// ofOrchestrator matches what Kubernetes, and links of Docker, put into the
// environment for services whose names begin with raftkv: RAFTKV_PORT,
// RAFTKV_SERVICE_HOST, RAFTKV_CLIENT_PORT_8701_TCP_ADDR.
var ofOrchestrator = regexp.MustCompile(`^RAFTKV_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?|NAME|ENV_.*)$`)

// strayVariables returns a sentence for every variable of the environment that
// looks like a setting and is none: a slip of the pen would otherwise ask another
// cluster, or use another directory.
func strayVariables(environ []string) (sentences []string) {
	known := slices.Clone(commandVariables)
	for _, s := range new(serveSettings).table() {
		known = append(known, variable(s.name))
	}
	for _, pair := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "RAFTKV_") || value == "" || slices.Contains(known, name) ||
			slices.Contains(reservedVariables, name) || ofOrchestrator.MatchString(name) {
			continue
		}
		if near := nearest(name, known); near != "" {
			sentences = append(sentences, fmt.Sprintf("the environment variable %s is no setting and does nothing; did you mean %s?", name, near))
		} else {
			sentences = append(sentences, fmt.Sprintf("the environment variable %s is no setting and does nothing; unset it ('raftkv serve --help' lists the settings)", name))
		}
	}
	return sentences
}

// unusedByDev returns a sentence for every variable that is a setting of serve.
// dev takes flags only, so what such a variable says is not done.
func unusedByDev(command *cobra.Command, environ []string) (sentences []string) {
	for _, pair := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(pair, "=")
		if value == "" || ofOrchestrator.MatchString(name) || slices.Contains(commandVariables, name) {
			continue
		}
		for _, s := range new(serveSettings).table() {
			if variable(s.name) != name {
				continue
			}
			advice := "unset it, or use serve"
			if command.Flags().Lookup(s.name) != nil {
				advice = "give --" + s.name
			}
			sentences = append(sentences, fmt.Sprintf("the environment variable %s is a setting of serve and does nothing for dev; %s", name, advice))
		}
	}
	return sentences
}

// warnOfVariables prints these sentences. A server logs them instead.
func warnOfVariables(command *cobra.Command) {
	switch command.Name() {
	case "dev":
		for _, sentence := range unusedByDev(command, os.Environ()) {
			fmt.Fprintf(command.ErrOrStderr(), "raftkv: %s\n", sentence)
		}
	case "serve", "version", "help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		return
	}
	for _, sentence := range strayVariables(os.Environ()) {
		fmt.Fprintf(command.ErrOrStderr(), "raftkv: %s\n", sentence)
	}
}

// nearest returns the name that a misspelt one is likely to stand for; empty if
// there is none.
func nearest(name string, known []string) (best string) {
	least := len(name)/4 + 1
	for _, k := range known {
		// RAFTKV_DATADIR and RAFTKV_DATA_DIR are the same word.
		d := lettersApart(strings.ReplaceAll(name, "_", ""), strings.ReplaceAll(k, "_", ""))
		if d < least {
			best, least = k, d
		}
	}
	return best
}

// lettersApart counts the letters to insert, remove or replace to make b of a.
func lettersApart(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
