package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// arrows says which packages of this module each one may import. A package
// that is not here is complained about: a new package needs a place in the
// design first. Packages under tests/ may import anything.
var arrows = map[string][]string{
	"raft/members":              {},
	"raft/levels":               {},
	"raft/core":                 {"raft/members"},
	"raft/vfs":                  {},
	"raft/snapshot":             {},
	"raft/wal":                  {"raft/members", "raft/core", "raft/vfs", "raft/snapshot"},
	"raft/msgpack":              {},
	"raft/throttle":             {},
	"raft/retransmit":           {},
	"raft/direct":               {},
	"raft/certs":                {},
	"raft/certs/issue":          {},
	"raft/identity":             {"raft/core"},
	"raft/wire":                 {"raft/members", "raft/core", "raft/identity", "raft/levels", "raft/msgpack", "raft/throttle", "raft/retransmit", "raft/direct", "raft/certs"},
	"raft/datadir":              {"raft/core", "raft/identity", "raft/vfs", "raft/wal"}, // of wal only the names of files
	"raft/node":                 {"raft/members", "raft/core"},
	"raft":                      {"raft/members", "raft/core", "raft/node"},
	"kvserver/fields":           {},
	"kvserver/auth":             {"kvserver/fields"},
	"kvserver/lease":            {},
	"kvserver/lock":             {},
	"kvserver/txn":              {"kvserver/fields"},
	"kvserver/kv":               {"kvserver/fields", "kvserver/auth", "kvserver/lease", "kvserver/lock", "kvserver/txn"},
	"kvserver/api":              {},
	"kvserver/recorder":         {},
	"kvserver/explain":          {"kvserver/recorder"},
	"kvserver/failure":          {"kvserver/api"},
	"kvserver/watch":            {"kvserver/kv", "kvserver/txn", "kvserver/lock"}, // of txn only the range of a prefix, of lock a limit
	"kvserver/httpd/events":     {"kvserver/watch", "kvserver/kv", "kvserver/api"},
	"kvserver/past":             {"kvserver/kv"},
	"kvserver/machine":          {"raft", "kvserver/kv", "kvserver/lease", "kvserver/lock", "kvserver/txn", "kvserver/past", "kvserver/auth", "kvserver/watch", "kvserver/failure"},
	"kvserver/access":           {"kvserver/auth", "kvserver/failure"},
	"kvserver/internal/fakelog": {"raft", "raft/core", "kvserver/kv"},                                            // for tests
	"kvserver/internal/pipenet": {},                                                                              // for tests
	"kvserver/internal/truth":   {"kvserver/txn"},                                                                // for tests; only its data
	"kvserver/internal/world":   {"raft", "kvserver/kv", "kvserver/internal/fakelog", "kvserver/internal/truth"}, // for tests
	"kvserver/port":             {"kvserver/failure", "raft/throttle", "raft/certs"},
	"kvserver/membership":       {"raft", "raft/core", "raft/members", "raft/levels", "kvserver/api", "kvserver/failure"},
	// client: the labs know their clerks as kvserver.Clerk and kvserver.MakeClerk.
	// One file, lab_clerk.go, gives the client's those names.
	"kvserver":                {"kvserver/machine", "kvserver/lease", "kvserver/lock", "kvserver/membership", "kvserver/watch", "raft", "raft/members", "raft/snapshot", "kvserver/kv", "kvserver/txn", "kvserver/auth", "kvserver/access", "kvserver/api", "kvserver/failure", "client"},
	"kvserver/httpd":          {"kvserver", "kvserver/membership", "raft/members", "kvserver/auth", "kvserver/access", "kvserver/port", "kvserver/failure", "kvserver/api", "kvserver/kv", "kvserver/txn", "kvserver/watch", "kvserver/recorder", "kvserver/httpd/events", "kvserver/explain", "kvserver/httpd/page", "kvserver/httpd/requests", "kvserver/httpd/live"},
	"kvserver/httpd/page":     {},
	"kvserver/httpd/requests": {"kvserver/api"},
	"kvserver/httpd/live":     {},
	"kvserver/clerkd":         {"kvserver", "kvserver/watch", "kvserver/auth", "kvserver/access", "kvserver/clerkwire", "kvserver/failure", "kvserver/api", "kvserver/kv", "kvserver/txn"},
	"kvserver/metrics":        {"kvserver", "kvserver/access", "kvserver/auth", "kvserver/machine", "kvserver/failure", "kvserver/kv", "kvserver/clerkwire", "kvserver/api"},
	"client":                  {"client/internal/asleep", "client/internal/sorted", "kvserver/api", "kvserver/clerkwire", "kvserver/txn"},
	"client/internal/asleep":  {},
	"client/internal/sorted":  {},
	"kvserver/clerkwire":      {"raft/msgpack", "kvserver/api"},
	"cmd/raftkv": {
		"cmd/raftkv/internal/host", "cmd/raftkv/internal/inventory", "cmd/raftkv/internal/logging", "cmd/raftkv/internal/process",
		"cmd/raftkv/internal/exit", "cmd/raftkv/internal/terminal", "cmd/raftkv/internal/settings", "cmd/raftkv/internal/ask", "cmd/raftkv/internal/refusal", "cmd/raftkv/internal/credential", "cmd/raftkv/internal/firstadmin", "cmd/raftkv/internal/member", "cmd/raftkv/internal/change", "cmd/raftkv/internal/lease", "cmd/raftkv/internal/guarded", "cmd/raftkv/internal/recovery", "cmd/raftkv/internal/resize", "cmd/raftkv/internal/stage", "cmd/raftkv/internal/panel",
		"cmd/raftkv/internal/status", "cmd/raftkv/internal/target", "cmd/raftkv/internal/address", "cmd/raftkv/internal/gather",
		"kvserver/explain", "kvserver/recorder",
		"cmd/raftkv/internal/secure", "cmd/raftkv/internal/discover",
		"raft/certs", "raft/certs/issue",
		"raft/core", "raft/vfs", "raft/snapshot", "raft/wal", "raft/datadir", // core: its words for the rest
		"kvserver", "kvserver/api", "kvserver/auth", "kvserver/httpd/page", "kvserver/port", "client", "client/bench", "client/verify", // of page only its modes, of port only the names of proxies
	},
	"cmd/raftkv/internal/host": {
		"cmd/raftkv/internal/process", "cmd/raftkv/internal/flight", "cmd/raftkv/internal/secure", "cmd/raftkv/internal/discover",
		"raft", "raft/certs", "raft/core", "raft/members", "raft/levels", "raft/vfs", "raft/wal", "raft/wire", "raft/identity", "raft/datadir",
		"kvserver", "kvserver/kv", "kvserver/membership", "kvserver/access", "kvserver/recorder", "kvserver/httpd", "kvserver/httpd/page", "kvserver/clerkd", "kvserver/port", "kvserver/metrics", "kvserver/api",
		"client/bench",                 // in a test only, of what measuring costs
		"cmd/raftkv/internal/recovery", // in a test only, of what comes after it
	},
	"cmd/raftkv/internal/stage": {
		"cmd/raftkv/internal/host", "raft/core", "raft/vfs", "kvserver/recorder", // of recorder only reasons
		"cmd/raftkv/internal/flight", "kvserver/explain", // in tests only
	},
	"cmd/raftkv/internal/panel": {
		"cmd/raftkv/internal/host", "cmd/raftkv/internal/stage", "raft/core", "kvserver/httpd/page", // of page only its policy
	},
	"cmd/raftkv/internal/flight": {
		"raft", "raft/core", "raft/members", "raft/vfs", "raft/wire", "raft/datadir", "kvserver", "kvserver/api", "kvserver/failure", "kvserver/recorder",
	},
	"cmd/raftkv/internal/gather": {
		"cmd/raftkv/internal/ask", "cmd/raftkv/internal/exit", "cmd/raftkv/internal/flight", "kvserver/api", "kvserver/explain", "kvserver/recorder", "raft/vfs",
	},
	"cmd/raftkv/internal/secure":     {"cmd/raftkv/internal/settings", "kvserver/port", "raft/certs", "raft/datadir", "raft/vfs", "raft/wire"},
	"cmd/raftkv/internal/exit":       {},
	"cmd/raftkv/internal/discover":   {},
	"cmd/raftkv/internal/change":     {"cmd/raftkv/internal/exit", "cmd/raftkv/internal/terminal", "client", "kvserver/api"},
	"cmd/raftkv/internal/lease":      {"cmd/raftkv/internal/exit", "cmd/raftkv/internal/refusal", "cmd/raftkv/internal/terminal", "client", "kvserver/api"},
	"cmd/raftkv/internal/guarded":    {"cmd/raftkv/internal/exit", "cmd/raftkv/internal/refusal", "cmd/raftkv/internal/terminal", "client", "kvserver/api"},
	"cmd/raftkv/internal/terminal":   {"client"}, // of the client only how refusals are worded
	"cmd/raftkv/internal/settings":   {"cmd/raftkv/internal/inventory"},
	"cmd/raftkv/internal/ask":        {"cmd/raftkv/internal/exit", "kvserver/api", "kvserver/auth"}, // of auth only Secret
	"cmd/raftkv/internal/refusal":    {"cmd/raftkv/internal/ask", "cmd/raftkv/internal/exit", "client", "kvserver/api"},
	"cmd/raftkv/internal/credential": {"kvserver/auth", "kvserver/access", "kvserver/api"},
	"cmd/raftkv/internal/firstadmin": {"cmd/raftkv/internal/ask", "cmd/raftkv/internal/exit", "cmd/raftkv/internal/target", "kvserver/api", "kvserver/auth"},
	"cmd/raftkv/internal/status":     {"cmd/raftkv/internal/ask", "cmd/raftkv/internal/exit", "cmd/raftkv/internal/terminal", "kvserver/api"},
	"cmd/raftkv/internal/target":     {"cmd/raftkv/internal/exit"},
	"cmd/raftkv/internal/address":    {"cmd/raftkv/internal/exit", "cmd/raftkv/internal/host", "cmd/raftkv/internal/process", "raft/core"},
	"cmd/raftkv/internal/inventory":  {"raft/core", "raft/datadir", "raft/vfs", "raft/wal", "kvserver/recorder"}, // of recorder only the names of files
	"cmd/raftkv/internal/logging":    {},
	"cmd/raftkv/internal/process":    {"raft/vfs", "kvserver/port"},
	"client/bench":                   {"client", "kvserver/api"},
	"client/verify":                  {"client"},
	"cmd/raftkv/internal/resize":     {"cmd/raftkv/internal/host", "kvserver/membership", "kvserver/api", "kvserver/failure", "raft/members"},
	"cmd/raftkv/internal/recovery":   {"cmd/raftkv/internal/exit", "cmd/raftkv/internal/secure", "kvserver", "kvserver/kv", "raft/core", "raft/members", "raft/levels", "raft/identity", "raft/datadir", "raft/vfs", "raft/wal"},
	"cmd/raftkv/internal/member":     {"cmd/raftkv/internal/ask", "cmd/raftkv/internal/exit", "cmd/raftkv/internal/terminal", "kvserver/api"},

	"deploy/dashboard": {},
	"deploy/rename":    {},

	"labrpc/labgob": {},
	"labrpc":        {"labrpc/labgob"},
}

// suites are packages whose tests are the labs' suites. In addition to the package
// they may import the labs' network and the harness that the suites share.
var suites = []string{"raft", "kvserver"}

// labPackages is what the suites need.
var labPackages = []string{"labrpc", "labrpc/labgob", "tests/lab"}

// sharedByTests are packages that every package's tests may import: one compares
// formats with the bytes of earlier releases, one what inner loops allocate with a
// baseline, one visits every state of a pure object within bounds, one makes certificates,
// and one runs a test in virtual time.
var sharedByTests = []string{"tests/compat/golden", "tests/bench/allocations", "tests/explore", "raft/certs/issue", "tests/virtual"}

// fakePackages are what the tests of the service have in common: consensus and a
// network, both in memory, the model that histories are compared with, and a log that
// several nodes apply. Tests of every package under kvserver may import them, and nothing
// else may.
var fakePackages = []string{"kvserver/internal/fakelog", "kvserver/internal/pipenet", "kvserver/internal/truth", "kvserver/internal/world"}

// wired says for packages whose tests ask a whole server what else those may import
// to wire one as a node does.
var wired = map[string][]string{
	"kvserver/httpd":  {"kvserver/clerkd", "kvserver/metrics", "kvserver/clerkwire", "client"},
	"kvserver/clerkd": {"kvserver/httpd", "kvserver/port", "kvserver/metrics", "client", "client/verify"},
}

// modules says which packages may import which module of others. The same table
// with the reasons is in docs/dependencies.md. A folder stands for all below it.
var modules = map[string][]string{
	"github.com/gorilla/mux":              {"kvserver/httpd"},
	"github.com/hashicorp/go-msgpack/v2":  {"raft/wire", "raft/msgpack", "kvserver/clerkwire"},
	"github.com/tidwall/btree":            {"kvserver/kv", "kvserver/lease", "kvserver/lock"},
	"github.com/spf13/cobra":              {"cmd/raftkv"},
	"github.com/prometheus/client_golang": {"kvserver", "cmd/raftkv/internal/host"},
	"github.com/prometheus/client_model":  {"kvserver"},
	"github.com/BurntSushi/toml":          {"raft/datadir", "cmd/raftkv"},
	"github.com/anishathalye/porcupine":   {"tests/lab", "tests/sim", "client/verify"},
	"github.com/schollz/progressbar/v3":   {"cmd/raftkv"},
	"go.yaml.in/yaml/v3":                  {"tests/campaign", "tests/system"},
	"golang.org/x/term":                   {"cmd/raftkv"},
}

// CheckArrows holds the imports of this module's packages among each other to
// the arrows. A package's own tests may import the package and all that it
// reaches: they add no arrow.
func CheckArrows(t *Tree) (complaints []string) {
	for _, p := range t.Packages {
		if isUnder(p.Path, "tests") {
			continue
		}
		allowed, known := arrows[p.Path]
		if !known {
			complaints = append(complaints, fmt.Sprintf("package %s has no place in the arrows: draw it in docs/architecture.md and in tests/arch/arrows.go", p.Path))
			continue
		}
		reached := reach(p.Path)
		for _, f := range p.Files {
			for _, path := range f.imports() {
				to, ours := strings.CutPrefix(path, Module+"/")
				suite := f.Test && slices.Contains(suites, p.Path) && slices.Contains(labPackages, to)
				fake := f.Test && slices.Contains(fakePackages, to) && isUnder(p.Path, "kvserver")
				if !ours || slices.Contains(allowed, to) || f.Test && (reached[to] || slices.Contains(sharedByTests, to) || slices.Contains(wired[p.Path], to)) || suite || fake {
					continue
				}
				complaints = append(complaints, fmt.Sprintf("%s imports %s: %s may import %s", f.Path, to, p.Path, listOr(allowed, "nothing of ours")))
			}
		}
	}
	return complaints
}

// reach returns a package and all packages that the arrows lead to from it.
func reach(from string) map[string]bool {
	reached := map[string]bool{from: true}
	for waiting := []string{from}; len(waiting) > 0; waiting = waiting[1:] {
		for _, to := range arrows[waiting[0]] {
			if !reached[to] {
				reached[to] = true
				waiting = append(waiting, to)
			}
		}
	}
	return reached
}

// CheckModules holds the imports of other modules to the table, and the table
// to what is used and what the document says.
func CheckModules(t *Tree, document string) (complaints []string) {
	used := map[string]bool{}
	for _, p := range t.Packages {
		for _, f := range p.Files {
			for _, path := range f.imports() {
				if !strings.Contains(strings.Split(path, "/")[0], ".") {
					continue // the standard library, or ours
				}
				module := moduleOf(path)
				if !slices.ContainsFunc(modules[module], func(by string) bool { return isUnder(p.Path, by) }) {
					complaints = append(complaints, fmt.Sprintf("%s imports %s: %s", f.Path, path, whoMay(module)))
				}
				used[module] = true
			}
		}
	}
	documented := documentedModules(document)
	for _, module := range sortedKeys(modules) {
		if !used[module] {
			complaints = append(complaints, fmt.Sprintf("%s is in the table of tests/arch/arrows.go and nobody imports it", module))
		}
		if got, want := documented[module], modules[module]; !slices.Equal(got, want) {
			complaints = append(complaints, fmt.Sprintf("docs/dependencies.md says that %s is imported by %s; tests/arch/arrows.go says %s",
				module, listOr(got, "nobody"), listOr(want, "nobody")))
		}
	}
	for _, module := range sortedKeys(documented) {
		if _, known := modules[module]; !known {
			complaints = append(complaints, fmt.Sprintf("docs/dependencies.md names %s, which tests/arch/arrows.go does not", module))
		}
	}
	return complaints
}

// CheckGoMod complains about modules that go.mod names for this module's own
// packages and the table does not.
func CheckGoMod(goMod string) (complaints []string) {
	for line := range strings.Lines(goMod) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) < 2 || !strings.Contains(fields[0], ".") || strings.Contains(line, "// indirect") || !strings.HasPrefix(fields[1], "v") {
			continue
		}
		if _, known := modules[fields[0]]; !known {
			complaints = append(complaints, fmt.Sprintf("go.mod requires %s, which is not in docs/dependencies.md", fields[0]))
		}
	}
	return complaints
}

// moduleOf returns the module in the table that holds a package, or the path
// itself.
func moduleOf(path string) string {
	for _, module := range sortedKeys(modules) {
		if isUnder(path, module) {
			return module
		}
	}
	return path
}

func whoMay(module string) string {
	if by, known := modules[module]; known {
		return "only " + listOr(by, "nobody") + " may"
	}
	return "it is not in docs/dependencies.md"
}

var (
	dependencyRow = regexp.MustCompile("^\\| *`([^`]+)` *\\|([^|]*)\\|([^|]*)\\|")
	inBackticks   = regexp.MustCompile("`([^`]+)`")
)

// documentedModules reads the table of docs/dependencies.md: module, purpose,
// importing packages.
func documentedModules(document string) map[string][]string {
	documented := map[string][]string{}
	for line := range strings.Lines(document) {
		row := dependencyRow.FindStringSubmatch(line)
		if row == nil {
			continue
		}
		var by []string
		for _, name := range inBackticks.FindAllStringSubmatch(row[3], -1) {
			by = append(by, name[1])
		}
		documented[row[1]] = by
	}
	return documented
}

// isUnder reports whether path is the folder or below it.
func isUnder(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func listOr(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, ", ")
}

// read returns the content of a file of the module, "" if it does not exist.
func read(root, path string) string {
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return ""
	}
	return string(content)
}
