package credential

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/kvserver/access"
	"raftkv/kvserver/auth"
)

func token(t testing.TB) auth.Secret {
	t.Helper()
	id, ok := auth.ParseTokenID("glass000")
	if !ok {
		t.Fatal("no id")
	}
	return auth.MakeToken(id, [auth.SecretBytes]byte{1})
}

// write makes a file with these permissions.
func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// Goal: a token comes from the file that was named, else from the file that a variable names,
// else from the variable, else from the profile, which nobody else may read; what is no token is refused without being
// shown. Method: each place, and each mistake.
func TestWhereATokenComesFrom(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv(Variable, "")
	t.Setenv(FileVariable, "")
	good := token(t).Reveal()
	if got, err := (Source{}).Token(); err != nil || !got.IsZero() {
		t.Errorf("without any: %v", err)
	}
	path := Profile()
	write(t, path, "token = \""+good+"\"\n", 0o600)
	if got, err := (Source{}).Token(); err != nil || got.Reveal() != good {
		t.Errorf("the profile: %v", err)
	}
	write(t, path, "token = \""+good+"\"\n", 0o640)
	if _, err := (Source{}).Token(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a profile that others read: %v", err)
	}
	file := write(t, filepath.Join(home, "token"), good+"\n", 0o600)
	for _, text := range []string{"token-file = \"" + file + "\"\n"} {
		write(t, path, text, 0o600)
		if got, err := (Source{}).Token(); err != nil || got.Reveal() != good {
			t.Errorf("a file that the profile names: %v", err)
		}
	}
	for text, want := range map[string]string{
		"token = 1":                "it is no TOML of lines like endpoints",
		"tokens = \"x\"":           "\"tokens\" is not known; there are endpoints",
		"token = \"rkt1_short\"":   path + " holds no token",
		"token-file = \"/none/x\"": "the token's file /none/x does not exist; correct the path",
		"token = \"" + good + "\"\ntoken-file = \"x\"": "leave one out",
	} {
		write(t, path, text, 0o600)
		if _, err := (Source{}).Token(); err == nil || strings.Contains(err.Error(), "rkt1_short") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	t.Setenv(Variable, good)
	if got, err := (Source{}).Token(); err != nil || got.Reveal() != good {
		t.Errorf("the variable: %v", err)
	}
	t.Setenv(Variable, good[:len(good)-1]+"0")
	if _, err := (Source{}).Token(); err == nil || strings.Contains(err.Error(), good[20:40]) {
		t.Errorf("a slip of the pen: %v", err)
	}
	t.Setenv(FileVariable, file) // what the other variable holds would be refused
	if got, err := (Source{}).Token(); err != nil || got.Reveal() != good {
		t.Errorf("the file that a variable names: %v", err)
	}
	t.Setenv(FileVariable, filepath.Join(home, "none"))
	if _, err := (Source{}).Token(); err == nil || !strings.Contains(err.Error(), "$"+FileVariable) {
		t.Errorf("a variable that names no file: %v", err)
	}
	if got, err := (Source{File: file}).Token(); err != nil || got.Reveal() != good {
		t.Errorf("the file that was named: %v", err)
	}
	if _, err := (Source{File: filepath.Join(home, "none")}).Token(); err == nil {
		t.Error("a file that is not there")
	}
}

// Goal: the file that a profile names is the one that its user means, wherever a command runs,
// and an error of it names the profile; a file that others can read is warned about, and only
// that; a file that the shell has emptied, and a token in the variable of locks, are told.
// Method: files and variables as people make them.
func TestTheFileOfATokenIsTheOneThatIsMeant(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("HOME", home)
	t.Setenv(Variable, "")
	t.Setenv(FileVariable, "")
	good := token(t).Reveal()
	path := Profile()
	write(t, filepath.Join(home, "kv.token"), good, 0o600)
	write(t, filepath.Join(filepath.Dir(path), "beside.token"), good, 0o644)
	for name, c := range map[string]struct {
		file, warns, fails string
	}{
		"in the user's directory": {"~/kv.token", "", ""},
		"beside the profile":      {"beside.token", "chmod 600 ", ""},
		"absolute":                {filepath.Join(home, "kv.token"), "", ""},
		"missing":                 {"~/none", "", "token-file in the profile " + path},
	} {
		write(t, path, "token-file = \""+c.file+"\"\n", 0o600)
		got, err := (Source{}).Token()
		if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) || err == nil && got.Reveal() != good {
			t.Errorf("%s: %v", name, err)
		}
		if warning := (Source{}).Warning(); (warning == "") != (c.warns == "") || !strings.Contains(warning, c.warns) {
			t.Errorf("%s: warned %q", name, warning)
		}
		if from := (Source{}).From(); c.fails == "" && from != "the profile "+path {
			t.Errorf("%s: it is said to come from %q", name, from)
		}
	}
	open := write(t, filepath.Join(home, "open.token"), good, 0o644)
	if warning := (Source{File: open}).Warning(); !strings.Contains(warning, "chmod 600 "+open) {
		t.Errorf("a file that all read: warned %q", warning)
	}
	t.Setenv(FileVariable, open)
	if warning := (Source{}).Warning(); !strings.Contains(warning, "chmod 600 "+open) {
		t.Errorf("a file that all read, of the variable: warned %q", warning)
	}
	if from := (Source{}).From(); from != open+" ($"+FileVariable+")" {
		t.Errorf("it is said to come from %q", from)
	}
	empty := write(t, filepath.Join(home, "empty.token"), "", 0o600)
	if _, err := (Source{File: empty}).Token(); err == nil || !strings.Contains(err.Error(), "the shell emptied the file") {
		t.Errorf("an empty file: %v", err)
	}
	if hint := Misnamed(); hint != "" {
		t.Errorf("hint %q", hint)
	}
	t.Setenv(LockVariable, good)
	if hint := Misnamed(); !strings.Contains(hint, Variable) || strings.Contains(hint, good[13:20]) {
		t.Errorf("a token in the variable of locks: hint %q", hint)
	}
}

// Goal: what the command writes for a node's file is read as that, and a file that others
// read, or that says more, is refused. Method: one file, spoilt.
func TestTheAuthFile(t *testing.T) {
	text, err := Entry("ops", []string{"status", "auth"}, token(t))
	if err != nil || strings.Contains(text, token(t).Reveal()[13:50]) {
		t.Fatalf("%s, %v", text, err)
	}
	path := write(t, filepath.Join(t.TempDir(), "auth.toml"), text, 0o600)
	all, err := ReadAuthFile(path)
	if err != nil || len(all) != 1 || all[0].Identity.Name != "ops" {
		t.Errorf("%+v, %v", all, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAuthFile(path); err == nil {
		t.Error("a file that others read is taken")
	}
	for _, bad := range []string{"", text + text, text + "deny = true\n", strings.Replace(text, "status", "read", 1), "[[identity]]\n"} {
		if _, err := parseAuthFile(bad); err == nil {
			t.Errorf("taken:\n%s", bad)
		}
	}
	if _, err := Entry("ops", []string{"admin"}, token(t)); err == nil {
		t.Error("an admin in a node's file")
	}
}

func FuzzAuthFile(f *testing.F) {
	text, err := Entry("ops", []string{"status", "auth"}, token(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseAuthFile(text)
		for _, b := range all {
			if err != nil || b.Identity.Allows(auth.Read, auth.OneKey("k")) || b.Identity.Allows(auth.Admin, auth.Range{}) {
				t.Errorf("%+v, %v", b.Identity, err)
			}
		}
	})
}

// Goal: settings that cannot be are refused before anything is opened; the audit goes to
// a file that nobody else reads, and to a new one after the old was moved away.
// Method: each mistake; then one file.
func TestTheSettingsOfANode(t *testing.T) {
	for name, change := range map[string]func(*ServeSettings){
		"stale": func(s *ServeSettings) { s.StaleLimit = "0s" }, "stale text": func(s *ServeSettings) { s.StaleLimit = "soon" },
		"keys": func(s *ServeSettings) { s.AuditKeys = "some" }, "required": func(s *ServeSettings) { s.AuditRequired = "yes" },
		"required without a file": func(s *ServeSettings) { s.AuditRequired = "true" }, "reads without a file": func(s *ServeSettings) { s.AuditReads = "*" },
		"a file that is not there": func(s *ServeSettings) { s.AuthFile = "/nonexistent/auth.toml" },
	} {
		s := Defaults
		change(&s)
		if _, err := s.Open(slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	s := Defaults
	s.StaleLimit = "off"
	s.AuditFile = filepath.Join(t.TempDir(), "audit.log")
	o, err := s.Open(slog.New(slog.DiscardHandler))
	if err != nil || o.StaleLimit >= 0 {
		t.Fatal(err)
	}
	if info, err := os.Stat(s.AuditFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	loose := write(t, filepath.Join(t.TempDir(), "loose.log"), "", 0o644)
	if f, err := OpenAuditFile(loose); err != nil {
		t.Errorf("a file that others read: %v", err)
	} else if info, err := f.file.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may still read: %v, %v", info.Mode(), err)
	} else {
		f.Close()
	}
	if f, err := OpenAuditFile(os.DevNull); err != nil {
		t.Errorf("what is no file: %v", err)
	} else {
		f.Close()
	}
	put := func(key string) {
		if err := o.Access.Audit.Reserve(); err != nil {
			t.Fatal(err)
		}
		o.Access.Audit.Put(access.Line{Key: key})
	}
	if err := os.Rename(s.AuditFile, s.AuditFile+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, s.AuditFile, "", 0o640) // by a program that moves logs and does not know better
	if err := o.Reopen(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(s.AuditFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a new file that others read stays open to them: %v, %v", info.Mode(), err)
	}
	put("behind")
	o.Close()
	text, err := os.ReadFile(s.AuditFile)
	if err != nil || !strings.Contains(string(text), "behind") {
		t.Errorf("%s, %v", text, err)
	}
}

// Goal: a file that a group may read is secret only if root gave it to another user, as an
// orchestrator does. Method: a table.
func TestWhichModesKeepASecret(t *testing.T) {
	for _, c := range []struct {
		mode        os.FileMode
		owner, user int
		want        bool
	}{
		{0o600, 5, 5, true}, {0o400, 5, 5, true}, {0o640, 5, 5, false}, {0o440, 0, 5, true}, {0o640, 0, 5, true},
		{0o440, 0, 0, false}, {0o460, 0, 5, false}, {0o444, 0, 5, false}, {0o404, 0, 5, false},
	} {
		if got := secret(c.mode, c.owner, c.user); got != c.want {
			t.Errorf("mode %04o of user %d, read by %d: %v", c.mode, c.owner, c.user, got)
		}
	}
}
