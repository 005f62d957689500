package settings

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ReservedVariables are kept for what runs raftkv or is run by it, and never
// belong to a setting. Nobody is warned of them.
var ReservedVariables = []string{
	"RAFTKV_TOKEN", "RAFTKV_LOCK", "RAFTKV_LEASE", "RAFTKV_OP", "RAFTKV_KEY", "RAFTKV_KEY_BASE64", "RAFTKV_VALUE", "RAFTKV_REVISION",
}

// ofOrchestrator matches what Kubernetes, and links of Docker, put into the
// environment for services whose names begin with raftkv: RAFTKV_PORT,
// RAFTKV_SERVICE_HOST, RAFTKV_CLIENT_PORT_8701_TCP_ADDR.
var ofOrchestrator = regexp.MustCompile(`^RAFTKV_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?|NAME|ENV_.*)$`)

// IsOfOrchestrator reports whether a variable is one of those.
func IsOfOrchestrator(name string) bool { return ofOrchestrator.MatchString(name) }

// Strays returns a sentence for every variable of the environment that looks
// like a setting and is not one of the known ones: a slip of the pen would otherwise
// ask another cluster, or use another directory.
func Strays(environ, known []string) (sentences []string) {
	for _, pair := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "RAFTKV_") || value == "" || slices.Contains(known, name) ||
			slices.Contains(ReservedVariables, name) || ofOrchestrator.MatchString(name) {
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

// nearest returns the name that a misspelt one is likely to stand for; empty if
// there is none.
func nearest(name string, known []string) (best string) {
	least := len(name)/4 + 1
	for _, k := range known {
		// RAFTKV_DATADIR and RAFTKV_DATA_DIR are the same word.
		d := Distance(strings.ReplaceAll(name, "_", ""), strings.ReplaceAll(k, "_", ""))
		if d < least {
			best, least = k, d
		}
	}
	return best
}
