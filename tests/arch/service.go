package arch

import (
	"fmt"
	"go/ast"
	"slices"
)

// doorPackages translate for one kind of client each. What they have in common is
// decided in package kvserver, so that it is decided once.
var doorPackages = []string{"kvserver/httpd", "kvserver/clerkd"}

// storeKeepers are the files outside of package machine that may hold a store: one
// that reads a backup, outside of any running server.
var storeKeepers = []string{"kvserver/backup_file.go"}

// CheckService holds the packages of the service to what makes them rooms: the doors
// do not name each other, and nobody but the machine has a store, so that nobody else
// can take its lock.
func CheckService(t *Tree) (complaints []string) {
	for _, p := range t.Packages {
		if !isUnder(p.Path, "kvserver") {
			continue
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			complaints = append(complaints, otherDoors(p, f)...)
			if p.Path != "kvserver/machine" && p.Path != "kvserver/kv" && !slices.Contains(fakePackages, p.Path) && !slices.Contains(storeKeepers, f.Path) {
				complaints = append(complaints, storesIn(t, f)...)
			}
		}
	}
	return complaints
}

// verifying is the package in which a dialer may leave the checks of certificates to its own
// code, because it has that code.
const verifying = "raft/certs"

// CheckVerification finds dialers that would talk to anybody.
func CheckVerification(t *Tree) (complaints []string) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if f.Test || p.Path == verifying || p.Path == "client" {
				continue
			}
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				if name, is := n.(*ast.Ident); is && name.Name == "InsecureSkipVerify" {
					complaints = append(complaints, fmt.Sprintf("%s: InsecureSkipVerify: only %s may leave a certificate unverified by Go, where its own checks stand", t.at(f, name.Pos()), verifying))
				}
				return true
			})
		}
	}
	return complaints
}

// otherDoors finds the imports of one door by another.
func otherDoors(p *Package, f *File) (complaints []string) {
	for _, door := range doorPackages {
		if p.Path != door && slices.Contains(doorPackages, p.Path) && slices.Contains(f.imports(), Module+"/"+door) {
			complaints = append(complaints, fmt.Sprintf("%s names %s: what doors have in common belongs into package kvserver", f.Path, door))
		}
	}
	return complaints
}

// storesIn finds where a file makes or holds a kv.Store.
func storesIn(t *Tree, f *File) (complaints []string) {
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		selector, isSelector := n.(*ast.SelectorExpr)
		if isSelector && isName(selector.X, "kv") && slices.Contains([]string{"Store", "New", "Restore"}, selector.Sel.Name) {
			complaints = append(complaints, fmt.Sprintf("%s: kv.%s: only kvserver/machine has a store; read through its Get, GetAll, List, Freeze and Describe",
				t.at(f, selector.Pos()), selector.Sel.Name))
		}
		return true
	})
	return complaints
}
