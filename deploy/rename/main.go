// Command rename gives the module another path, in go.mod, in every import and in
// every document that shows one. Use it to publish the source under a path of
// your own; see docs/go-client.md.
//
// # What it does not know
//
// The command does not know Git, nor modules that depend on this one.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

func main() {
	to := flag.String("module", "", "the new path, such as example.org/you/raftkv")
	root := flag.String("root", ".", "where go.mod is")
	flag.Parse()
	changed, err := rename(*root, *to)
	if err != nil {
		fmt.Fprintln(os.Stderr, "rename:", err)
		os.Exit(1)
	}
	fmt.Printf("%d files name the module %s now. Build and test them, then commit.\n", changed, *to)
}

// modulePath matches the paths by which other modules can require a module.
var modulePath = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+(/[A-Za-z0-9._~-]+)*$`)

// rename rewrites all files under root, and returns how many it changed.
func rename(root, to string) (changed int, err error) {
	if !modulePath.MatchString(to) {
		return 0, fmt.Errorf("MODULE is %q; choose a path that begins with a domain, as in example.org/you/raftkv", to)
	}
	from, err := moduleOf(filepath.Join(root, "go.mod"))
	if err != nil {
		return 0, err
	}
	if from == to {
		return 0, fmt.Errorf("the module is %s already", to)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "bin" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		before, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		after := before
		switch {
		case filepath.Base(path) == "go.mod" && filepath.Dir(path) == filepath.Clean(root):
			after = bytes.Replace(before, []byte("module "+from+"\n"), []byte("module "+to+"\n"), 1)
		case filepath.Base(path) == "go.mod":
			after = inNested(before, from, to)
		case filepath.Ext(path) == ".go":
			after = inSource(root, before, from, to)
		case filepath.Ext(path) == ".md":
			after = inDocument(root, before, from, to)
		}
		if bytes.Equal(before, after) {
			return nil
		}
		changed++
		return os.WriteFile(path, after, 0o644)
	})
	return changed, err
}

// moduleOf returns the path that go.mod gives the module.
func moduleOf(goMod string) (string, error) {
	text, err := os.ReadFile(goMod)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if path, found := strings.CutPrefix(line, "module "); found {
			return strings.TrimSpace(path), nil
		}
	}
	return "", errors.New(goMod + " names no module")
}

// inNested changes the go.mod of a module inside of this one, in which it is required
// and replaced by its folder.
func inNested(goMod []byte, from, to string) []byte {
	named := regexp.MustCompile(`(?m)^(module |replace |require |\t)` + regexp.QuoteMeta(from) + `([/ ])`)
	return named.ReplaceAll(goMod, []byte("${1}"+to+"${2}"))
}

// inSource changes the string literals of a Go file that are packages of the
// module, and the constant of tests/arch that names it.
func inSource(root string, source []byte, from, to string) []byte {
	var s scanner.Scanner
	files := token.NewFileSet()
	file := files.AddFile("", files.Base(), len(source))
	s.Init(file, source, nil, scanner.ScanComments)
	var out bytes.Buffer
	done, word := 0, ""
	for {
		at, kind, text := s.Scan()
		if kind == token.EOF {
			break
		}
		if kind == token.IDENT {
			word = text
		}
		if kind != token.STRING || text[0] != '"' {
			continue
		}
		value, err := strconv.Unquote(text)
		rest, ours := strings.CutPrefix(value, from+"/")
		isModule := value == from && word == "Module"
		// A name in a stack trace ends with a dot.
		if err != nil || !isModule && !(ours && isPackage(root, strings.TrimSuffix(rest, "."))) {
			continue
		}
		offset := file.Offset(at)
		out.Write(source[done:offset])
		out.WriteString(strconv.Quote(to + strings.TrimPrefix(value, from)))
		done = offset + len(text)
	}
	out.Write(source[done:])
	return out.Bytes()
}

// inDocument changes the imports that a document shows, and the lines that give
// this module's location to another one.
func inDocument(root string, text []byte, from, to string) []byte {
	shown := regexp.MustCompile(`"` + regexp.QuoteMeta(from) + `/([a-z/]+)"`)
	text = shown.ReplaceAllFunc(text, func(match []byte) []byte {
		if !isPackage(root, string(shown.FindSubmatch(match)[1])) {
			return match
		}
		return bytes.Replace(match, []byte(from+"/"), []byte(to+"/"), 1)
	})
	text = bytes.ReplaceAll(text, []byte("-require "+from+"@"), []byte("-require "+to+"@"))
	return bytes.ReplaceAll(text, []byte("-replace "+from+"="), []byte("-replace "+to+"="))
}

// isPackage reports whether a folder of the module holds Go files.
func isPackage(root, folder string) bool {
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "*.go"))
	return err == nil && len(files) > 0
}
