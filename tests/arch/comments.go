package arch

import (
	"fmt"
	"go/ast"
	"go/token"
)

// CheckComments finds packages and exported names without a comment.
func CheckComments(t *Tree) (complaints []string) {
	for _, p := range t.Packages {
		documented, code := false, false
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			code = true
			documented = documented || f.Syntax.Doc != nil
			for _, d := range f.Syntax.Decls {
				complaints = append(complaints, undocumented(t, f, d)...)
			}
		}
		if code && !documented {
			complaints = append(complaints, fmt.Sprintf("package %s has no package comment", p.Path))
		}
	}
	return complaints
}

// undocumented finds the exported names of a declaration that have no comment.
// In a group, a comment over the group or next to the name will do.
func undocumented(t *Tree, f *File, d ast.Decl) (complaints []string) {
	complain := func(name *ast.Ident) {
		if name.IsExported() {
			complaints = append(complaints, fmt.Sprintf("%s: %s has no comment", t.at(f, name.Pos()), name.Name))
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil && d.Doc == nil {
			complain(d.Name)
		}
	case *ast.GenDecl:
		if d.Tok == token.IMPORT || d.Doc != nil {
			return nil
		}
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Doc == nil && spec.Comment == nil {
					complain(spec.Name)
				}
			case *ast.ValueSpec:
				if spec.Doc == nil && spec.Comment == nil {
					for _, name := range spec.Names {
						complain(name)
					}
				}
			}
		}
	}
	return complaints
}

// CheckRaftFields demands a comment for every field of core.Raft: the state of
// consensus is what a reader must understand first.
func CheckRaftFields(t *Tree) (complaints []string) {
	fields := 0
	if p := t.Package("raft/core"); p != nil {
		for _, f := range p.Files {
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				spec, isType := n.(*ast.TypeSpec)
				if !isType || spec.Name.Name != "Raft" || f.Test {
					return true
				}
				structure, isStruct := spec.Type.(*ast.StructType)
				if !isStruct {
					return true
				}
				for _, field := range structure.Fields.List {
					fields++
					if field.Doc == nil && field.Comment == nil {
						complaints = append(complaints, fmt.Sprintf("%s: a field of core.Raft has no comment", t.at(f, field.Pos())))
					}
				}
				return true
			})
		}
	}
	if fields == 0 {
		complaints = append(complaints, "core.Raft was not found, so its fields could not be looked at")
	}
	return complaints
}
